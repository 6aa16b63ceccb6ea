package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
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
		cause: "Shutdown, or what it calls, waits while it holds the hub's lock, or closes something that others still use, or a second call would close again. Or who was refused leaves the hub, although he has not entered.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				s.shutDown(time.Minute)
				s.Settle()
				s.wantUnavailable("during")
				s.Pass(grace)
				s.wantUnavailable("after")
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.StopReading()
				s.talk(bob, "hello")
				s.shutDown(time.Minute)
				s.Settle()
				s.Call("Broadcast", 0, func() { s.Broadcast([]byte("too late")) })
			})
		},
	},
	{
		Task: "6.2", Name: "every peer gets what was queued for it, then 1001",
		cause: "Close does not finish each client with CloseGoingAway. Or the reason has more than 123 bytes, so that gorilla sends no close frame at all.",
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
				last := wstest.Binary("that's all")
				bob.SendFrame(last)
				s.Settle()
				s.shutDown(time.Minute)
				s.Pass(writeWait * 8 / 10)
				ann.ResumeReading()
				for _, p := range []*wstest.Peer{bob, ann} {
					for _, text := range news {
						if got, ok := p.Next(); !ok || string(got.Payload) != text {
							s.failNotFlushed(p, len(news)+1)
						}
					}
					got, ok := p.Next()
					if !ok {
						s.failNotFlushed(p, len(news)+1)
					}
					if got.Op != last.Op {
						s.FailBecause("what is left in the queue is written in another way than what came before it.", "%s has got %s instead of %s.", p.Name, got, last)
					}
					p.WantClose(1001)
				}
			})
			t.scene(func(s *scene) {
				// Each write pump may see done before its next message, or after it.
				peers, _ := s.HandshakeAll("a peer", 20, wstest.Request{})
				s.Settle()
				news := texts("news", 3)
				s.Did("all of them stop reading, and %d messages are broadcast", len(news))
				for _, p := range peers {
					p.Stall()
				}
				for _, text := range news {
					s.Broadcast([]byte(text))
					s.Settle()
				}
				s.shutDown(time.Minute)
				s.Pass(time.Second)
				s.Did("all of them read again")
				for _, p := range peers {
					p.Unstall()
				}
				for _, p := range peers {
					for _, text := range news {
						if got, ok := p.Next(); !ok || string(got.Payload) != text {
							s.failNotFlushed(p, len(news))
						}
					}
					p.WantClose(1001)
				}
			})
			t.scene(func(s *scene) {
				peers, _ := s.HandshakeAll("a peer", 20, wstest.Request{})
				s.Settle()
				s.Did("every other one stops reading")
				for i := range len(peers) / 2 {
					peers[2*i].Stall()
				}
				s.shutDown(time.Minute)
				s.Pass(closeWait / 2)
				for i := range len(peers) / 2 {
					if p := peers[2*i+1]; p.ClosedWith() == nil && !p.Gone() {
						s.FailBecause("Shutdown ends one connection after the other, and waits for each. Finish all of them, and then wait for all.",
							"not every peer that reads has got its close frame after %v: those that do not read hold it up.", closeWait/2)
					}
				}
			})
			t.scene(func(s *scene) {
				ann, bob, cat := s.Connect("ann"), s.Connect("bob"), s.Connect("cat")
				ann.IgnoreClose()
				bob.IgnoreClose()
				cat.IgnoreClose()
				s.shutDown(time.Minute)
				closing := ann.WantClose(1001)
				if len(closing.Payload) > 125 {
					s.Fail("the close frame has %d bytes; a control frame has at most 125.", len(closing.Payload))
				}
				s.Pass(closeWait / 2)
				ann.WantAwaited("her answer to the close frame is awaited for 2 s")
				bob.SendFrame(wstest.Ping("are you there?"))
				s.Did("bob answers the close frame")
				bob.SendFrame(wstest.Close(1001, ""))
				cat.Send("one more thing")
				s.Did("cat answers the close frame")
				cat.SendFrame(wstest.Close(1001, ""))
				s.Pass(closeWait / 4)
				if !bob.Gone() {
					s.FailBecause("a ping that comes after the server's close frame ends the reading, so that the answer is never seen. WriteControl returns ErrCloseSent then, which is no failure.",
						"bob's connection is still open on the server's side, although he has answered its close frame. He had sent a ping before.")
				}
				if !cat.Gone() {
					s.FailBecause("a message that comes after the server's close frame ends the reading, so that the answer is never seen. Read on after finish, and hand on nothing.",
						"cat's connection is still open on the server's side, although she has answered its close frame. She had sent a message before.")
				}
				s.Did("ann sends 10 messages in the next %v, but no answer", closeWait/4+grace)
				for range 10 {
					ann.SendQuietly("and another thing")
					time.Sleep((closeWait/4 + grace) / 10)
				}
				if !ann.Gone() {
					s.FailBecause("the close frame goes out in a way that starts no wait for the answer: finish does it all. Or each message starts that wait anew.",
						"ann's connection is still open on the server's side, although she has not answered its close frame for more than %v.", closeWait)
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				ann.StopReading()
				s.Did("Broadcast is called")
				s.Broadcast([]byte("news"))
				s.Settle()
				s.shutDown(time.Minute)
				s.Pass(writeWait / 2)
				ann.ResumeReading()
				ann.WantText("news")
				ann.WantClose(1001)
				s.Pass(closeWait / 2)
				if ann.Gone() {
					s.FailBecause("the wait for the answer begins too early: with finish, while the queue is still being written. Start it when the close frame has been sent.",
						"the server has closed ann's connection less than %v after its close frame. She has %v to answer.", closeWait/2, closeWait)
				}
			})
			if t.step < 9 { // from then on what is broadcast waits in the log: 9.4
				t.scene(allThatWaits)
			}
			t.overTCP(slowReaderOverTCP)
			t.overTCP(closedOverTCP)
		},
	},
	{
		Task: "6.3", Name: "Shutdown returns nil when every pump has ended and the count is 0",
		cause: "Shutdown does not wait for the connections; or a connection leaves the map, or the count that Shutdown waits for, before both its pumps have ended.",
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
				s.Connect("ann")
				s.Settle()
				s.Did("from now on the log is slow")
				s.Log.Slow()
				down := s.shutDown(time.Minute)
				s.wantNil(down)
				for _, r := range s.Log.Records()[down.records:] {
					if len(idsOf(r)) > 0 {
						s.FailBecause("a connection leaves the count before its last record is written. A program that ends when Shutdown has returned would lose that record.",
							"when Shutdown had returned, a record of ann's connection was still to be written: %s.", r)
					}
				}
			})
			t.scene(func(s *scene) {
				s.Handshake("gus", wstest.Request{Plain: true})
				down := s.shutDown(time.Minute)
				s.Pass(grace)
				if !down.Returned() {
					s.FailBecause("a request that was not upgraded has entered the hub and not left it.", "Shutdown has not returned, although nobody is connected.")
				}
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
				down := s.shutDown(time.Minute)
				s.Pass(closeWait + grace)
				bob.WantClose(1001)
				s.FailUnless(!down.Returned(), "Shutdown has returned, but ann's write pump has not ended yet.")
				s.Did("the write fails at last")
				ann.ReleaseWrites()
				s.wantNil(down)
				s.wantOnline(0)
				s.wantNothingLeft()
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				down := s.shutDown(time.Minute)
				s.Settle()
				s.Did("while the server writes its close frame to ann, she sends one")
				ann.SendFrame(wstest.Close(1000, ""))
				s.Pass(closeWait * 3 / 4)
				if down.Returned() && !ann.Gone() {
					s.FailBecause("what finish starts, to send the close frame and to close the socket, is awaited by nobody. run must wait for it, as for the pumps.",
						"Shutdown has returned, but ann's connection is still open on the server's side.")
				}
				if !down.Returned() {
					s.Pass(writeWait) // a close frame may take as long as any write
				}
				s.wantNil(down)
			})
			if !t.Failed() {
				t.scene(t.leaveAmongBroadcasts)
			}
		},
	},
	{
		Task: "6.3", Name: "on SIGTERM and on Ctrl-C the program drains and exits with 0",
		cause: "the program does not call the server's own Shutdown (that of http.Server does not know upgraded connections), or ends before it has returned.",
		test:  signals,
		skip:  withoutSignals(),
	},
	{
		Task: "6.4", Name: "Shutdown may be called twice, at once, and in a storm of handshakes",
		cause: "a second call closes something again. Or a connection is counted outside of the lock under which Close sets its flag, so that it can be missed.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				first := s.shutDown(time.Minute)
				s.Pass(closeWait / 2)
				second := s.shutDown(time.Minute)
				s.Settle()
				if second.Returned() {
					s.FailBecause("Shutdown takes its second call for a mistake, or as if all were done. Each call must wait until the last connection has ended.",
						"the second Shutdown has returned at once, although ann is still connected.")
				}
				s.wantNil(first)
				s.wantNil(second)
				s.wantNil(s.shutDown(time.Minute))
			})
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
					s.wantTold(p)
				}
				for _, a := range answers {
					if a.Status != http.StatusSwitchingProtocols && a.Status != http.StatusServiceUnavailable {
						s.Fail("a handshake gets 101 or 503, and not: %s.", a)
					}
				}
				s.wantOnline(0)
			})
			t.scene(joinLate)
			if !t.Failed() {
				t.scene(t.closeAmongJoins)
			}
		},
		meets: true,
	},
	{
		Task: "6.5", Name: "a peer that takes what is queued too slowly is cut off after 10 s",
		cause: "hangUp waits for the end of the write pump without a limit. Each write may take 10 s, and there may be 256 of them.",
		test:  func(t *trial) { t.scene(slowGoodbye) },
	},
	{
		Task: "6.6", Name: "a peer that will not read or answer holds Shutdown no longer than its context",
		cause: "the sockets are closed before the context is done, or Shutdown does not wait for what it waits for otherwise.",
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
				ann, bob, cat, dan := s.Connect("ann"), s.Connect("bob"), s.Connect("cat"), s.Connect("dan")
				ann.StopReading()
				dan.StopReading()
				dan.HoldWrites()
				s.talk(cat, "hello")
				bob.IgnoreClose()
				down := s.shutDown(time.Second)
				cat.WantClose(1001)
				for _, p := range listening {
					p.WantClose(1001)
				}
				s.Pass(time.Second - time.Millisecond)
				s.FailUnless(!down.Returned(), "Shutdown has returned before its context was done, although ann, bob and dan are still connected.")
				s.Pass(time.Second / 2)
				for _, p := range []*wstest.Peer{ann, bob} {
					if !p.Gone() {
						s.FailBecause("Shutdown does not look at ctx.Done(), or does not close the sockets that are left then: conn.Close for each. A second finish does nothing.",
							"%s's connection is still open on the server's side, although the context of Shutdown is done.", p.Name)
					}
				}
				if down.Returned() {
					s.FailBecause("Shutdown returns as soon as it has closed the sockets. Let it wait again, for a second at most: the pumps end now.",
						"Shutdown has returned, but dan's write pump has not ended yet: its write takes half a second to fail.")
				}
				s.Did("the write to dan fails")
				dan.ReleaseWrites()
				s.Pass(grace)
				s.FailUnless(down.Returned(), "Shutdown has not returned, although its context is done, and all sockets are closed.")
				if down.err == nil {
					s.FailBecause("Shutdown returns no error after it has cut connections, or counts them when they have left.",
						"Shutdown has returned nil, although ann, bob and others had to be cut off.")
				}
				if errors.Is(down.err, errImpatient) && !errors.Is(down.err, context.Canceled) {
					s.FailBecause("the error wraps context.Cause(ctx), which is whatever the caller has given as his reason. Wrap ctx.Err().",
						"Shutdown has returned the error %q. Its context was cancelled, but errors.Is(err, context.Canceled) is false.", down.err)
				}
				if !errors.Is(down.err, context.Canceled) {
					s.FailBecause("the error does not wrap ctx.Err(): that takes %w, and not %v.",
						"Shutdown has returned the error %q. Its context was cancelled, but errors.Is(err, context.Canceled) is false.", down.err)
				}
				s.wantNobody(down)
				s.wantNothingLeft()
			})
			t.scene(func(s *scene) {
				hal := s.Dial("hal")
				s.Did("hal sends his handshake and does not read the answer")
				hal.Write(wstest.Request{}.Bytes("/ws"))
				s.Settle()
				down := s.shutDown(time.Second)
				s.Pass(time.Second + grace)
				if !down.Returned() {
					s.FailBecause("after the cut Shutdown waits without a limit, and a handshake that is under way may take 5 s: its socket is not in the map, so that nobody cuts it.",
						"Shutdown has not returned, although its context has been done for %v.", grace)
				}
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.IgnoreClose()
				down := s.shutDown(0)
				s.Pass(closeWait / 4)
				if !ann.Gone() {
					s.FailBecause("Shutdown returns at once when its context is done. It must close the sockets all the same.",
						"ann's connection is still open on the server's side, although the context of Shutdown was done from the beginning.")
				}
				s.Pass(grace)
				s.FailUnless(down.Returned(), "Shutdown has not returned, although its context was done from the beginning.")
				s.FailUnless(down.err != nil, "Shutdown has returned nil, although ann had to be cut off.")
				s.wantNobody(down)
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				ann.StopReading()
				s.Did("Broadcast is called")
				s.Broadcast([]byte("news"))
				s.shutDown(time.Minute)
				s.Pass(time.Second)
				second := s.shutDown(time.Second)
				s.Pass(time.Second + grace)
				if !second.Returned() {
					s.FailBecause("a second call only waits for the first. Each call has a context of its own, and holds to that.",
						"the second Shutdown has not returned, although its context is done.")
				}
				s.FailUnless(second.err != nil, "the second Shutdown has returned nil, although its context was done while ann was still connected.")
			})
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				s.Did("ann leaves")
				ann.Leave()
				s.Pass(grace)
				for range 3 { // a select between two that are ready may hide it once
					down := s.shutDown(0)
					s.Pass(grace)
					s.FailUnless(down.Returned(), "Shutdown has not returned, although nobody was connected.")
					if down.err != nil {
						s.FailBecause("Shutdown returns an error whenever its context is done. When it has found nobody to cut, it returns nil.",
							"Shutdown has returned the error %q, although nobody was connected.", down.err)
					}
					s.wantNobody(down)
				}
			})
		},
	},
}

