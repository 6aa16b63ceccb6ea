package contract

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	causeUnread = "the socket is closed while the peer is still sending. What is unread then makes the system send a reset, which can overtake the close frame: read it away first."
	causeTwo    = "a message is written by another goroutine than the write pump, or read by another than the read pump. A connection supports one reader and one writer at a time."
)

// pumps is the contract of step 2: one reader and one writer for each
// connection, with deadlines, a read limit and close codes (RFC 6455, sections
// 5.5.1, 7 and 8.1).
var pumps = []Promise{
	{
		Task: "2.1", Name: "the server reads while it writes, and what waits stays in order",
		cause: "one loop reads and writes in turn: while it waits to write, it does not read. Let the read pump queue messages, and the write pump write them.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				all := texts("message", 40)
				ann.StopReading()
				ann.Send(all[0])
				s.Settle()
				s.Did("ann sends messages 2 to %d in one go", len(all))
				ann.SendRaw(inOneGo(all[1:]))
				s.Settle()
				ann.ResumeReading()
				s.wantInOrder(ann, all)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				var sent []wstest.Frame
				for i := range 16 {
					f := wstest.Text(fmt.Sprint("message ", i+1))
					switch i % 4 {
					case 1:
						f = wstest.Binary(fmt.Sprint("\xff binary ", i+1))
					case 2:
						f = wstest.Text(long(100 * i))
					}
					sent = append(sent, f)
					ann.SendFrame(f)
				}
				s.Settle()
				const saw = "the server has read %d of the %d messages and reads no more, because ann does not read."
				switch n := ann.Sent(); {
				case n < 2:
					s.Fail(saw, n, len(sent))
				case n < len(sent):
					s.FailBecause("the send queue has no room for them. Make it with a buffer for sendQueueSize messages.", saw, n, len(sent))
				}
				ann.ResumeReading()
				ann.Want(sent...)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.SendFrame(wstest.Frame{Op: wstest.OpText, Payload: []byte("in two ")})
				ann.SendFrame(wstest.Ping("between"))
				ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("fragments")})
				ann.WantText("in two fragments")
				s.Settle()
				if len(ann.Pongs()) == 0 {
					s.FailBecause("a ping handler of your own answers nothing. Without one, ReadMessage answers pings.", "ann's ping got no pong.")
				}
				ann.WantPong("between")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				const all = sendQueueSize + 36
				s.Did("ann sends %d messages, more than her queue holds", all)
				for _, text := range texts("message", all) {
					ann.SendQuietly(text)
				}
				s.Pass(writeWait - time.Second)
				ann.ResumeReading()
				for i, text := range texts("message", all) {
					got, ok := ann.Next()
					if !ok && i < all {
						// From step 4 a queue that is full ends the connection.
						s.Pass(grace)
						if !ann.Gone() {
							s.FailBecause(s.causeLost(), "ann got %d of her %d messages and no more, and the connection is open: she cannot know that the rest is lost.", i, all)
						}
						break
					}
					if string(got.Payload) != text {
						s.FailBecause(s.causeLost(), "ann got %s instead of %q.", got, text)
					}
				}
			})
			if t.step < 4 { // from then on a full queue ends the connection, which 4.2 is about
				t.scene(sendWithoutEnd)
				t.scene(waitAlone)
			}
		},
	},
	{
		Task: "2.1", Name: "one goroutine reads and one writes, whatever happens",
		cause: causeTwo,
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				want := texts("message", 10)
				for _, text := range want {
					ann.Send(text)
				}
				s.Settle()
				if n := ann.Sent(); n < len(want) {
					s.Fail("the server has read %d of the %d messages: while one goroutine writes, no other reads.", n, len(want))
				}
				ann.SendFrame(wstest.Ping("are you there?"))
				s.Settle()
				s.notPanicked(causeTwo)
				ann.ResumeReading()
				ann.WantText(want...)
				ann.WantPong("are you there?")
				for i := range 10 {
					ann.SendFrame(wstest.Ping(fmt.Sprint(i)))
					ann.Send(fmt.Sprint(i))
				}
				for i := range 10 {
					ann.WantText(fmt.Sprint(i))
					ann.WantPong(fmt.Sprint(i))
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("hello")
				s.Settle()
				s.Did("while the server writes to her, ann sends text that is not UTF-8")
				ann.SendFrame(wstest.Text("caf\xe9"))
				s.Settle()
				s.notPanicked(causeTwo)
				ann.ResumeReading()
			})
			if t.step < 5 { // from then on pings come meanwhile, which 5.1 is about
				t.scene(oneWriterAllTheTime)
			}
		},
	},
	{
		Task: "2.2", Name: "a silent peer is gone after 60 s",
		cause: "no read deadline is set before each ReadMessage, or one that is later, so that it waits for a peer that is no longer there. Or finish is called only when what the peer still sends has been read away, which may take for ever: call it first.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.NoPongs()
				bob.NoPongs()
				s.Pass(pongWait / 2)
				s.talk(bob, "hello")
				s.Pass(pongWait/2 - time.Second)
				ann.WantOpen("she has been silent for less than 60 s")
				s.Pass(time.Second + grace)
				s.notPanicked("the read pump reads on after a timeout. Every error of ReadMessage is final, this one too: return.")
				ann.WantGone("she has been silent for more than 60 s")
				if bob.Gone() || bob.ClosedWith() != nil {
					s.FailBecause("the read deadline is set once, or by pongs only. It is a point in time: set it anew before each ReadMessage.",
						"the server has ended bob's connection, although he has said something 32 s ago: each message starts the 60 s anew.")
				}
				s.Pass(pongWait/2 - grace - time.Second)
				bob.WantOpen("he has been silent for less than 60 s")
				s.Pass(time.Second + grace)
				bob.WantGone("he has been silent for more than 60 s")
				for _, p := range []*wstest.Peer{ann, bob} {
					switch closing, _ := p.WaitClose(); closing.CloseCode() {
					case 1006:
						s.FailBecause("1006 stands for an end without a close frame, and so is never in one (RFC 6455, section 7.4.1).",
							"%s got a %s.", p.Name, closing)
					case 1002:
						s.FailBecause("the error of ReadMessage is wrapped without %w, so that closeStatus cannot see that it was a timeout.",
							"%s got a %s: that is a protocol error, but all that %[1]s did was to be silent.", p.Name, closing)
					}
				}
			})
			if t.step < 5 { // from then on pings come meanwhile
				t.scene(binaryIsLife)
			}
		},
	},
	{
		Task: "2.3", Name: "a peer that does not read is gone after 10 s",
		cause: "no write deadline is set before each WriteMessage (2.2). Or it is moved: SetDeadline for reading is for both directions. Or it comes too late: conn.SetWriteDeadline does not reach a write that is under way.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("hello")
				s.Settle()
				s.Pass(writeWait / 2)
				ann.Send("hello?")
				s.Pass(writeWait/2 - time.Second)
				if ann.Gone() {
					s.FailBecause("a duration is written without its unit: 10 is 10 nanoseconds, 10 * time.Second is what is meant.",
						"the server has closed ann's connection, although it has been writing to her for less than 10 s.")
				}
				s.Pass(time.Second + grace)
				s.notPanicked("finish has closed done twice: both pumps may call it. Let sync.Once see to it.")
				if !ann.Gone() && !slices.ContainsFunc(s.LeftBehind(), func(g string) bool { return strings.Contains(g, "in a write") }) {
					s.FailBecause("the write pump hides the error from finish, or waits for something before it calls it; or the socket is closed only when both pumps have ended.",
						"the write to ann has failed after 10 s, but her connection is still open on the server's side.")
				}
				ann.WantGone("the server has been writing to her for more than 10 s")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("hello")
				s.Pass(time.Second)
				ann.SendFrame(wstest.Ping("are you there?"))
				s.Pass(writeWait/2 - time.Second)
				if ann.Gone() {
					s.FailBecause("a ping handler of your own returns the error of a WriteControl that has not waited long enough for the write under way, and an error ends ReadMessage. Without a handler of your own, gorilla drops such a pong.",
						"the server has closed ann's connection after her ping, although it has been writing to her for less than 10 s.")
				}
				ann.ResumeReading()
				ann.WantText("hello")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				for range 3 {
					ann.StopReading()
					ann.Send("hello")
					s.Pass(writeWait * 6 / 10)
					ann.ResumeReading()
					ann.WantOpen("no write to her has taken 10 s")
					if !ann.HasText("hello") {
						s.FailBecause("the write deadline is set once. Set it anew before each write.",
							"ann got no answer, although no write to her has taken 10 s.")
					}
				}
			})
			t.scene(eachWriteItsTime)
			t.scene(nobodyToTell)
			t.scene(bigForTheDeaf)
		},
	},
	{
		Task: "2.3", Name: "the end of one pump ends the other and the socket",
		cause: "a pump returns without finish, which closes the socket: the other one is blocked in the socket, or waits for a message, and learns nothing.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("one")
				ann.Send("two")
				s.Settle()
				s.Did("ann sends a frame without a mask, which RFC 6455 forbids: the read pump ends with an error")
				ann.SendRaw([]byte{0x81, 0x02, 'h', 'i'})
				s.Pass(writeWait + grace)
				if !ann.Gone() {
					s.FailBecause("the read pump waits for something before it calls finish; or what finish starts waits for the peer without a limit.",
						"ann's connection is still open on the server's side, although its read pump has ended, and the write to her may take 10 s.")
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				s.Did("ann sends %d messages: her queue is full, and the read pump waits for room in it", 2*sendQueueSize)
				for _, text := range texts("message", 2*sendQueueSize) {
					ann.SendQuietly(text)
				}
				s.Pass(writeWait + grace)
				s.notPanicked("the send queue is closed, although somebody may still send. Let done say that the connection has ended, and never close the queue.")
				ann.WantGone("a write to her has failed after 10 s: that ends the read pump, even while it waits for room in the queue")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.FailNextWrite()
				ann.Send("hello")
				s.Did("the server's write to ann fails: the write pump ends with an error")
				s.Pass(grace)
				ann.WantGone("a write to it has failed")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.FailNextWrite()
				ann.Send("hello")
				s.Did("the server's write to ann fails")
				s.Pass(closeWait / 2)
				if !ann.Gone() {
					s.FailBecause(causeToldNobody, "ann's connection is still open on the server's side %v after a write to her has failed.", closeWait/2)
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("one")
				s.Settle()
				ann.Reset()
				s.Pass(grace)
				ann.WantGone("it was reset")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.talk(ann, "hello")
				ann.HangUp()
				s.Pass(grace)
				ann.WantGone("she has hung up")
			})
		},
	},
	{
		Task: "2.4", Name: "text that is not UTF-8 gets 1007, a close its answer",
		cause: "text is not checked (gorilla does not do it); or the connection is closed before the close frame is out.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.wantEcho(ann, wstest.Binary("\xff\xfe"))
				s.wantEcho(ann, wstest.Text(strings.Repeat("世", 5000)))
				s.wantEcho(ann, wstest.Text("\uFFFD is a character like others"))
				ann.SendFrame(wstest.Frame{Op: wstest.OpText, Payload: []byte("caf\xc3")})
				ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("\xa9")})
				ann.WantText("café")
				s.Settle()
				s.Did("ann sends text that is not UTF-8")
				ann.SendFrame(wstest.Text(long(200) + "caf\xe9"))
				s.wantRefusal(ann, 1007, "text is not checked, or is repaired. gorilla does not check it: ask utf8.Valid, and return errNotUTF8.")
				s.wantHungUp(ann)
			})
			for _, code := range []int{1000, 1001, 4321} {
				t.scene(func(s *scene) {
					ann := s.Connect("ann")
					s.talk(ann, "hello")
					ann.Close(code, "bye")
					s.wantAnswer(ann, code)
				})
			}
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann sends a close frame without a code")
				ann.SendRaw([]byte{0x88, 0x80, 0, 0, 0, 0})
				s.wantAnswer(ann, 1005)
			})
			if t.step < 9 { // from then on one write may have many messages
				t.scene(closeDuringWrite)
			}
			t.scene(notUTF8Anywhere)
			t.scene(deafToTheEnd)
			t.scene(endIsLogged)
		},
	},
	{
		Task: "2.5", Name: "a message too big gets 1009, and a close frame reaches a peer that is still sending",
		cause: "SetReadLimit is not called; or the socket is closed at once after the close frame.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.wantEcho(ann, wstest.Text(long(maxMessageSize)))
				ann.SendFrame(wstest.Text(long(maxMessageSize + 1)))
				s.wantRefusal(ann, 1009, "SetReadLimit is not called, or with another number than maxMessageSize (32 KiB).")
				s.wantHungUp(ann)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.SendFrame(wstest.Text(long(256 << 10)))
				ann.WantClose(1009)
				s.Settle()
				if ann.Sent() < 1 {
					s.FailBecause(causeUnread, "the server has sent ann its close frame, and reads no more, but she is still sending. Over TCP the close frame may not reach her.")
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann sends the first 40,000 bytes of a text of 1 GiB")
				ann.SendRaw(append([]byte{0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0}, long(40000)...))
				s.wantRefusal(ann, 1009, "the size of a message is checked when all of it is in memory. SetReadLimit looks at it before.")
			})
			t.scene(func(s *scene) {
				ann, answer := s.Handshake("ann", offer)
				if answer.Header.Get("Sec-WebSocket-Extensions") == "" {
					return // nothing will be compressed
				}
				s.Did("the server has agreed to compress messages. ann sends 16 MiB, which make 16 KiB on the wire")
				ann.SendRaw(compressed(16 << 20))
				s.wantRefusal(ann, 1009, "EnableCompression is set. SetReadLimit counts the bytes on the wire, and a small frame can unpack to a message of any size.")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				ann.SendFrame(wstest.Text(long(maxMessageSize + 1)))
				ann.WantClose(1009)
				s.Pass(grace)
				if !ann.Gone() {
					s.FailBecause("the wait for the peer's answer to the close frame has no limit.",
						"ann's connection is still open on the server's side, although she has not answered its close frame for more than %v.", closeWait)
				}
			})
			t.scene(drainAfterBadText)
			t.scene(drainAfterBadFrame)
			t.scene(drainAllTheTime)
			t.overTCP(tooBigOverTCP)
		},
	},
}

