package wstest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Peer is one client of the server under test, as a browser or a hostile program
// would be. Its methods describe a scenario; the Want methods end the scenario
// if the server does something else. They are called by the scenario alone.
//
// A peer reads all the time, answers pings and close frames, and never blocks the
// scenario: what it sends waits in a queue of its own.
type Peer struct {
	Name string

	story    *Story
	patience time.Duration // how long a Want method waits
	conn     net.Conn
	server   *serverConn // nil over a real network

	outgoing *queue
	changed  chan struct{} // has a token after something has happened

	mu       sync.Mutex // guards what follows
	mode     mode
	resume   chan struct{} // closed to end stalled
	raw      []byte        // read, but not yet a whole frame
	partial  *Frame        // the fragments so far of a message
	messages []Frame       // not yet wanted
	pings    []Event
	pongs    []Event
	closing  *Event // the close frame
	late     *Frame // the first frame after the close frame
	ended    bool   // nothing more can be read
	broken   error  // what was read is not WebSocket
	sent     int    // frames that have left the queue completely
	unsent   bool   // a write has failed
	noPongs  bool
	noClose  bool
}

type mode int

const (
	reading  mode = iota // reads and answers
	stalled              // does not read
	vanished             // reads, as a network swallows, but answers nothing
)

// Event is a frame and when it came.
type Event struct {
	Frame
	At time.Time
}

// newPeer starts a peer on an upgraded connection. early is what was read
// together with the answer to the handshake.
func newPeer(name string, story *Story, conn net.Conn, server *serverConn, early []byte) *Peer {
	p := &Peer{
		Name: name, story: story, patience: Patience, conn: conn, server: server, raw: early,
		outgoing: newQueue(), changed: make(chan struct{}, 1),
	}
	if server == nil {
		p.patience = realPatience
	}
	go p.readLoop()
	go p.writeLoop()
	return p
}

// Send sends a text message.
func (p *Peer) Send(text string) { p.SendFrame(Text(text)) }

// SendFrame sends a frame.
func (p *Peer) SendFrame(f Frame) {
	p.story.Did("%s sends %s", p.Name, f)
	p.outgoing.put(appendMasked(nil, f))
}

// Bytes returns f as a client sends it, masked.
func (f Frame) Bytes() []byte { return appendMasked(nil, f) }

// SendRaw sends bytes as they are.
func (p *Peer) SendRaw(b []byte) {
	if len(b) > 0 { // of nothing TCP would send nothing, and a pipe does
		p.outgoing.put(b)
	}
}

// SendQuietly sends a text message that the story does not mention.
func (p *Peer) SendQuietly(text string) { p.outgoing.put(appendMasked(nil, Text(text))) }

// StopReading lets the peer read nothing more, so that what the server writes
// stays where it is.
func (p *Peer) StopReading() {
	p.story.Did("%s stops reading", p.Name)
	p.Stall()
}

// Stall is StopReading, without a word in the story.
func (p *Peer) Stall() { p.become(stalled) }

// ResumeReading ends StopReading.
func (p *Peer) ResumeReading() {
	p.story.Did("%s reads again", p.Name)
	p.become(reading)
}

// Unstall is ResumeReading, without a word in the story.
func (p *Peer) Unstall() { p.become(reading) }

// Vanish takes the peer off the network without a word: what the server sends
// goes nowhere, and nothing comes back.
func (p *Peer) Vanish() {
	p.story.Did("%s vanishes from the network", p.Name)
	p.become(vanished)
	p.conn.SetWriteDeadline(longAgo)
}

// become changes what the peer does with what the server writes.
func (p *Peer) become(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (m == stalled) != (p.mode == stalled) {
		if m == stalled {
			p.resume = make(chan struct{})
			p.conn.SetReadDeadline(longAgo)
		} else {
			p.conn.SetReadDeadline(time.Time{})
			close(p.resume)
		}
	}
	p.mode = m
}

// mostPings is more than a server sends to a peer in a scenario. So many come only
// from one that pings without a pause, for which time hardly passes.
const mostPings = 10_000

// longAgo is a deadline that ends what is under way.
var longAgo = time.Unix(1, 0)

// NoPongs lets the peer answer no pings. It goes without saying in the story.
func (p *Peer) NoPongs() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noPongs = true
}

