package contract

import (
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
		cause: "the write pump has no ticker for pings.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.wantPings(10, func() { s.Pass(pingPeriod) }, ann)
				ann.WantOpen("she has answered every ping")
			})
		},
	},
	{
		Task: "5.1", Name: "pings keep their period under steady traffic",
		cause: "the timer for pings starts anew with each message, so that a busy connection is never pinged; but messages to a peer say nothing about whether it is alive. Or pings are written by a goroutine of their own, in the middle of the write pump's messages.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.Did("bob sends a message every second")
				s.wantPings(5, func() {
					for range int(pingPeriod / time.Second) {
						bob.SendQuietly("tick")
						time.Sleep(time.Second)
					}
				}, ann, bob)
				if got := len(ann.Messages()); got == 0 {
					s.Fail("ann got none of bob's messages.")
				}
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.Pass(pingPeriod - time.Second/4)
				ann.StopReading()
				s.talk(bob, "hello")
				s.Did("while this is being written to ann, her ping falls due")
				s.Pass(time.Second / 2)
				ann.ResumeReading()
				ann.WantText("hello")
				s.Settle()
				for _, p := range []*wstest.Peer{ann, bob} {
					if got := len(p.Pings()); got != 1 {
						s.Fail("%s has got %d pings after %v, and not one.", p.Name, got, pingPeriod+time.Second/4)
					}
				}
			})
		},
	},
	{
		Task: "5.2", Name: "a peer that answers pings stays for a day",
		cause: "a pong does not start the 60 s of silence anew: the pong handler must set the read deadline.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				for _, d := range []time.Duration{2 * pongWait, time.Hour, 23 * time.Hour} {
					s.Pass(d)
					ann.WantOpen("she has answered every ping")
				}
				s.talk(ann, "good morning")
			})
		},
	},
	{
		Task: "5.2", Name: "a peer that vanished is gone 60 s after its last sign of life",
		cause: "the read deadline is not set anew by a pong, or by something that is no sign of life, such as a ping of our own or a message to the peer.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob, cat := s.Connect("ann"), s.Connect("bob"), s.Connect("cat")
				cat.NoPongs()
				s.Pass(20 * time.Second)
				s.talk(bob, "hello")
				bob.Vanish()
				s.Pass(pongWait / 2)
				ann.Send("anybody there?")
				ann.WantText("hello", "anybody there?")
				cat.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpPong})
				s.Pass(pongWait/2 - time.Second)
				bob.WantOpen("his last message came 59 s ago")
				s.Pass(time.Second + grace)
				bob.WantGone("his last message came more than 60 s ago")
				cat.WantOpen("she has sent a pong 32 s ago, which counts even if nobody asked for it")

				s.Pass(10*pingPeriod + time.Second - 20*time.Second - pongWait - grace)
				s.Did("ann has just answered a ping, a second ago")
				ann.Vanish()
				s.Pass(pongWait - 2*time.Second)
				ann.WantOpen("her last pong came 59 s ago")
				s.Pass(2*time.Second + grace)
				ann.WantGone("her last pong came more than 60 s ago")
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
				ann.SendFrame(wstest.Ping(""))
				ann.WantPong("")
			})
		},
	},
}

// wantPings demands that the peers are pinged n times, pingPeriod after each
// other. pass lets pingPeriod pass.
func (s *scene) wantPings(n int, pass func(), peers ...*wstest.Peer) {
	began := time.Now()
	for i := range n {
		pass()
		s.Settle()
		due := began.Add(time.Duration(i+1) * pingPeriod)
		for _, p := range peers {
			pings := p.Pings()
			if p.Gone() {
				s.Fail("the server has closed %s's connection after %v, although %s has answered every ping.", p.Name, time.Since(began), p.Name)
			}
			if len(pings) < i+1 {
				s.Fail("%s has got %d pings after %v. There should be one every %v, which makes %d.", p.Name, len(pings), time.Since(began), pingPeriod, i+1)
			}
			if late := pings[i].At.Sub(due); math.Abs(late.Seconds()) > 1 {
				s.Fail("ping %d to %s came after %v, and not after %v.", i+1, p.Name, pings[i].At.Sub(began), due.Sub(began))
			}
			if len(pings) > i+1 {
				s.Fail("%s has got %d pings after %v, and not %d.", p.Name, len(pings), time.Since(began), i+1)
			}
		}
	}
}