// oneWriterAllTheTime lets nearly all of two minutes pass while the server is writing to
// a peer, so that whatever else is written from time to time meets that write.
func oneWriterAllTheTime(s *scene) {
	ann := s.Connect("ann")
	const times, blocked, between = 13, writeWait - time.Second, 700 * time.Millisecond
	s.Did("ann sends \"hello\" and takes the answer %v later, %d times", blocked, times)
	for range times {
		ann.Stall()
		ann.SendQuietly("hello")
		s.Settle()
		time.Sleep(blocked)
		s.Settle()
		s.notPanicked(causeTwo)
		ann.Unstall()
		if !ann.HasText("hello") {
			return // which is the matter of 2.2 and 2.3
		}
		time.Sleep(between)
		s.Settle()
	}
}

// binaryIsLife lets a peer send nothing but a binary message.
func binaryIsLife(s *scene) {
	ann := s.Connect("ann")
	s.Pass(pongWait * 2 / 3)
	s.wantEcho(ann, wstest.Binary("\xff\xfe"))
	s.Pass(pongWait * 2 / 3)
	if ann.Gone() || ann.ClosedWith() != nil {
		s.FailBecause("the read deadline is set anew for some messages only. Set it before each ReadMessage, whatever that returns.",
			"the server has ended ann's connection, although she has sent a binary message 40 s ago: each message starts the 60 s anew.")
	}
}