// IgnoreClose lets the peer neither answer a close frame nor hang up after it.
func (p *Peer) IgnoreClose() {
	p.story.Did("%s will not answer a close frame", p.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noClose = true
}

// Reset breaks the connection, as a crash or a network does.
func (p *Peer) Reset() {
	p.story.Did("%s's connection is reset", p.Name)
	p.reset()
}

func (p *Peer) reset() {
	if p.server != nil {
		p.server.mu.Lock()
		p.server.reset = true
		p.server.mu.Unlock()
	}
	p.outgoing.close()
	p.conn.Close()
}

// HangUp closes the connection without a close frame.
func (p *Peer) HangUp() {
	p.story.Did("%s hangs up without a close frame", p.Name)
	p.outgoing.close()
	p.conn.Close()
}

// Leave is Close with 1000, without a word in the story.
func (p *Peer) Leave() { p.outgoing.put(appendMasked(nil, Close(1000, ""))) }

// Close sends a close frame; the server should answer it and close the
// connection.
func (p *Peer) Close(code int, reason string) {
	p.SendFrame(Close(code, reason))
}

// PanicNextRead lets the server's next read from this peer panic.
func (p *Peer) PanicNextRead() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.server.panicRead = true
}

// PanicNextWrite lets the server's next write to this peer panic.
func (p *Peer) PanicNextWrite() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.server.panicWrite = true
}

// FailNextWrite lets the server's next write to this peer fail, as a network
// does, while its read hears nothing of it.
func (p *Peer) FailNextWrite() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.server.failWrite = true
}

// HoldWrites lets a write of the server that fails return only after
// ReleaseWrites, as if the system took its time.
func (p *Peer) HoldWrites() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.server.holdWrites = true
}

// ReleaseWrites ends HoldWrites.
func (p *Peer) ReleaseWrites() { close(p.server.released) }

// Writes returns how often the server has written to the connection to the peer:
// calls of Write, or a net.Buffers that was written to it. On TCP, each is one call of
// the operating system.
func (p *Peer) Writes() int {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return p.server.writes
}

func (p *Peer) readLoop() {
	buf := make([]byte, 16<<10)
	for {
		p.handle() // what came with the handshake, or during a stall
		n, err := p.conn.Read(buf)
		p.mu.Lock()
		if p.mode != vanished {
			p.raw = append(p.raw, buf[:n]...)
		}
		resume := p.resume
		p.mu.Unlock()
		if errors.Is(err, os.ErrDeadlineExceeded) { // the peer is, or was, stalled
			<-resume
			continue
		}
		if err != nil {
			p.handle()
			p.mu.Lock()
			p.ended = true
			p.mu.Unlock()
			if p.server == nil && err == io.EOF { // half closed: what is queued may still be sent
				p.signal()
				return
			}
			p.outgoing.close()
			p.conn.Close()
			p.signal()
			return
		}
	}
}

// handle takes the whole frames from p.raw and answers them.
func (p *Peer) handle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.signal()
	for p.mode != vanished && p.broken == nil {
		f, n, err := ParseFrame(p.raw)
		p.broken = err
		if n == 0 {
			return
		}
		p.raw = p.raw[n:]
		event := Event{f, time.Now()}
		if p.closing != nil && p.late == nil {
			p.late = &f
		}
		switch f.Op {
		case OpPing:
			p.pings = append(p.pings, event)
			if len(p.pings) == mostPings {
				took := event.At.Sub(p.pings[0].At)
				p.story.giveUp(fmt.Sprintf("%s has got %d pings in %v. Is a period without its unit? 54 is 54 ns, and 54*time.Second is 54 s.", p.Name, mostPings, took.Round(time.Millisecond)))
			}
			if !p.noPongs {
				p.outgoing.put(appendMasked(nil, Frame{Fin: true, Op: OpPong, Payload: f.Payload}))
			}
		case OpPong:
			p.pongs = append(p.pongs, event)
		case OpClose:
			if p.closing == nil {
				p.closing = &event
			}
			if !p.noClose {
				p.outgoing.put(appendMasked(nil, f))
			}
		default:
			p.assemble(f)
		}
	}
}

// assemble puts the fragments of a message together. p.mu is held.
func (p *Peer) assemble(f Frame) {
	if (f.Op == OpContinuation) != (p.partial != nil) {
		p.broken = fmt.Errorf("a %s out of place", f)
		return
	}
	if p.partial != nil {
		p.partial.Payload = append(p.partial.Payload, f.Payload...)
		p.partial.Fin = f.Fin
		p.partial.Parts++
		f = *p.partial
	}
	p.partial = nil
	if !f.Fin {
		p.partial = &f
		return
	}
	p.messages = append(p.messages, f)
}

