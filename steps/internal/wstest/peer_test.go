package wstest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest/testdata/wrong"
	"github.com/gorilla/websocket"
)

// with runs a scenario in which the test plays the server, and ann is connected.
func with(t *testing.T, scenario func(b *Bench, ann *Peer, conn *websocket.Conn)) {
	t.Helper()
	Run(t, about, func(b *Bench) {
		conns := make(chan *websocket.Conn, 1)
		done := make(chan bool)
		b.Serve(wrong.Server(func(conn *websocket.Conn) { conns <- conn; <-done }), nil)
		ann := b.Connect("ann")
		scenario(b, ann, <-conns)
		close(done)
	})
}

// wantError demands that err is want, inside a *net.OpError as TCP returns it.
func wantError(b *Bench, what string, err, want error) {
	var op *net.OpError
	if !errors.Is(err, want) || !errors.As(err, &op) {
		b.Fail("%s: %v (%T), not %v.", what, err, err, want)
	}
}

func TestPeerReadsAndWrites(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.Send("hello")
		if _, text, err := conn.ReadMessage(); string(text) != "hello" || err != nil {
			b.Fail("read %q, %v.", text, err)
		}
		for _, text := range []string{"one", "two", "three", "four"} {
			conn.WriteMessage(websocket.TextMessage, []byte(text))
		}
		conn.WriteMessage(websocket.BinaryMessage, []byte(strings.Repeat("x", 100_000)))
		ann.WantText("one", "two")
		ann.WaitText("four")
		ann.Want(Binary(strings.Repeat("x", 100_000)))
		if _, ok := ann.Next(); ok || len(ann.Messages()) != 0 {
			b.Fail("ann has got more than was sent.")
		}
		ann.WantOpen("nobody has closed it")
	})
}

func TestPeerAnswersPingsAndCloseFrames(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.SendFrame(Ping("are you there?"))
		pong := make(chan string, 1)
		conn.SetPongHandler(func(payload string) error { pong <- payload; return nil })
		conn.WriteControl(websocket.PingMessage, []byte("and you?"), time.Time{})
		ended := make(chan error)
		go func() {
			_, _, err := conn.ReadMessage()
			ended <- err
		}()
		if got := <-pong; got != "and you?" {
			b.Fail("ann's pong says %q.", got)
		}
		ann.WantPong("are you there?")
		if pings := ann.Pings(); len(pings) != 1 || string(pings[0].Payload) != "and you?" {
			b.Fail("ann has seen the pings %v.", pings)
		}
		conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "later"))
		if err := <-ended; !websocket.IsCloseError(err, 1001) {
			b.Fail("ann did not answer the close frame: %v.", err)
		}
		ann.WantClose(1000, 1001)
		ann.WantAwaited("the server has not closed it")
		conn.Close()
		ann.WantGone("it has been closed")
	})
}

func TestPeerThatGivesNoPongsIsSilent(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.NoPongs()
		ann.IgnoreClose()
		conn.WriteControl(websocket.PingMessage, nil, time.Time{})
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), time.Time{})
		conn.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := conn.NetConn().Read(make([]byte, 1))
		wantError(b, "read from ann, who answers nothing", err, os.ErrDeadlineExceeded)
		ann.WantClose(1001)
		if len(ann.Pings()) != 1 {
			b.Fail("ann has not seen the ping.")
		}
	})
}

func TestDeadlinesAreMetToTheNanosecond(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.StopReading()
		began := time.Now()
		conn.SetReadDeadline(began.Add(time.Minute))
		_, err := conn.NetConn().Read(make([]byte, 1))
		wantError(b, "read", err, os.ErrDeadlineExceeded)
		if took := time.Since(began); took != time.Minute {
			b.Fail("the read deadline came after %v.", took)
		}
		conn.NetConn().SetWriteDeadline(began.Add(time.Minute + 1))
		_, err = conn.NetConn().Write(make([]byte, 1))
		wantError(b, "write", err, os.ErrDeadlineExceeded)
		if took := time.Since(began); took != time.Minute+1 {
			b.Fail("the write deadline came after %v.", took)
		}
	})
}

