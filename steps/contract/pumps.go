package contract

import (
	"fmt"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeLost = "Send drops a message when the queue is full. It must wait for room (or, from step 4, end the connection)."

// pumps is the contract of step 2: one reader and one writer for each
// connection, with deadlines, a read limit and close codes (RFC 6455, sections
// 5.5.1, 7 and 8.1).
var pumps = []Promise{
	{
		Task: "2.1", Name: "a peer may send many messages before it reads one",
		cause: "one loop reads and writes in turn: while it waits to write, it does not read. Let the read pump queue messages, and the write pump write them.",
		test: func(t *trial) {
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
				if n := ann.Sent(); n < len(sent) {
					s.Fail("the server has read %d of the %d messages and reads no more, because ann does not read.", n, len(sent))
				}
				ann.ResumeReading()
				ann.Want(sent...)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann sends 40 messages in one go")
				ann.SendRaw(inOneGo(texts("message", 40)))
				for i, text := range texts("message", 40) {
					if got, ok := ann.Next(); !ok || string(got.Payload) != text {
						s.FailBecause("each message is queued or written by a goroutine of its own, and those run in any order.",
							"ann's answer number %d should be %q, and is %s.", i+1, text, got)
					}
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.SendFrame(wstest.Frame{Op: wstest.OpText, Payload: []byte("in two ")})
				ann.SendFrame(wstest.Ping("between"))
				ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("fragments")})
				ann.WantPong("between")
				ann.WantText("in two fragments")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				const all = sendQueueSize + 36
				s.Did("ann sends %d messages, more than her queue holds", all)
				for _, text := range texts("message", all) {
					ann.SendQuietly(text)
				}
				s.Pass(writeWait / 2)
				ann.ResumeReading()
				for i, text := range texts("message", all) {
					got, ok := ann.Next()
					if !ok && i < all {
						// From step 4 a queue that is full ends the connection.
						s.Pass(grace)
						if !ann.Gone() {
							s.FailBecause(causeLost, "ann got %d of her %d messages and no more, and the connection is open: she cannot know that the rest is lost.", i, all)
						}
						break
					}
					if string(got.Payload) != text {
						s.FailBecause(causeLost, "ann got %s instead of %q.", got, text)
					}
				}
			})
		},
	},
	{
		Task: "2.1", Name: "one goroutine reads and one writes, whatever happens",
		cause: "a message is written by another goroutine than the write pump, or read by another than the read pump. A connection supports one reader and one writer at a time.",
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
		},
	},
	{
		Task: "2.2", Name: "a silent peer is gone after 60 s",
		cause: "no read deadline is set before each ReadMessage, so that it waits for ever for a peer that is no longer there.",
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
				ann.WantGone("she has been silent for more than 60 s")
				bob.WantOpen("he has said something 32 s ago: each message starts the 60 s anew")
				s.Pass(pongWait/2 - grace - time.Second)
				bob.WantOpen("he has been silent for less than 60 s")
				s.Pass(time.Second + grace)
				bob.WantGone("he has been silent for more than 60 s")
				for _, p := range []*wstest.Peer{ann, bob} {
					if closing, ok := p.WaitClose(); ok && closing.CloseCode() == 1006 {
						s.FailBecause("1006 stands for an end without a close frame, and so is never in one (RFC 6455, section 7.4.1).",
							"%s got a %s.", p.Name, closing)
					}
				}
			})
		},
	},
	{
		Task: "2.3", Name: "a peer that does not read is gone after 10 s",
		cause: "no write deadline is set before each WriteMessage (2.2), or the write pump does not call finish when a write fails.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				ann.Send("hello")
				s.Settle()
				s.Pass(writeWait - time.Second)
				ann.WantOpen("the server has been writing to her for less than 10 s")
				s.Pass(time.Second + grace)
				ann.WantGone("the server has been writing to her for more than 10 s")
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
				ann.WantGone("its read pump has ended, and the write to her may take 10 s")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				s.Did("ann sends 100 messages: her queue is full, and the read pump waits for room in it")
				for _, text := range texts("message", 100) {
					ann.SendQuietly(text)
				}
				s.Pass(writeWait + grace)
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
		Task: "2.4", Name: "a message too big gets 1009, text that is not UTF-8 gets 1007, a close its answer",
		cause: "SetReadLimit is not called; or text is not checked (gorilla does not do it); or the connection is closed before the close frame is out.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.SendFrame(wstest.Text(long(maxMessageSize)))
				ann.Want(wstest.Text(long(maxMessageSize)))
				ann.SendFrame(wstest.Text(long(maxMessageSize + 1)))
				ann.WantClose(1009)
				s.Pass(grace)
				ann.WantGone("the server has sent a close frame 2 s ago")
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
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.SendFrame(wstest.Binary("\xff\xfe"))
				ann.Want(wstest.Binary("\xff\xfe"))
				many := wstest.Text(strings.Repeat("世", 5000))
				ann.SendFrame(many)
				ann.Want(many)
				ann.SendFrame(wstest.Frame{Op: wstest.OpText, Payload: []byte("caf\xc3")})
				ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("\xa9")})
				ann.WantText("café")
				ann.SendFrame(wstest.Text("caf\xe9"))
				ann.WantClose(1007)
				s.Pass(grace)
				ann.WantGone("the server has sent a close frame 2 s ago")
			})
			t.overTCP(tooBigOverTCP)
			for _, code := range []int{1000, 1001, 4321} {
				t.scene(func(s *scene) {
					ann := s.Connect("ann")
					s.talk(ann, "hello")
					ann.Close(code, "bye")
					ann.WantClose(code, 1000)
					s.Pass(grace)
					ann.WantGone("both sides have sent a close frame")
				})
			}
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann sends a close frame without a code")
				ann.SendRaw([]byte{0x88, 0x80, 0, 0, 0, 0})
				ann.WantClose(1005, 1000)
				s.Pass(grace)
				ann.WantGone("both sides have sent a close frame")
			})
		},
	},
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
func tooBigOverTCP(n *wstest.Network) {
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
		for ok && ann.Sent() < frames && !ann.Gone() {
			<-tick.C
		}
		good := ok && ann.Sent() == frames
		ann.HangUp()
		if good {
			return
		}
	}
	n.FailBecause("the socket is closed while the peer is still sending. What is unread then makes the system send a reset, which can overtake the close frame: read it away first.",
		"over TCP the connection was reset while ann was still sending, so that the close frame with 1009 may not reach her.")
}