const causeNotFlushed = "the write pump ends, or the close frame goes out, or the socket is closed, before the queue is empty. (The peer has 10 s to take it.) When done is closed, a select may leave the loop at once, whatever is still queued."

// failNotFlushed fails because a peer has not got all of the n messages in its queue.
func (s *scene) failNotFlushed(p *wstest.Peer, n int) {
	s.FailBecause(causeNotFlushed, "%s has not got all of the %d messages that were queued before Shutdown.", p.Name, n)
}

// wantUnavailable demands that a handshake gets 503 and is told when to try again.
func (s *scene) wantUnavailable(when string) {
	_, answer := s.Handshake("cat", wstest.Request{})
	switch {
	case answer.Err != nil:
		s.FailBecause("ServeHTTP goes on after it has refused: it must return.",
			"%s Shutdown a handshake gets 503; %s.", when, answer)
	case answer.Status == http.StatusSwitchingProtocols:
		s.FailBecause("ServeHTTP does not call Enter before Upgrade, or Close does not set the flag that Enter looks at, or Shutdown calls Close too late, or the flag is taken back again.",
			"%s Shutdown a handshake gets 503; %s.", when, answer)
	case answer.Status != http.StatusServiceUnavailable:
		s.FailBecause("refuse is called with another status than http.StatusServiceUnavailable.",
			"%s Shutdown a handshake gets 503; %s.", when, answer)
	}
	s.wantRetryAfter(answer)
}