// eachWriteItsTime lets a peer take two answers, one after the other. The second waits
// in the queue for a while, and each is written in less than 10 s.
func eachWriteItsTime(s *scene) {
	raw := s.Dial("ann")
	s.Did("ann asks for a WebSocket and gets it")
	raw.Write(wstest.Request{}.Bytes("/ws"))
	raw.SetReadDeadline(time.Now().Add(wstest.Patience))
	if _, err := http.ReadResponse(bufio.NewReader(raw), nil); err != nil {
		s.Fail("ann got no answer to her handshake: %v.", err)
	}
	s.Settle()
	for _, text := range []string{"one", "two"} {
		s.Did("ann sends %q", text)
		raw.Write(inOneGo([]string{text}))
		s.Pass(time.Second) // both in one write would be right, too
	}
	for _, turn := range []struct {
		wait time.Duration
		text string
	}{{writeWait - 3*time.Second, "one"}, {writeWait / 2, "two"}} {
		s.Pass(turn.wait)
		s.Did("ann reads the answer to %q, and no more", turn.text)
		frame := make([]byte, 2+len(turn.text))
		raw.SetReadDeadline(time.Now().Add(wstest.Patience))
		if _, err := io.ReadFull(raw, frame); err != nil || string(frame[2:]) != turn.text {
			s.FailBecause("the write deadline is set when a message is queued, and not when it is written. Set it before each WriteMessage, in the write pump.",
				"ann cannot read the answer to %q, although no write to her has taken 10 s.", turn.text)
		}
	}
	raw.Close()
}

