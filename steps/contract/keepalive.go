package contract

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// keepalive is the contract of step 5: pings and pongs (RFC 6455, sections 5.5.2
// and 5.5.3).
var keepalive = []Promise{
	{
		Task: "5.1", Name: "an idle peer is pinged every 54 s",
		cause: "after a ping the write pump does not go on as before.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.talk(ann, "hello")
				s.Pass(pingPeriod)
				if got := ann.Messages(); len(got) > 0 {
					s.FailBecause("a ping is no message, which the page would show. It is a frame of its own: websocket.PingMessage.",
						"ann got %s, which nobody has sent.", got[0])
				}
				if ann.Gone() && len(ann.Pings()) == 0 {
					s.FailBecause("the ping is written with a deadline that has passed. A deadline is a point in time, and each write needs a new one.",
						"the server has closed ann's connection when a ping to her was due.")
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.wantPings(10, func() { s.Pass(pingPeriod) }, "the write pump has no ticker for pings, or one with another period.", ann)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				pong := func(after time.Duration) {
					s.Pass(after)
					ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpPong})
				}
				pong(20 * time.Second)
				pong(20 * time.Second)
				s.Pass(pingPeriod - time.Second - 40*time.Second)
				before := ann.Gone() // for as long as her pongs are taken for errors
				pong(writeWait / 2)
				s.Settle()
				if ann.Gone() && !before {
					s.FailBecause("the ping has a deadline of its own that is too early.",
						"the server has closed ann's connection %v after her ping was due. She does not read, and like each write it may take %v.", writeWait/2-time.Second, writeWait)
				}
				s.Pass(time.Second + writeWait/2 + grace)
				if !ann.Gone() {
					s.FailBecause("a ping is written without a deadline of its own, or its error is ignored. Or her pongs put the ping off, but it is due whatever a peer sends.",
						"ann's connection is still open on the server's side. Her ping was due after %v, she does not read, and like each write it may take %v.", pingPeriod, writeWait)
				}
			})
		},
	},
	{
		Task: "5.1", Name: "pings keep their period under steady traffic",
		cause: "pings are written by a goroutine of their own, in the middle of the write pump's messages. Or a ping handler sets a write deadline, which is the write pump's too (5.3).",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				bob.NoPongs()
				s.Did("bob sends a message every second, and answers no ping; ann sends one every %v", pingPeriod)
				s.wantPings(5, func() {
					ann.SendQuietly("still here") // for as long as her pongs do not count
					for range int(pingPeriod / time.Second) {
						bob.SendQuietly("tick")
						time.Sleep(time.Second)
					}
				}, "a busy connection is not pinged, or the timer for pings starts anew with each message. But messages to a peer do not show that it is alive.", ann, bob)
				if got := len(ann.Messages()); got == 0 {
					s.Fail("ann got none of bob's messages.")
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann sends a ping and a pong every second")
				for range int(pingPeriod / time.Second) {
					ann.SendRaw(wstest.Ping("").Bytes())
					ann.SendRaw(wstest.Frame{Fin: true, Op: wstest.OpPong}.Bytes())
					time.Sleep(time.Second)
				}
				s.Settle()
				if got := len(ann.Pings()); got != 1 && !ann.Gone() { // for as long as they are taken for errors
					s.FailBecause("a ping or a pong from the peer starts the wait for the next ping anew. But one is due every 54 s, whatever a peer sends.",
						"ann has got %d pings after %v, and not one.", got, pingPeriod)
				}
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.Pass(pingPeriod - time.Second/4)
				ann.StopReading()
				hellos := texts("hello", 20)
				for _, hello := range hellos {
					s.talk(bob, hello)
				}
				s.Did("while these are being written to ann, her ping falls due")
				s.Pass(time.Second / 2)
				ann.ResumeReading()
				ann.WantText(hellos...)
				s.Settle()
				for _, p := range []*wstest.Peer{ann, bob} {
					if got := len(p.Pings()); got != 1 {
						s.FailBecause("a ping that finds messages in the queue is left out, or comes twice.",
							"%s has got %d pings after %v, and not one.", p.Name, got, pingPeriod+time.Second/4)
					}
				}
			})
		},
	},
	{
		Task: "5.2", Name: "a peer that answers pings stays for a day",
		cause: "a pong does not start the 60 s of silence anew. The pong handler must set the read deadline, 60 s from now, and must be set before the first read. It returns an error only if that fails.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				if bob, _ := s.Handshake("bob", wstest.Request{}); bob != nil {
					bob.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpPong}) // nothing has happened since the handshake
				}
				ann := s.Connect("ann")
				var day time.Duration
				for _, d := range []time.Duration{2 * pongWait, time.Hour, 23 * time.Hour} {
					s.Pass(d)
					if ann.Gone() && len(ann.Pings()) == 0 {
						s.FailBecause("there are no pings yet: do 5.1 first.", "ann is gone, and has got no ping that she could have answered.")
					}
					ann.WantOpen("she has answered every ping")
					day += d
				}
				if got, want := len(ann.Pings()), int(day/pingPeriod); got != want {
					s.FailBecause("the ticker does not tick on as it began.", "ann has got %d pings in %v, and not %d: one every %v.", got, day, want, pingPeriod)
				}
				s.talk(ann, "good morning")
			})
			t.scene(pongsWithPayload)
		},
	},
	{
		Task: "5.2", Name: "a peer that vanished is gone 60 s after its last sign of life",
		cause: "the read deadline is not set anew by each message and each pong, or the wait is not pongWait.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob, cat := s.Connect("ann"), s.Connect("bob"), s.Connect("cat")
				cat.NoPongs()
				s.Pass(17 * time.Second)
				hello := wstest.Binary("hello")
				bob.SendFrame(hello)
				bob.Want(hello)
				s.Settle()
				bob.Vanish()
				s.Pass(pongWait / 2)
				ann.Send("anybody there?")
				ann.Want(hello, wstest.Text("anybody there?"))
				cat.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpPong})
				s.Pass(pongWait/2 - time.Second)
				bob.WantOpen("his last message came 59 s ago")
				s.Pass(time.Second + grace)
				if !bob.Gone() {
					s.FailBecause("something sets the read deadline that is no sign of life: a ping of our own, or a message to the peer. A write can succeed for minutes after the peer has gone. Or nothing sets it, and somebody looks only now and then who is silent.",
						"bob's connection is still open on the server's side, although his last message came more than 60 s ago.")
				}
				if cat.Gone() || cat.ClosedWith() != nil {
					s.FailBecause("a pong that nobody asked for is taken for an error, or does not set the read deadline. But a peer may send one at any time (RFC 6455, section 5.5.3).",
						"the server has ended cat's connection, although she has sent a pong 32 s ago.")
				}

				s.Pass(10*pingPeriod + time.Second - 17*time.Second - pongWait - grace)
				if ann.Gone() {
					s.FailBecause("there are no pings, or not every 54 s: do 5.1 first. Or her answers do not count.",
						"ann is gone already. She would have answered each ping, and has got %d.", len(ann.Pings()))
				}
				if n := len(ann.Pings()); n < 10 {
					s.FailBecause("there are no pings, or not every 54 s: do 5.1 first.", "ann has got %d pings in %v, and 10 were due.", n, 10*pingPeriod+time.Second)
				}
				s.Did("ann has answered a ping, a second ago")
				ann.Vanish()
				s.Pass(pongWait - 2*time.Second)
				ann.WantOpen("her last pong came 59 s ago")
				s.Pass(2*time.Second + grace)
				if !ann.Gone() {
					s.FailBecause("a pong takes the read deadline away, or sets it to more than pongWait from now.",
						"ann's connection is still open on the server's side, although her last pong came more than 60 s ago.")
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.NoPongs()
				s.Pass(pongWait / 2)
				s.Did("ann sends the first 4 bytes of a message of 8, and no more")
				ann.SendRaw(append([]byte{0x81, 0x80 | 8, 0, 0, 0, 0}, "half"...))
				s.Pass(pongWait/2 + grace)
				if !ann.Gone() {
					s.FailBecause("half a message counts as a sign of life: the read deadline is set between NextReader and the end of the message.",
						"ann's connection is still open on the server's side, although all that she has sent in more than 60 s is half a message.")
				}
			})
		},
	},
	{
		Task: "5.3", Name: "a peer's own ping is answered, and counts as a sign of life",
		cause: "the ping handler does not answer with WriteControl and the ping's payload, or does not set the read deadline. SetPingHandler replaces gorilla's handler, which answers.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.NoPongs()
				bob.NoPongs()
				for i := range 5 {
					payload := fmt.Sprint("ping ", i+1)
					ann.SendFrame(wstest.Ping(payload))
					ann.WantPong(payload)
					s.talk(bob, payload)
					s.Pass(pongWait - 5*time.Second)
					ann.WantOpen("she has sent a ping 55 s ago")
					bob.WantOpen("he has sent a message 55 s ago")
				}
				raw := "\xff\x00" // no text
				ann.SendFrame(wstest.Ping(raw))
				ann.WantPong(raw)
				ann.SendFrame(wstest.Ping(""))
				ann.WantPong("")
				ann.Vanish()
				s.Pass(pongWait + grace)
				if !ann.Gone() {
					s.FailBecause("the ping handler takes the read deadline away, or sets it to more than pongWait from now.",
						"ann's connection is still open on the server's side, although her last ping came more than 60 s ago.")
				}
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.StopReading()
				s.Did("ann sends %d pings", 2*sendQueueSize)
				ann.SendRaw(bytes.Repeat(wstest.Ping("").Bytes(), 2*sendQueueSize))
				s.Pass(writeWait + grace)
				if ann.Gone() {
					return
				}
				ann.Send("after the pings")
				s.Settle()
				if !bob.HasText("after the pings") {
					s.FailBecause("the pong is written without a deadline, by the goroutine that reads.",
						"ann's connection is still open on the server's side, and bob has not got her message. She does not read the pong that she has asked for, and like each write it may take %v.", writeWait)
				}
			})
			t.scene(longPings)
			t.scene(manyPings)
		},
	},
}