func (p *Peer) writeLoop() {
	for {
		b, ok := p.outgoing.get()
		if !ok {
			return
		}
		if _, err := p.conn.Write(b); err != nil {
			p.mu.Lock()
			p.unsent = true
			p.mu.Unlock()
			p.signal()
			return
		}
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
		p.signal()
	}
}

func (p *Peer) signal() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// wait waits until ok, which is called with p.mu held, or until limit has passed.
func (p *Peer) wait(limit time.Duration, ok func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		p.mu.Lock()
		done := ok()
		p.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-p.changed:
		case <-timer.C:
			p.mu.Lock()
			defer p.mu.Unlock()
			return ok()
		}
	}
}

// Patience is how long a Want method waits for what should come, in a bubble.
const Patience = 5 * time.Second

// Want demands that these frames are the next messages, in this order.
func (p *Peer) Want(frames ...Frame) {
	for i, want := range frames {
		got, ok := p.Next()
		which := ""
		if len(frames) > 1 {
			which = fmt.Sprintf(" (message %d of %d)", i+1, len(frames))
		}
		switch {
		case !ok:
			p.story.Fail("%s got no %s%s: %s.", p.Name, want, which, p.state())
		case got.Op != want.Op || !bytes.Equal(got.Payload, want.Payload):
			p.story.Fail("%s got %s instead of %s%s.", p.Name, got, want, which)
		}
	}
}

// WantText is Want for text messages.
func (p *Peer) WantText(texts ...string) {
	frames := make([]Frame, len(texts))
	for i, text := range texts {
		frames[i] = Text(text)
	}
	p.Want(frames...)
}

// WaitText waits for this text message, whatever comes before it.
func (p *Peer) WaitText(text string) {
	if !p.HasText(text) {
		p.story.Fail("%s got no text %q: %s.", p.Name, text, p.state())
	}
}

// HasTextBy waits for the text last, and reports whether text has come before it.
func (p *Peer) HasTextBy(last, text string) bool {
	for {
		f, ok := p.Next()
		switch {
		case !ok || string(f.Payload) == last:
			return false
		case string(f.Payload) == text:
			return true
		}
	}
}

// HasText reports whether this text message comes, whatever comes before it.
func (p *Peer) HasText(text string) bool {
	for {
		got, ok := p.Next()
		if !ok || got.Op == OpText && string(got.Payload) == text {
			return ok
		}
	}
}

// Next returns the next message, if one comes in time.
func (p *Peer) Next() (Frame, bool) {
	if !p.wait(p.patience, func() bool { return len(p.messages) > 0 || p.ended || p.broken != nil }) {
		return Frame{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.messages) == 0 {
		return Frame{}, false
	}
	f := p.messages[0]
	p.messages = p.messages[1:]
	return f, true
}

// Messages returns the messages that have come and were not yet wanted.
func (p *Peer) Messages() []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.messages
	p.messages = nil
	return frames
}

// Pings returns the pings that have come so far.
func (p *Peer) Pings() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event{}, p.pings...)
}

// Pongs returns the pongs that have come and were not yet wanted.
func (p *Peer) Pongs() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event{}, p.pongs...)
}

// WantPong demands a pong with this payload.
func (p *Peer) WantPong(payload string) {
	if !p.wait(p.patience, func() bool { return len(p.pongs) > 0 || p.ended }) || !p.hasPong() {
		p.story.FailBecause("gorilla answers a ping inside ReadMessage, so somebody must be reading. A ping handler of your own replaces gorilla's, and must send the pong itself, with WriteControl.",
			"%s got no pong: %s.", p.Name, p.state())
	}
	p.mu.Lock()
	got := string(p.pongs[0].Payload)
	p.pongs = p.pongs[1:]
	p.mu.Unlock()
	if got != payload {
		p.story.FailBecause("the ping handler does not send back the payload that it is given.",
			"%s got a pong with the payload %q instead of %q.", p.Name, got, payload)
	}
}

func (p *Peer) hasPong() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pongs) > 0
}

// Sent returns how many frames the server has taken completely.
func (p *Peer) Sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Unsent reports whether a write to the server has failed.
func (p *Peer) Unsent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unsent
}

// WantClose demands a close frame with one of these codes, and returns it.
func (p *Peer) WantClose(codes ...int) Event {
	closing, ok := p.WaitClose()
	if !ok {
		p.story.Fail("%s got no close frame with %s: %s.", p.Name, either(codes), p.state())
	}
	for _, code := range codes {
		if closing.CloseCode() == code {
			return closing
		}
	}
	p.story.Fail("%s got a %s instead of one with %s.", p.Name, closing, either(codes))
	return Event{}
}