// errImpatient is why the context of a Shutdown is done. Its Err is
// [context.Canceled] all the same.
var errImpatient = errors.New("the caller will not wait any longer")

// down is a call of Shutdown.
type down struct {
	*wstest.Call
	err     error
	records int    // how many were in the log when it returned
	status  int    // of GET /online then
	online  string // what GET /online said
}

// shutDown calls Shutdown with a context that is done after limit, and 0 stands for
// one that is done already. The context has no deadline to look at: whoever calls
// may also change his mind, for a reason of his own. Nor is it done when Shutdown
// returns.
func (s *scene) shutDown(limit time.Duration) *down {
	s.Did("Shutdown is called, with a context of %v", limit)
	return s.shutDownIn(0, limit)
}

// shutDownIn is shutDown after a delay.
func (s *scene) shutDownIn(delay, limit time.Duration) *down {
	s.down.Store(true)
	d := new(down)
	d.Call = s.Start(func() {
		time.Sleep(delay)
		ctx, cancel := context.WithCancelCause(context.Background())
		if limit > 0 {
			time.AfterFunc(limit, func() { cancel(errImpatient) })
		} else {
			cancel(errImpatient)
		}
		d.err = s.Shutdown(ctx)
		d.records = len(s.Log.Records())
		w := httptest.NewRecorder() // not over the network: that would take long enough to hide it
		s.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/online", nil))
		d.status = w.Code
		d.online = strings.TrimSpace(w.Body.String())
	})
	return d
}

