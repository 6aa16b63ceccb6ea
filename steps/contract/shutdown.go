package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// shutdown is the contract of step 6: Shutdown and the signals that lead to it.
var shutdown = []Promise{
	{
		Task: "6.1", Name: "from the call of Shutdown on, handshakes get 503 with Retry-After",
		cause: "ServeHTTP does not look whether the hub is closed, or Shutdown closes it only at its end.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				s.shutDown(time.Minute)
				s.Settle()
				s.Call("Broadcast", 0, func() { s.Broadcast([]byte("too late")) })
				for _, when := range []string{"during", "after"} {
					_, answer := s.Handshake("bob", wstest.Request{})
					if answer.Status != http.StatusServiceUnavailable {
						s.Fail("%s Shutdown a handshake gets 503; %s.", when, answer)
					}
					s.wantRetryAfter(answer)
					s.Pass(grace)
				}
			})
		},
	},
	{
		Task: "6.2", Name: "every peer gets what was queued for it, then 1001",
		cause: "the write pump does not empty its queue before it ends, or a client is not finished with CloseGoingAway, or its close frame is sent before the queue is empty, or the reason has more than 123 bytes, so that gorilla sends no frame at all.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.StopReading()
				news := texts("news", 30)
				s.Did("%d messages are broadcast", len(news))
				for _, text := range news {
					s.Broadcast([]byte(text))
					s.Settle()
				}
				s.shutDown(time.Minute)
				s.Pass(time.Second)
				ann.ResumeReading()
				for _, p := range []*wstest.Peer{bob, ann} {
					p.WantText(news...)
					p.WantClose(1001)
				}
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.IgnoreClose()
				bob.IgnoreClose()
				s.shutDown(time.Minute)
				closing := ann.WantClose(1001)
				if len(closing.Payload) > 125 {
					s.Fail("the close frame has %d bytes; a control frame has at most 125.", len(closing.Payload))
				}
				s.Pass(closeWait / 2)
				ann.WantAwaited("her answer to the close frame is awaited for 2 s")
				s.Did("bob answers the close frame")
				bob.SendFrame(wstest.Close(1001, ""))
				s.Pass(closeWait / 4)
				bob.WantGone("he has answered the close frame")
				s.Pass(closeWait/4 + grace)
				ann.WantGone("she has not answered the close frame for more than 2 s")
			})
		},
	},
	{
		Task: "6.3", Name: "Shutdown returns nil when every pump has ended and the count is 0",
		cause: "Shutdown does not wait for the connections; or a connection leaves the map before both its pumps have ended.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				s.Did("Broadcast is called")
				s.Broadcast([]byte("news"))
				s.Settle()
				down := s.shutDown(time.Minute)
				s.Pass(time.Second)
				s.FailUnless(!down.Returned(), "Shutdown has returned, but ann has not yet got all that was queued for her.")
				ann.ResumeReading()
				s.wantNil(down)
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.talk(bob, "hello")
				ann.WantText("hello")
				ann.StopReading()
				s.talk(bob, "are you there?")
				s.Did("the server's write to ann takes long to fail")
				ann.HoldWrites()
				ann.Reset()
				s.Pass(grace)
				s.FailUnless(s.online() == 2, "GET /online says %d, and not 2: ann's write pump has not ended yet.", s.online())
				down := s.shutDown(time.Minute)
				s.Pass(closeWait + grace)
				bob.WantClose(1001)
				s.FailUnless(s.online() == 1, "GET /online says %d, and not 1: ann's write pump has not ended yet.", s.online())
				s.FailUnless(!down.Returned(), "Shutdown has returned, but ann's write pump has not ended yet.")
				s.Did("the write fails at last")
				ann.ReleaseWrites()
				s.wantNil(down)
				s.wantOnline(0)
				s.wantNothingLeft()
			})
		},
	},
	{
		Task: "6.3", Name: "Shutdown may be called twice, at once, and in a storm of handshakes",
		cause: "a connection joins after Shutdown has looked at the map, and is neither counted nor told: count it before the upgrade, under the lock that closes the hub, and look once more after it has joined. Or something is closed twice; or the second call does not wait.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				for range 10 {
					s.Connect("a peer")
				}
				s.Did("50 handshakes and three Shutdowns, all at once")
				var all sync.WaitGroup
				var downs [3]*down
				var in []*wstest.Peer
				var answers []wstest.Answer
				all.Go(func() { in, answers = s.HandshakeAll("late peer", 50, wstest.Request{}) })
				for i := range downs {
					all.Go(func() { downs[i] = s.shutDown(time.Minute) })
				}
				all.Wait()
				for _, d := range downs {
					s.wantNil(d)
				}
				for _, p := range in {
					p.WantClose(1001)
				}
				for _, a := range answers {
					if a.Status != http.StatusSwitchingProtocols && a.Status != http.StatusServiceUnavailable {
						s.Fail("a handshake gets 101 or 503, and not: %s.", a)
					}
				}
				s.wantNil(s.shutDown(time.Minute))
				s.wantOnline(0)
			})
			t.scene(joinLate)
		},
	},
	{
		Task: "6.3", Name: "on SIGTERM and on Ctrl-C the program drains and exits with 0", real: true,
		cause: "Shutdown returns before the peers have got their close frame, or does not return; or the program does not call it.",
		test:  signals,
	},
	{
		Task: "6.4", Name: "a peer that will not read or answer holds Shutdown no longer than its context",
		cause: "when the context is done, Shutdown does not close the sockets that are left; or it returns no error; or it returns before the pumps have ended.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.Did("ten peers connect, and each second one stops reading")
				var listening []*wstest.Peer
				for i := range 10 {
					p, answer := s.HandshakeQuietly(wstest.Request{})
					if p == nil {
						s.Fail("number %d could not connect: %s.", i+1, answer)
					}
					if i%2 == 0 {
						p.Stall()
					} else {
						listening = append(listening, p)
					}
				}
				ann, bob, cat := s.Connect("ann"), s.Connect("bob"), s.Connect("cat")
				ann.StopReading()
				s.talk(cat, "hello")
				bob.IgnoreClose()
				down := s.shutDown(time.Second)
				cat.WantClose(1001)
				for _, p := range listening {
					p.WantClose(1001)
				}
				s.Pass(time.Second - time.Millisecond)
				s.FailUnless(!down.Returned(), "Shutdown has returned before its context was done, although ann and bob are still connected.")
				s.Pass(time.Second / 2)
				s.FailUnless(down.Returned(), "Shutdown has not returned half a second after its context was done.")
				s.FailUnless(down.err != nil, "Shutdown has returned nil, although ann and bob had to be cut off.")
				s.wantNobody(down)
				ann.WantGone("Shutdown has returned")
				bob.WantGone("Shutdown has returned")
				s.wantNothingLeft()
			})
		},
	},
}