// WaitClose waits for a close frame. It reports false if none comes.
func (p *Peer) WaitClose() (Event, bool) {
	p.wait(p.patience, func() bool { return p.closing != nil || p.ended })
	if closing := p.ClosedWith(); closing != nil {
		return *closing, true
	}
	return Event{}, false
}

func either(codes []int) string {
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = fmt.Sprint(code)
	}
	return strings.Join(words, " or ")
}

// ClosedWith returns the close frame that has come, or nil.
func (p *Peer) ClosedWith() *Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// AfterClose returns the first frame that has come after the close frame, or nil.
// There should be none (RFC 6455, section 5.5.1).
func (p *Peer) AfterClose() *Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// WantOpen demands that the server has not ended the connection.
func (p *Peer) WantOpen(why string) {
	p.story.settle()
	if closing := p.ClosedWith(); closing != nil {
		p.story.Fail("%s got a %s, although %s.", p.Name, closing, why)
	}
	if p.Gone() {
		p.story.Fail("the server has closed %s's connection, although %s.", p.Name, why)
	}
}

// WantAwaited demands that the server, which has sent its close frame, has not
// closed the connection yet.
func (p *Peer) WantAwaited(why string) {
	p.story.settle()
	if p.Gone() {
		p.story.Fail("the server has closed %s's connection, although %s.", p.Name, why)
	}
}

// Gone reports whether the server has closed its end of the connection.
func (p *Peer) Gone() bool {
	if p.server != nil {
		return !p.server.closed().IsZero()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// WantGone demands that the server has closed its end of the connection.
func (p *Peer) WantGone(why string) {
	p.story.settle()
	if !p.Gone() {
		p.story.Fail("%s's connection is still open on the server's side, although %s.", p.Name, why)
	}
}

// state says how the connection stands, for a failure.
func (p *Peer) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.broken != nil:
		return p.broken.Error()
	case p.closing != nil:
		return fmt.Sprintf("the server sent a %s", p.closing)
	case p.ended:
		return "the connection ended without a close frame (a browser calls this 1006)"
	case p.mode == stalled:
		return p.Name + " is not reading"
	}
	return "nothing more came, and the connection is open"
}

// violation says what the server did that no connection allows.
func (p *Peer) violation() string {
	if p.server == nil {
		return ""
	}
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	switch {
	case p.server.twoReaders:
		return "two goroutines read from " + p.Name + "'s connection at the same time"
	case p.server.twoWriters:
		return "two goroutines wrote to " + p.Name + "'s connection at the same time"
	}
	return ""
}

// Request is a handshake, or the part of it that differs from the usual one.
type Request struct {
	IP     string        // the peer's address; "" for one that nobody else has
	Host   string        // "" for server.example
	Query  string        // of the URL, without "?"
	Header http.Header   // added to the headers of a handshake
	Plain  bool          // a plain GET of /ws, not a handshake
	Late   time.Duration // the peer reads the answer this long after it has asked
}

// Bytes returns the request as it crosses the wire.
func (r Request) Bytes(path string) []byte {
	host := r.Host
	if host == "" {
		host = "server.example"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	if r.Plain {
		b.WriteString("Connection: close\r\n")
	} else {
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	}
	r.Header.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}

// readAnswer reads the server's answer to a request. After a 101 early is what
// followed it.
func readAnswer(conn net.Conn) (answer *http.Response, body, early []byte, err error) {
	r := bufio.NewReader(conn)
	answer, err = http.ReadResponse(r, &http.Request{Method: "GET"})
	if err != nil {
		return nil, nil, nil, err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		early, _ = r.Peek(r.Buffered())
		return answer, nil, append([]byte{}, early...), nil
	}
	body, err = io.ReadAll(answer.Body)
	return answer, body, nil, err
}

// queue is an unbounded queue of byte slices.
type queue struct {
	mu    sync.Mutex // guards what follows
	items [][]byte
	ended bool
	ready chan struct{} // has a token after a change
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

func (q *queue) put(b []byte) {
	q.mu.Lock()
	q.items = append(q.items, b)
	q.mu.Unlock()
	q.signal()
}

func (q *queue) close() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// get waits for the next item. It reports false when the queue is closed.
func (q *queue) get() ([]byte, bool) {
	for {
		q.mu.Lock()
		ended := q.ended
		var b []byte
		if !ended && len(q.items) > 0 {
			b, q.items = q.items[0], q.items[1:]
		}
		q.mu.Unlock()
		if ended {
			return nil, false
		}
		if b != nil {
			return b, true
		}
		<-q.ready
	}
}