const causeToldNobody = "the error of WriteMessage is wrapped without %w, so that closeStatus cannot see that it comes from the network, and hangUp waits for somebody who cannot be told. With CloseAbnormalClosure it closes the socket at once."

// nobodyToTell demands that a connection whose write has failed is closed at once.
func nobodyToTell(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	ann.Send("hello")
	s.Settle()
	s.Pass(writeWait + closeWait/2)
	if !ann.Gone() {
		s.FailBecause(causeToldNobody, "ann's connection is still open on the server's side %v after the write to her has failed.", closeWait/2)
	}
}

const stillSending = "the server has sent ann its close frame with %d, and reads no more, but she is still sending. Over TCP the close frame may not reach her."

// drainAfterBadText lets a peer that is refused for its text go on sending.
func drainAfterBadText(s *scene) {
	ann := s.Connect("ann")
	ann.IgnoreClose()
	s.Did("ann sends text that is not UTF-8, and goes on sending")
	ann.SendFrame(wstest.Text("caf\xe9"))
	ann.SendFrame(wstest.Text(long(30 << 10)))
	ann.SendFrame(wstest.Text(long(30 << 10)))
	s.wantDrained(ann, 3, 1007)
}

// drainAfterBadFrame lets a peer that is refused for a frame go on sending.
func drainAfterBadFrame(s *scene) {
	ann := s.Connect("ann")
	ann.IgnoreClose()
	s.Did("ann sends a frame without a mask, which RFC 6455 forbids, and 30 KiB more")
	ann.SendRaw([]byte{0x81, 0x02, 'h', 'i'})
	ann.SendRaw([]byte(long(30 << 10)))
	s.wantDrained(ann, 2, 1002)
}