// down is a call of Shutdown.
type down struct {
	*wstest.Call
	err    error
	online string // what GET /online said when it returned
}

// shutDown calls Shutdown with a context that is done after limit. The context
// has no deadline to look at: whoever calls may also change his mind.
func (s *scene) shutDown(limit time.Duration) *down {
	s.Did("Shutdown is called, with a context of %v", limit)
	d := new(down)
	d.Call = s.Start(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer time.AfterFunc(limit, cancel).Stop()
		d.err = s.Shutdown(ctx)
		w := httptest.NewRecorder() // not over the network: that would take long enough to hide it
		s.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/online", nil))
		d.online = strings.TrimSpace(w.Body.String())
	})
	return d
}

// wantNil demands that Shutdown returns nil soon.
func (s *scene) wantNil(d *down) {
	s.Pass(grace)
	s.FailUnless(d.Returned(), "Shutdown has not returned, although each peer has left, or has had %v to answer its close frame.", closeWait)
	s.FailUnless(d.err == nil, "Shutdown has returned the error %v, although nobody had to be cut off before its context was done.", d.err)
	s.wantNobody(d)
}

// wantNobody demands that nobody was connected when Shutdown returned.
func (s *scene) wantNobody(d *down) {
	var count struct{ Online int }
	err := json.Unmarshal([]byte(d.online), &count)
	s.FailUnless(err == nil && count.Online == 0, "when Shutdown returned, GET /online said %s: it did not wait until the last connection had ended.", d.online)
}

// joinLate lets a peer connect so slowly that Shutdown is called while it is
// being upgraded.
func joinLate(s *scene) {
	late := s.Dial("a slow peer")
	s.Did("it sends a handshake, but does not read the answer yet")
	sent := s.Start(func() { late.Write(wstest.Request{}.Bytes("/ws")) })
	s.Settle()
	s.FailUnless(sent.Returned(), "the server has not read the handshake.")
	down := s.shutDown(time.Minute)
	s.Pass(time.Second)
	if peer := s.Join(late, "the slow peer"); peer != nil {
		peer.WantClose(1001)
	}
	s.wantNil(down)
}

// wantNothingLeft demands that no goroutine is left after Shutdown, but for those
// that the server had before anybody connected, and that Stop ends.
func (s *scene) wantNothingLeft() {
	for _, left := range s.LeftBehind() {
		if !slices.Contains(s.idle, left) {
			s.Fail("Shutdown has returned, but a goroutine is left:\n%s", left)
		}
	}
}

// FailUnless fails unless ok.
func (s *scene) FailUnless(ok bool, saw string, args ...any) {
	if !ok {
		s.Fail(saw, args...)
	}
}

func signals(t *trial) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals that one process can send to another")
	}
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		exits := t.Run(fmt.Sprint(signal), func(sub *testing.T) {
			p := wstest.StartProcess(sub, t.about, "program")
			ann, bob := p.Connect("ann"), p.Connect("bob")
			ann.Send("hello")
			ann.WaitText("hello")
			bob.WaitText("hello")
			p.Signal(signal)
			ann.WantClose(1001)
			bob.WantClose(1001)
			if state := p.WantExit("both peers have left"); !state.Success() {
				p.Fail("the program has ended with %q, and not with the exit code 0. %s", state, p.Tail())
			}
		})
		if !exits {
			return // the other signal would only say so again
		}
	}
	t.Run("a second signal", func(sub *testing.T) {
		p := wstest.StartProcess(sub, t.about, "program")
		ann := p.Connect("ann")
		ann.IgnoreClose()
		p.Signal(syscall.SIGTERM)
		ann.WantClose(1001)
		if !p.SignalUntilExit(syscall.SIGTERM) || strings.Contains(p.State(), "exit status 0") {
			p.FailBecause("the first signal is handled, and the handler stays in place: stop it after the first.",
				"a second signal did not end the program at once: it waited for ann, who does not answer, and ended with %q.", p.State())
		}
	})
}