// wantNil demands that Shutdown returns nil soon.
func (s *scene) wantNil(d *down) {
	s.Pass(grace)
	if !d.Returned() {
		s.FailBecause("Shutdown waits for something that does not come: the end of its context alone, or a count that is not counted down for each connection.",
			"Shutdown has not returned, although each peer has left, or has had %v to answer its close frame.", closeWait)
	}
	s.FailUnless(d.err == nil, "Shutdown has returned the error %v, although nobody had to be cut off before its context was done.", d.err)
	s.wantNobody(d)
}

// wantNobody demands that nobody was connected when Shutdown returned.
func (s *scene) wantNobody(d *down) {
	if d.status == http.StatusServiceUnavailable {
		s.FailBecause("all requests are refused during the shutdown. Only handshakes get 503; GET /online still tells the count.",
			"when Shutdown returned, GET /online was answered with 503.")
	}
	s.FailUnless(countIn(d.online) == 0, "when Shutdown returned, GET /online said %s: it did not wait until the last connection had ended.", d.online)
}

// countIn returns the count in an answer to GET /online, or -1 if there is none.
func countIn(answer string) int {
	var count struct{ Online *int }
	if json.Unmarshal([]byte(answer), &count) != nil || count.Online == nil {
		return -1
	}
	return *count.Online
}