func TestNotAByteIsTakenWhileThePeerDoesNotRead(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.StopReading()
		ann.StopReading() // changes nothing
		conn.NetConn().SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := conn.NetConn().Write([]byte("\x81\x02hi")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			b.Fail("%d bytes were taken (%v).", n, err)
		}
		conn.NetConn().SetWriteDeadline(time.Time{})
		write := b.Start(func() { conn.NetConn().Write([]byte("\x81\x02hi")) })
		b.Pass(time.Hour)
		if write.Returned() {
			b.Fail("the write has returned.")
		}
		ann.ResumeReading()
		if !write.Within(time.Hour) {
			b.Fail("the write took longer than the stall.")
		}
		ann.WantText("hi")
		for range 100 { // at once, before the peer has noticed
			ann.Stall()
			ann.become(reading)
		}
		conn.NetConn().Write([]byte("\x81\x03you"))
		ann.WantText("you")
	})
}

func TestVanishedPeerSwallowsAndSaysNothing(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.Send("nobody has read this yet")
		ann.StopReading()
		b.Settle()
		ann.Vanish()
		ann.Send("nor this")
		for range 3 {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 100_000))); err != nil {
				b.Fail("a write to a peer that has vanished fails: %v.", err)
			}
			conn.WriteControl(websocket.PingMessage, nil, time.Time{})
		}
		conn.SetReadDeadline(time.Now().Add(24 * time.Hour))
		n, err := conn.NetConn().Read(make([]byte, 1))
		wantError(b, fmt.Sprintf("read %d bytes from a peer that has vanished", n), err, os.ErrDeadlineExceeded)
		if len(ann.Messages()) != 0 || len(ann.Pings()) != 0 {
			b.Fail("ann still hears the server.")
		}
	})
}

func TestEndsOfAConnectionLookLikeThoseOfTCP(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.Reset()
		_, err := conn.NetConn().Read(make([]byte, 1))
		wantError(b, "read after a reset", err, syscall.ECONNRESET)
		_, err = conn.NetConn().Write(make([]byte, 1))
		wantError(b, "write after a reset", err, syscall.EPIPE)
		if err := conn.SetReadDeadline(time.Now()); err != nil {
			b.Fail("set a deadline after a reset: %v.", err)
		}
	})
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.HangUp()
		if _, err := conn.NetConn().Read(make([]byte, 1)); err != io.EOF {
			b.Fail("read after a hang-up: %v.", err)
		}
		began := time.Now()
		b.Pass(time.Minute)
		conn.Close()
		if closed := ann.server.closed(); closed.Sub(began) != time.Minute {
			b.Fail("the close was seen after %v.", closed.Sub(began))
		}
		wantError(b, "close twice", conn.Close(), net.ErrClosed)
		wantError(b, "set a deadline after close", conn.SetReadDeadline(time.Now()), net.ErrClosed)
		_, err := conn.NetConn().Read(make([]byte, 1))
		wantError(b, "read after close", err, net.ErrClosed)
		_, err = conn.NetConn().Write(make([]byte, 1))
		wantError(b, "write after close", err, net.ErrClosed)
		ann.WantGone("it has been closed")
	})
}

func TestReadsAndWritesFailOnce(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		panics := func(what string, f func()) {
			defer func() {
				if recover() == nil {
					b.Fail("no panic in %s.", what)
				}
			}()
			f()
		}
		ann.PanicNextRead()
		panics("Read", func() { conn.NetConn().Read(make([]byte, 1)) })
		ann.PanicNextWrite()
		panics("Write", func() { conn.NetConn().Write(make([]byte, 1)) })
		ann.FailNextWrite()
		_, err := conn.NetConn().Write(make([]byte, 1))
		wantError(b, "the write that is to fail", err, syscall.ECONNRESET)
		ann.Send("hello")
		if _, text, err := conn.ReadMessage(); string(text) != "hello" {
			b.Fail("the read after it: %q, %v.", text, err)
		}
		conn.WriteMessage(websocket.TextMessage, []byte("hello"))
		ann.WantText("hello")
	})
}