// wantDrained demands that a peer is told a close code, and that all that it has sent
// is read, which was in n pieces.
func (s *scene) wantDrained(p *wstest.Peer, n, code int) {
	p.WantClose(code)
	s.Settle()
	if p.Sent() < n {
		s.FailBecause(causeUnread, stillSending, code)
	}
}

// drainAllTheTime lets a peer that is refused send on, slowly.
func drainAllTheTime(s *scene) {
	ann := s.Connect("ann")
	ann.IgnoreClose()
	s.Did("ann sends the first 40,000 bytes of a text of 1 GiB")
	ann.SendRaw(append([]byte{0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0}, long(40000)...))
	ann.WantClose(1009)
	s.Settle()
	for range 3 {
		s.Pass(closeWait / 4)
		s.Did("ann sends 4,000 bytes more")
		before := ann.Sent()
		ann.SendRaw([]byte(long(4000)))
		s.Settle()
		if ann.Sent() == before {
			s.FailBecause("the server reads away what comes for a while only: a read deadline ends it, or it counts the bytes. Read on until hangUp closes the socket, closeWait after the close frame.",
				stillSending, 1009)
		}
	}
}

// closeDuringWrite lets a peer close while the server is writing to it.
func closeDuringWrite(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	ann.Send("hello")
	s.Pass(time.Second)
	ann.Close(1000, "bye")
	s.Pass(closeWait * 3 / 4)
	ann.ResumeReading()
	if _, ok := ann.WaitClose(); !ok {
		s.FailBecause("the read pump, or a close handler of your own, closes the socket, while the write pump is still writing. Only hangUp closes it: it lets the write pump end first.",
			"ann reads again %v after her close frame, and it was not answered with one.", closeWait*3/4)
	}
	s.wantAnswer(ann, 1000)
}