// joinLate lets a peer connect so slowly that Shutdown is called while it is
// being upgraded.
func joinLate(s *scene) {
	late := s.Dial("a slow peer")
	s.Did("it sends a handshake, but does not read the answer yet; a second later Shutdown is called")
	// Shutdown has its goroutine first, so that the race detector sees nothing but
	// the server's own locks between the handshake and Shutdown.
	down := s.shutDownIn(time.Second, time.Minute)
	sent := s.Start(func() { late.Write(wstest.Request{}.Bytes("/ws")) })
	s.Settle()
	s.FailUnless(sent.Returned(), "the server has not read the handshake.")
	s.Pass(2 * time.Second)
	returned := down.Returned()
	if peer := s.Join(late, "the slow peer"); peer != nil {
		if returned {
			s.FailBecause("a connection is counted too late: when its goroutine starts, or when it joins the map. Count it before the upgrade, under the lock that closes the hub.",
				"Shutdown had returned, and after that the slow peer was connected.")
		}
		s.wantTold(peer)
	}
	s.wantNil(down)
}

// slowGoodbye lets a peer take one message in four seconds, while the server shuts
// down: each write is in time, but all of them would take much longer than one may.
func slowGoodbye(s *scene) {
	const size = 30_000
	eve := s.Dial("eve")
	s.Did("eve connects, and 10 messages of %d bytes are broadcast, which she does not read yet", size)
	eve.Write(wstest.Request{}.Bytes("/ws"))
	eve.Read(make([]byte, 1024))
	s.Settle()
	for range 10 {
		s.Broadcast([]byte(long(size)))
	}
	s.Settle()
	down := s.shutDown(time.Minute)
	read := make(chan struct{}) // closed when eve has given up
	s.Did("from now on she reads one of them each 4 s")
	go func() {
		defer close(read)
		for {
			time.Sleep(4 * time.Second)
			if _, err := io.ReadFull(eve, make([]byte, 4+size)); err != nil {
				return
			}
		}
	}()
	s.Pass(writeWait - time.Second)
	if eve.Gone() {
		s.FailBecause("the socket is closed, or the write pump gives up, before a peer has had writeWait to take what is queued.",
			"eve was cut off after less than %v, although she was still taking what was queued for her.", writeWait-time.Second)
	}
	s.Pass(time.Second + grace)
	s.FailUnless(eve.Gone(), "eve's connection is still open on the server's side, %v after Shutdown was called.", writeWait+grace)
	s.wantNil(down)
	eve.Close()
	<-read
}

