package contract

import (
	"fmt"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

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
				ann.SendFrame(wstest.Frame{Op: wstest.OpText, Payload: []byte("in two ")})
				ann.SendFrame(wstest.Ping("between"))
				ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("fragments")})
				ann.WantPong("between")
				ann.WantText("in two fragments")
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
			})
		},
	},
	{
		Task: "2.2", Name: "a peer that does not read is gone after 10 s",
		cause: "no write deadline is set before each WriteMessage, so that it waits for ever for a peer that does not read.",
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
				ann.SendFrame(wstest.Binary("\xff\xfe"))
				ann.Want(wstest.Binary("\xff\xfe"))
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
		},
	},
}

// tooBigOverTCP tries what memory cannot show: a TCP socket that is closed with
// bytes unread is reset, and the reset destroys the close frame on its way.
func tooBigOverTCP(n *wstest.Network) {
	for range 10 {
		ann := n.Connect("ann")
		ann.SendFrame(wstest.Text(long(40 * maxMessageSize)))
		closing, ok := ann.WaitClose()
		if !ok {
			n.FailBecause("the socket is closed while the peer is still sending. What is unread then makes the system send a reset, which overtakes the close frame: read it away first.",
				"over TCP the close frame with 1009 did not arrive: the connection was reset before.")
		}
		if closing.CloseCode() != 1009 {
			n.Fail("ann got a %s instead of one with 1009.", closing)
		}
		ann.HangUp()
	}
}