// sendWithoutEnd lets a peer that does not read send far more than its queue and all
// buffers on the way hold.
func sendWithoutEnd(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	const all = 4 * sendQueueSize
	s.Did("ann sends %d messages of 8 KiB", all)
	for range all {
		ann.SendQuietly(long(8 << 10))
	}
	s.Settle()
	if ann.Sent() == all {
		s.FailBecause("the send queue grows without end, or has more room than sendQueueSize messages. While it is full, Send waits, and the read pump with it.",
			"the server has read all of the %d messages, although ann does not read, and keeps them in memory: her queue holds %d.", all, sendQueueSize)
	}
	ann.ResumeReading()
	s.Settle()
}

// waitAlone fills the queue of a peer that does not read, so that its read pump waits
// for room, and lets another one talk.
func waitAlone(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	s.fillQueue(ann)
	bob.Send("hello")
	if !bob.HasText("hello") {
		s.FailBecause("handle holds a lock of the server while Send waits for room in the queue, or all messages go through one goroutine, which waits there. Only the peer's own read pump may wait.",
			"bob, who reads, got no answer: he waits together with ann, who does not read.")
	}
	ann.ResumeReading()
	s.Settle()
}

// fillQueue lets a peer stop reading and send more than its queue holds. Before step 4
// its read pump then waits for room.
func (s *scene) fillQueue(p *wstest.Peer) {
	p.StopReading()
	s.Did("%s sends %d messages: the queue is full, and Send waits for room", p.Name, 2*sendQueueSize)
	for _, text := range texts("message", 2*sendQueueSize) {
		p.SendQuietly(text)
	}
	s.Settle()
}

// causeLost is what usually loses a message at this step.
func (s *scene) causeLost() string {
	switch {
	case s.step >= 9:
		return "the cursor is moved behind more than was written, or a write pump is not woken when there is more (9.1)."
	case s.step >= 8:
		return "what is over the rate is dropped. It must wait for its turn."
	case s.step >= 4:
		return "Send drops a message when the queue is full. It must end the connection."
	}
	return "Send drops a message when the queue is full. It must wait for room."
}

// wantInOrder demands that p gets these texts, each as a message of its own, in
// this order.
func (s *scene) wantInOrder(p *wstest.Peer, want []string) {
	var got []string
	for range want {
		f, ok := p.Next()
		if !ok {
			break
		}
		got = append(got, string(f.Payload))
	}
	if slices.Equal(got, want) {
		return
	}
	if slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		s.FailBecause("each message is queued or written by a goroutine of its own, and those run in any order.",
			"%s got all of the %d messages, but in another order.", p.Name, len(want))
	}
	for i, text := range want {
		switch {
		case i == len(got):
			s.FailBecause(s.causeLost(), "%s got %d of the %d messages, and no more.", p.Name, i, len(want))
		case got[i] == text:
		case strings.HasPrefix(got[i], text):
			s.FailBecause("messages that wait in the queue are joined into one. Each stays a message of its own.",
				"%s's answer number %d should be %q, and is %s.", p.Name, i+1, text, wstest.Text(got[i]))
		default:
			s.FailBecause("the same buffer is used for each message that is read, while earlier ones still wait in the queue.",
				"%s's answer number %d should be %q, and is %s.", p.Name, i+1, text, wstest.Text(got[i]))
		}
	}
}

// wantRefusal demands a close frame with code as the answer to what p has just
// sent. notSeen is what usually lets it through.
func (s *scene) wantRefusal(p *wstest.Peer, code int, notSeen string) {
	closing, ok := p.WaitClose()
	switch {
	case ok && closing.CloseCode() != code:
		s.FailBecause("closeStatus gives another code for this error: return the error itself, or wrap it with %w. Or something else has sent a close frame before.",
			"%s got a %s instead of one with %d.", p.Name, closing, code)
	case ok && len(p.Messages()) > 0:
		s.FailBecause("the message is handed on first, and checked then.", "%s got a close frame with %d, but an answer to what it is about before.", p.Name, code)
	case ok:
	case len(p.Messages()) > 0:
		s.FailBecause(notSeen, "%s got an answer to it, and no close frame with %d.", p.Name, code)
	case p.Gone():
		s.FailBecause("the socket is closed before the close frame is out: only hangUp should close it. Or the reason has more than 123 bytes: then nothing is sent.",
			"%s's connection was closed without a close frame (a browser calls this 1006). It should be one with %d.", p.Name, code)
	default:
		s.FailBecause(notSeen, "%s got no close frame with %d, and the connection is open.", p.Name, code)
	}
}