// wantTold demands that a peer that was still let in is told 1001.
func (s *scene) wantTold(p *wstest.Peer) {
	closing, told := p.WaitClose()
	switch {
	case told && closing.CloseCode() == 1001:
		return
	case told:
		s.FailBecause("the client that joins late is finished with another code than those in the map.",
			"%s got a %s instead of one with 1001.", p.Name, closing)
	case p.Gone():
		s.FailBecause(causeNotTold, "%s was let in, and its connection was closed without a close frame.", p.Name)
	}
	s.FailBecause(causeNotTold, "%s was let in, and got no close frame.", p.Name)
}

const causeNotTold = "a connection joins the map after Close has gone through it. Look once more whether the hub is closed, and finish the client then. It must still be served: its pumps send the close frame, and await the answer."

// wantNothingLeft demands that no goroutine is left after Shutdown, but for those
// that Stop ends.
func (s *scene) wantNothingLeft() {
	if s.Stop != nil {
		s.Stop()
		s.Stop = nil
		s.Settle()
	}
	for _, left := range s.LeftBehind() {
		if !slices.Contains(s.Idle, left) {
			s.FailBecause("Shutdown does not wait for a pump; or a goroutine of its own waits for the end of the context, which is done later or never.",
				"Shutdown has returned, but a goroutine is left:\n%s", left)
		}
	}
}

// FailUnless fails unless ok.
func (s *scene) FailUnless(ok bool, saw string, args ...any) {
	if !ok {
		s.Fail(saw, args...)
	}
}

func withoutSignals() string {
	if runtime.GOOS == "windows" {
		return "Windows has no signals that one process can send to another"
	}
	return ""
}