func TestWriteThatFailsCanBeHeld(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.HoldWrites()
		conn.WriteMessage(websocket.TextMessage, []byte("this one does not fail"))
		ann.WantText("this one does not fail")
		ann.StopReading()
		write := b.Start(func() { conn.WriteMessage(websocket.TextMessage, []byte("hello")) })
		conn.Close()
		b.Pass(time.Hour)
		if write.Returned() {
			b.Fail("the write has returned.")
		}
		ann.ReleaseWrites()
		if !write.Within(time.Hour) {
			b.Fail("the write has not returned.")
		}
	})
}

func TestSentCountsWhatTheServerHasTaken(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		ann.Send("one")
		ann.SendQuietly("two")
		b.Settle()
		if ann.Sent() != 0 {
			b.Fail("%d frames are taken before a read.", ann.Sent())
		}
		conn.ReadMessage()
		conn.ReadMessage()
		b.Settle()
		if ann.Sent() != 2 {
			b.Fail("%d frames are taken after two reads.", ann.Sent())
		}
	})
}

// As on TCP, a net.Buffers is one write.
func TestWritesAreCounted(t *testing.T) {
	with(t, func(b *Bench, ann *Peer, conn *websocket.Conn) {
		before := ann.Writes()
		raw := conn.NetConn()
		for range 2 {
			raw.SetWriteDeadline(time.Now().Add(time.Second))
			both := net.Buffers{[]byte("\x81\x03one"), []byte("\x81\x03two")}
			both.WriteTo(raw)
			ann.WantText("one", "two")
		}
		raw.Write([]byte("\x81\x05three"))
		raw.Write([]byte("\x81\x04four"))
		ann.WantText("three", "four")
		if n := ann.Writes() - before; n != 4 {
			b.Fail("%d writes are counted, and there were 4.", n)
		}
	})
}

// Each Want method says what came instead.
func TestDisappointedPeersSayWhy(t *testing.T) {
	for _, c := range []struct {
		name, seen string
		scenario   func(b *Bench, bob *Peer)
	}{
		{"text", `bob got no text "hello": nothing more came, and the connection is open.`, func(b *Bench, bob *Peer) { bob.WantText("hello") }},
		{"second", `bob got text "one" instead of text "two" (message 2 of 2).`, func(b *Bench, bob *Peer) {
			bob.Send("one")
			bob.Send("one")
			bob.WantText("one", "two")
		}},
		{"stalled", `bob got no text "hello": bob is not reading.`, func(b *Bench, bob *Peer) {
			bob.StopReading()
			bob.WaitText("hello")
		}},
		{"cut", "bob got no close frame with 1000 or 1001: the connection ended without a close frame (a browser calls this 1006).", func(b *Bench, bob *Peer) {
			bob.HangUp()
			bob.WantClose(1000, 1001)
		}},
		{"code", "bob got a close frame 1000 instead of one with 1001.", func(b *Bench, bob *Peer) {
			bob.Close(1000, "")
			bob.WantClose(1001)
		}},
		{"pong", "bob got no pong: nothing more came, and the connection is open.", func(b *Bench, bob *Peer) { bob.WantPong("") }},
		{"open", "bob got a close frame 1000, although he is welcome.", func(b *Bench, bob *Peer) {
			bob.Leave()
			bob.WantOpen("he is welcome")
		}},
		{"gone", "bob's connection is still open on the server's side, although he has left.", func(b *Bench, bob *Peer) { bob.WantGone("he has left") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantReport(t, wrong.Server(wrong.Echo), func(b *Bench) { c.scenario(b, b.Connect("bob")) }, c.seen)
		})
	}
}