// wantPings demands that the peers are pinged n times, pingPeriod after each
// other. pass lets pingPeriod pass; why says what usually prevents a ping. That the
// answers count is the matter of 5.2: a peer that was pinged and is gone before its
// next ping is due needs no more.
func (s *scene) wantPings(n int, pass func(), why string, peers ...*wstest.Peer) {
	began := time.Now()
	for i := range n {
		pass()
		s.Settle()
		due := began.Add(time.Duration(i+1) * pingPeriod)
		for _, p := range peers {
			pings := p.Pings()
			if len(pings) < i+1 {
				if p.Gone() && i > 0 {
					return
				}
				if i > 0 {
					why = "what fires is a timer, which fires once, and no ticker; or its case ends the loop. Or the next ping waits for a pong."
				}
				s.FailBecause(why, "%s has not got ping number %d, which was due after %v: there is one every %v.", p.Name, len(pings)+1, due.Sub(began), pingPeriod)
			}
			if late := pings[i].At.Sub(due); math.Abs(late.Seconds()) > 1 {
				s.FailBecause(why, "ping %d to %s came after %v, and not after %v.", i+1, p.Name, pings[i].At.Sub(began), due.Sub(began))
			}
			if len(pings) > i+1 {
				s.FailBecause(why, "%s has got %d pings after %v, and only %d were due.", p.Name, len(pings), time.Since(began), i+1)
			}
		}
	}
}
