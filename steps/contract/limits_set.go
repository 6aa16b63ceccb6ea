package contract

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes with other limits than the default ones.

// defaultLimits are those of step 8 that a peer can meet.
func defaultLimits() Limits {
	return Limits{MaxPerIP: maxPerIP, HandshakeRate: handshakeRate, MessageRate: messageRate, ByteRate: 256 << 10}
}

// caps tries a high cap, and none.
func caps(t *trial) {
	for _, most := range []int{300, 0} {
		limits := defaultLimits()
		limits.MaxPerIP, limits.HandshakeRate = most, 0
		t.sceneWith(Config{Limits: &limits}, func(s *scene) {
			s.Did("the cap is %d (0 lifts it)", most)
			in, _ := s.HandshakeAll("ann", 310, wstest.Request{IP: "10.9.0.1"})
			want := 310
			if most > 0 {
				want = most
			}
			if len(in) != want {
				s.FailBecause("a number is compared with something else than Limits.MaxPerIP, or 0 is not taken for no cap, or the count has too few bits.",
					"%d of 310 got in, and it should be %d.", len(in), want)
			}
		})
	}
}

// slowHandshakes tries rates of less than one a second, whose burst is a fraction.
func slowHandshakes(t *trial) {
	for _, r := range []struct {
		rate  float64
		burst int
		wait  time.Duration
	}{{0.1, 1, 10 * time.Second}, {0.3, 2, 4 * time.Second}, {0.25, 1, 4 * time.Second}} {
		limits := defaultLimits()
		limits.HandshakeRate = r.rate
		t.sceneWith(Config{Limits: &limits}, func(s *scene) {
			s.Did("the rate of handshakes is %v a second: four seconds' worth is %v, rounded up", r.rate, 4*r.rate)
			if in := s.hammer("10.9.0.1", 5); in != r.burst {
				s.FailBecause("the burst is rounded down, to 0 at the worst, so that nobody gets in, ever. Round it up.",
					"%d handshakes were let in at once, and not %d.", in, r.burst)
			}
			_, answer := s.Handshake("ann", wstest.Request{IP: "10.9.0.1"})
			told := s.wantRetryAfter(answer)
			if told > r.wait+time.Second { // which may be a date, in whole seconds
				s.Fail("Retry-After says %v, but the next handshake is due after %v at most.", told, r.wait)
			}
			s.Pass(told)
			if peer, answer := s.Handshake("ann", wstest.Request{IP: "10.9.0.1"}); peer == nil {
				s.FailBecause("the wait is always the same, and not what the limiter says.",
					"ann has waited for %v, as she was told, and still could not connect: %s.", told, answer)
			}
		})
	}
}

// slowMessages has a peer wait for its turn for longer than a peer may be silent.
func slowMessages(t *trial) {
	limits := defaultLimits()
	limits.MessageRate = 0.01
	t.sceneWith(Config{Limits: &limits}, func(s *scene) {
		ann, bob := s.Connect("ann"), s.Connect("bob")
		s.Did("a message in 100 s is allowed; ann sends three, with a ping between them")
		ann.SendQuietly("one")
		ann.SendQuietly("two")
		ann.SendRaw(wstest.Ping("p").Bytes())
		ann.SendQuietly("three")
		for i, text := range []string{"one", "two", "three"} {
			s.Settle()
			if got := bob.Messages(); len(got) != 1 || string(got[0].Payload) != text {
				if ann.Gone() || ann.ClosedWith() != nil {
					s.FailBecause("the read deadline passes while the peer waits for its turn. Set it after the wait, right before the next read.",
						"the server has ended ann's connection while it let her wait.")
				}
				s.Fail("bob got %v as message %d, and not %q.", got, i+1, text)
			}
			if i == 1 {
				s.Pass(100 * time.Second) // for the ping
			}
			s.Pass(100 * time.Second)
		}
		ann.WantOpen("she is slow, not dead")
	})
	limits.MessageRate = 0
	t.sceneWith(Config{Limits: &limits}, func(s *scene) {
		ann, bob := s.Connect("ann"), s.Connect("bob")
		s.Did("the rate of messages is 0, which lifts it; ann sends 200 messages in one go")
		ann.SendRaw(inOneGo(texts("news", 200)))
		s.Settle()
		if n := len(bob.Messages()); n != 200 {
			s.FailBecause("0 is taken for a rate. A limiter of rate.Inf lets everything pass.", "bob got %d of the 200 messages at once.", n)
		}
	})
	t.scene(func(s *scene) {
		ann, bob := s.Connect("ann"), s.Connect("bob")
		s.Did("ann sends 40 messages at once, says nothing for 1.2 s, and sends 40 more")
		ann.SendRaw(inOneGo(texts("first", messageBurst)))
		s.Settle()
		bob.Messages()
		s.Pass(1200 * time.Millisecond)
		ann.SendRaw(inOneGo(texts("second", messageBurst)))
		s.Settle()
		if n := len(bob.Messages()); n > 26 {
			s.FailBecause("the bucket is made anew, or filled, when a peer was silent for a while. The tokens come back at the rate, and no sooner.",
				"bob got %d of the second 40 at once. In 1.2 s 24 tokens have come back.", n)
		}
	})
}

// forgetJustInTime gives the server an occasion to forget an address at different times
// after it has spent its tokens: sooner than they have all come back, and each time the
// first occasion in the period of a sweep.
func forgetJustInTime(s *scene) {
	const knock, ip = "10.9.0.2", "10.9.0.1"
	for _, back := range []int{19, 18, 15, 10, 1} { // of handshakeBurst tokens
		s.hammer(knock, 1) // the server may sweep now
		time.Sleep(time.Minute - time.Second/4)
		s.Did("%s tries all it may, and a moment before %d tokens have come back somebody else tries", ip, back+1)
		s.hammer(ip, handshakeBurst)
		time.Sleep(time.Duration(back+1)*time.Second/handshakeRate - time.Millisecond)
		s.hammer(knock, 1)
		if in := s.hammer(ip, 2*handshakeBurst); in > back {
			s.FailBecause("an address is forgotten before all of its tokens have come back: when one is missing it is not as good as new.",
				"then %s got in %d times more, and not %d.", ip, in, back)
		}
		s.Pass(2 * time.Minute)
	}
}

// forgetWhileEntering lets many addresses come in at once, while to go through the table
// takes long: if somebody lets go of its lock in between, others are there already.
func forgetWhileEntering(s *scene) {
	const others, late = 2500, 400
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wstest.Request{}.Bytes("/ws"))))
	s.FailUnless(err == nil, "the test's own request: %v.", err)
	s.Did("%d addresses have tried a handshake; then %d others try one, all at once", others, late)
	s.tryFrom(9, others)
	var all sync.WaitGroup
	for i := range late {
		r := request.Clone(request.Context())
		r.RemoteAddr = fmt.Sprintf("10.10.%d.%d:1234", i>>8, i&0xff)
		all.Go(func() { s.HTTP.Handler.ServeHTTP(&meeting{httptest.NewRecorder(), func() {}}, r) })
	}
	all.Wait()
	s.Settle()
}
