package contract

import (
	"errors"
	"net"
	"os"
	"slices"
	"unicode/utf8"

	"example.com/wsworkshop/steps/internal/wstest"
)

// wire is ann's end of a TCP connection. She writes and reads bytes herself.
type wire struct {
	*wstest.Network
	Server
	bob   *wstest.Peer
	score *protocolScore

	conn     *net.TCPConn
	raw      []byte        // read, but not yet a whole frame
	partial  *wstest.Frame // the fragments so far of a message
	closed   bool          // the server has sent a close frame
	extended bool          // the server has answered an extension

	relayed   []wstest.Frame // what bob should have got, too
	over      bool           // the server has shut down
	deviation string         // in what known way the server breaks the rule
}

// send sends bytes in one go.
func (w *wire) send(parts ...[]byte) {
	b := slices.Concat(parts...)
	w.Did("ann sends %s", hex(b))
	w.write(b)
}

// sendSlowly sends bytes one by one, each in a segment of its own.
func (w *wire) sendSlowly(parts ...[]byte) {
	b := slices.Concat(parts...)
	w.Did("ann sends, byte by byte, %s", hex(b))
	for i := range b {
		w.write(b[i : i+1])
	}
}

// write is send, without a word in the story. An error says that the server has
// ended the connection, which ann sees when she reads.
func (w *wire) write(b []byte) { w.conn.Write(b) }

// next returns the next message or control frame of the server, but no pings. open
// is false if the server has ended the connection instead.
func (w *wire) next() (f wstest.Frame, open bool) {
	buf := make([]byte, 64<<10)
	for {
		f, n, err := wstest.ParseFrame(w.raw)
		if err != nil {
			w.Fail("the server sent what no server may send: %v.", err)
		}
		if n > 0 {
			w.raw = w.raw[n:]
			if f, whole := w.take(f); whole {
				return f, true
			}
			continue
		}
		n, err = w.conn.Read(buf)
		w.raw = append(w.raw, buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.Fail("nothing more comes from the server, and the connection is open.")
		}
		if err != nil {
			w.Did("the server ends the connection")
			return f, false
		}
	}
}

// take holds a frame to what the RFC demands of every frame of a server. It
// returns the message that is whole with it, or the control frame.
func (w *wire) take(f wstest.Frame) (whole wstest.Frame, ok bool) {
	w.Did("the server sends %s", f)
	switch {
	case f.Op == opPing:
		return f, false
	case f.Op == opPong:
		return f, true
	case f.Op == opClose:
		w.closed = true
		switch {
		case len(f.Payload) == 0:
		case len(f.Payload) == 1:
			w.Fail("the server sent a close frame with a body of one byte (section 5.5.1).")
		case !maySend(f.CloseCode()):
			w.Fail("the server sent a %s, and nobody may send this code (section 7.4).", f)
		case !utf8.Valid(f.Payload[2:]):
			w.Fail("the server sent a %s, and its reason is not UTF-8 (section 5.5.1).", f)
		}
		return f, true
	case w.closed:
		w.Fail("after its close frame the server sent %s (section 5.5.1).", f)
	case (f.Op == opMore) != (w.partial != nil):
		w.Fail("the server sent a %s out of place (section 5.4).", f)
	case w.partial != nil:
		f.Op, f.Payload = w.partial.Op, append(w.partial.Payload, f.Payload...)
	}
	w.partial = nil
	if !f.Fin {
		w.partial = &f
		return f, false
	}
	if f.Op == opText && !utf8.Valid(f.Payload) {
		w.Fail("the server sent text that is not UTF-8 (section 8.1).")
	}
	return f, true
}

// want demands that these are the next frames of the server.
func (w *wire) want(frames ...wstest.Frame) {
	for _, want := range frames {
		f, open := w.next()
		if !open {
			w.Fail("the server ended the connection instead of sending %s.", want)
		}
		w.wantSame(f, want)
	}
}

func (w *wire) wantSame(f, want wstest.Frame) {
	if f.Op != want.Op || string(f.Payload) != string(want.Payload) {
		w.Fail("the server sent %s instead of %s.", f, want)
	}
}

// relays demands that these messages reach ann, and bob.
func (w *wire) relays(messages ...wstest.Frame) {
	w.want(messages...)
	w.relayed = append(w.relayed, messages...)
}

// relaying returns a play: ann sends frames, and these messages reach everybody.
func relaying(frames [][]byte, messages ...wstest.Frame) func(*wire) {
	return func(w *wire) {
		w.open()
		w.send(frames...)
		w.relays(messages...)
	}
}

// fails demands that the server fails the connection: it sends a close frame with
// one of these codes, or none, and closes TCP.
func (w *wire) fails(codes ...int) {
	if f, failed := w.failsOr(codes...); !failed {
		w.Fail("the server sent %s, and did not fail the connection.", f)
	}
}

// failsOr is fails, unless the server sends something instead of failing.
func (w *wire) failsOr(codes ...int) (instead wstest.Frame, failed bool) {
	f, open := w.next()
	if open && f.Op != opClose {
		return f, false
	}
	w.score.failed++
	if open {
		w.score.told++
		w.wantCode(f, codes)
		w.conn.CloseWrite() // so that the server need not wait for it
		w.ends()
	}
	return f, true
}

// violates sends a violation and, in the same go, text that must reach nobody:
// once a connection has failed, nothing of it is processed (section 7.1.7).
func (w *wire) violates(codes []int, frames ...[]byte) {
	b := slices.Concat(frames...)
	w.Did("ann sends %s and, in the same go, the text \"too late\"", hex(b))
	w.write(append(b, frame(fin|opText, "too late")...))
	w.fails(codes...)
}

// failing returns a play: violates, on a new connection.
func failing(codes []int, frames ...[]byte) func(*wire) {
	return func(w *wire) {
		w.open()
		w.violates(codes, frames...)
	}
}

// closes demands an answer to ann's close frame, and that the server, not ann, then
// closes TCP.
func (w *wire) closes(codes ...int) {
	w.wantClose(codes...)
	w.ends()
}

// wantClose demands a close frame with one of these codes.
func (w *wire) wantClose(codes ...int) {
	f, open := w.next()
	switch {
	case !open:
		w.Fail("the server ended the connection without a close frame.")
	case f.Op != opClose:
		w.Fail("the server sent %s instead of a close frame.", f)
	}
	w.wantCode(f, codes)
}

func (w *wire) wantCode(f wstest.Frame, codes []int) {
	if !slices.Contains(codes, f.CloseCode()) {
		w.Fail("the server sent a %s. Fitting codes are %v (%d stands for none).", f, codes, noCode)
	}
}

// ends demands that the server closes TCP, and sends no message before.
func (w *wire) ends() {
	for {
		f, open := w.next()
		if !open {
			return
		}
		if f.Op != opClose && f.Op != opPong {
			w.Fail("the server sent %s instead of ending the connection.", f)
		}
	}
}