func signals(t *trial) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		exits := t.Run(fmt.Sprint(signal), func(sub *testing.T) {
			p := wstest.StartProcess(sub, t.about, "program")
			ann, bob := p.Connect("ann"), p.Connect("bob")
			ann.Send("hello")
			ann.WaitText("hello")
			bob.WaitText("hello")
			p.Signal(signal)
			state := p.WantExit("both peers answer a close frame")
			if strings.Contains(state.String(), "signal") {
				p.FailBecause("signal.NotifyContext does not list this signal.", "the program did not handle the signal, which has killed it: %q.", state)
			}
			if !state.Success() {
				p.FailBecause("the context of the Shutdowns was done from the beginning, because it derives from that of the signal, or because its limit has no unit. Or http.ErrServerClosed, which is the name of a good end, is returned as an error.",
					"the program has ended with %q, and not with the exit code 0. It said: %s", state, lastWords(p))
			}
			ann.WantClose(1001)
			bob.WantClose(1001)
		})
		if !exits {
			return // the other signal would only say so again
		}
	}
	second := t.Run("a second signal", func(sub *testing.T) {
		for try := 1; ; try++ { // a machine that is very busy may be slower than closeWait: one good end of three will do
			p := wstest.StartProcess(sub, t.about, "program")
			addr := listenAddr.FindString(p.Tail())
			ann := p.Connect("ann")
			ann.IgnoreClose()
			p.Signal(syscall.SIGTERM)
			ann.WantClose(1001)
			p.Did("the server awaits ann's answer; meanwhile bob sends a handshake")
			status := statusOver(addr)
			ended := p.SignalUntilExit(syscall.SIGTERM) && !strings.Contains(p.State(), "exit status 0")
			switch {
			case ended && status == http.StatusServiceUnavailable:
				return
			case try < 3:
			case status == 0:
				p.FailBecause("http.Server.Shutdown, which closes the listener, is called before the server's own Shutdown has returned; or the program has ended too early.",
					"bob's handshake during the shutdown got no answer. It should have got 503.")
			case status != http.StatusServiceUnavailable:
				p.Fail("bob's handshake during the shutdown got %d, and not 503.", status)
			default:
				p.FailBecause("the first signal is handled, and the handler stays in place: stop it after the first.",
					"a second signal did not end the program at once: it waited for ann, who does not answer, and ended with %q.", p.State())
			}
		}
	})
	if !second {
		return // when the http.Server is shut down first, it waits for the answer below
	}
	t.Run("an answer under way", func(sub *testing.T) {
		answerUnderWay(&trial{T: sub, about: t.about, step: t.step, start: t.start}, func(p *wstest.Process) { p.Signal(syscall.SIGTERM) })
	})
}

var listenAddr = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// statusOver sends a handshake over TCP and returns the status of the answer, or 0
// if there is none.
func statusOver(addr string) (status int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	conn.Write(wstest.Request{Host: addr}.Bytes("/ws"))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	return answer.StatusCode
}

// lastWords returns the last line that the program printed, if it is no log record.
func lastWords(p *wstest.Process) string {
	lines := strings.Split(p.Tail(), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "time=") {
		return last
	}
	return "nothing"
}

// slowReaderOverTCP closes while there is much that the peer has not read yet.
func slowReaderOverTCP(n *wstest.Network, server Server) {
	const all = 24 // of 30,000 bytes: not more than the system holds between two sockets
	conn := n.Dial("ann")
	conn.SetReadBuffer(1 << 20)
	conn.Write(wstest.Request{}.Bytes("/ws"))
	in := bufio.NewReader(conn)
	if answer, err := http.ReadResponse(in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		n.Fail("ann could not connect: %v.", err)
	}
	conn.Write(inOneGo([]string{"hello"}))
	if _, err := io.ReadFull(in, make([]byte, 2+len("hello"))); err != nil {
		n.Fail("ann's message did not come back: %v.", err)
	}
	n.Did("%d messages of 30,000 bytes are broadcast; ann sends a close frame, and then reads", all)
	for range all {
		server.Broadcast([]byte(long(30_000)))
	}
	conn.Write(closeFrame(1000, ""))
	if got, err := io.ReadAll(in); err != nil {
		n.FailBecause("the socket is reset when it is closed (SetLinger(0)): what the system still has for the peer is thrown away then.",
			"ann got %d bytes, and then, instead of the end: %v.", len(got), err)
	}
}

// closedOverTCP sends more when the connection has ended.
func closedOverTCP(n *wstest.Network, _ Server) {
	conn := n.Dial("ann")
	conn.Write(wstest.Request{}.Bytes("/ws"))
	in := bufio.NewReader(conn)
	if answer, err := http.ReadResponse(in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		n.Fail("ann could not connect: %v.", err)
	}
	n.Did("ann sends a close frame, reads to the end, and goes on sending")
	conn.Write(closeFrame(1000, ""))
	io.Copy(io.Discard, in)
	conn.SetWriteDeadline(time.Now().Add(2 * closeWait))
	for {
		_, err := conn.Write(make([]byte, 1<<16))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			n.FailBecause("only the sending half of the socket is closed (CloseWrite), so that the file stays open for as long as the peer likes. Close closes all of it.",
				"the server has ended ann's connection, and %v later its socket is still open.", 2*closeWait)
		}
		if err != nil {
			return
		}
	}
}