// wantHungUp demands that the server closes the socket after its close frame.
func (s *scene) wantHungUp(p *wstest.Peer) {
	s.Pass(grace)
	if !p.Gone() {
		s.FailBecause("gorilla has sent the close frame. To close the socket is the matter of finish, which is not called, or only after something that waits for the peer.",
			"%s's connection is still open on the server's side %v after the close frame.", p.Name, grace)
	}
}

// wantAnswer demands that the close frame that p has just sent is answered with
// the same code, or 1000, and that the server then closes the socket at once.
func (s *scene) wantAnswer(p *wstest.Peer, code int) {
	closing, ok := p.WaitClose()
	if !ok {
		s.FailBecause("the socket is closed before the answer is out, by a close handler of your own or a pump. ReadMessage answers a close frame, and hangUp closes the socket.",
			"%s's close frame was not answered with one.", p.Name)
	}
	if code == 1005 && len(closing.Payload) > 0 && closing.CloseCode() == code {
		s.FailBecause("1005 stands for a close frame without a code, and so is never in one (RFC 6455, section 7.4.1). FormatCloseMessage leaves it out.",
			"%s got a %s, with the code written in it, as the answer to a close frame without one.", p.Name, closing)
	}
	if got := closing.CloseCode(); got != code && got != 1000 {
		saw := fmt.Sprintf("%s got a %s as the answer to a close frame with %d.", p.Name, closing, code)
		if strings.Contains(string(closing.Payload), "websocket: close") {
			s.FailBecause("the peer's close frame is not recognized behind the error that wraps it. errors.AsType looks into a wrapped error; a type assertion does not.", "%s", saw)
		}
		s.Fail("%s", saw)
	}
	s.Pass(closeWait / 2)
	if !p.Gone() {
		s.FailBecause("hangUp waits for the read pump, which reads on after the peer's close frame, or does not close readEnded at its end.",
			"%v after both sides have sent a close frame, %s's connection is still open on the server's side. Nothing more can come: it is closed at once.", closeWait/2, p.Name)
	}
}

// compressed returns a text of n bytes as a frame that is compressed with
// permessage-deflate (RFC 7692). It is masked with zeros.
func compressed(n int) []byte {
	var small bytes.Buffer
	w, _ := flate.NewWriter(&small, flate.BestCompression)
	io.WriteString(w, long(n))
	w.Flush()
	payload := bytes.TrimSuffix(small.Bytes(), []byte{0, 0, 0xff, 0xff})
	frame := binary.BigEndian.AppendUint16([]byte{0xc1, 0x80 | 126}, uint16(len(payload)))
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// inOneGo returns text messages as a client sends them, one after the other. They
// are short, and masked with zeros, which leave them as they are.
func inOneGo(texts []string) (frames []byte) {
	for _, text := range texts {
		frames = append(frames, 0x81, 0x80|byte(len(text)), 0, 0, 0, 0)
		frames = append(frames, text...)
	}
	return frames
}

// tooBigOverTCP tries what memory cannot show: a TCP socket that is closed with
// bytes unread is reset, and on many systems the reset destroys the close frame
// on its way. A machine that is very busy may be slower than closeWait, so one
// good end of three will do; a server that does it wrong has none, for the
// message is larger than all that the system holds between two sockets.
func tooBigOverTCP(n *wstest.Network, _ Server) {
	const frames = 3 // hello, the big one, and the answer to the close frame
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 3 {
		ann := n.Connect("ann")
		ann.SendFrame(wstest.Text(long(16 << 20)))
		closing, ok := ann.WaitClose()
		if ok && closing.CloseCode() != 1009 {
			n.Fail("ann got a %s instead of one with 1009.", closing)
		}
		for range 10_000 { // ten seconds
			if !ok || ann.Sent() == frames || ann.Unsent() {
				break
			}
			<-tick.C
		}
		good := ok && ann.Sent() == frames
		ann.HangUp()
		if good {
			return
		}
	}
	n.FailBecause(causeUnread,
		"over TCP the connection was reset while ann was still sending, so that the close frame with 1009 may not reach her.")
}
