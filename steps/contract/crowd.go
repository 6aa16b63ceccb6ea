package contract

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes in which somebody is always broadcasting to a crowd, so that
// whoever needs the hub's lock meets others there. They need no second processor: a
// goroutine that does nothing else is interrupted, sooner or later, while it holds that
// lock.

// crowd is a server with peers that cost little.
type crowd struct {
	Server
	broadcasts atomic.Int64
	stop       atomic.Bool
	stopped    chan struct{} // closed when nobody broadcasts any more
}

// crowd starts a server with n peers, which answer a close frame when answer is closed.
func (t *trial) crowd(s *scene, n int, answer <-chan struct{}) *crowd {
	c := &crowd{Server: t.start(Config{Log: slog.New(slog.DiscardHandler)}), stopped: make(chan struct{})}
	for i := range n {
		c.join(s, i, newJoining(answer))
	}
	s.Settle()
	return c
}

// join lets a peer join, from an address that belongs to number.
func (c *crowd) join(s *scene, number int, conn *joining) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wstest.Request{}.Bytes("/ws"))))
	s.FailUnless(err == nil, "the test's own request: %v.", err)
	request.RemoteAddr = fmt.Sprintf("10.9.%d.%d:1234", number>>8, number&0xff)
	go c.HTTP.Handler.ServeHTTP(&joiner{httptest.NewRecorder(), conn}, request)
}

// mostNews is how often somebody broadcasts without a pause: long enough to be
// interrupted.
const mostNews = 3_000

// talk broadcasts again and again, until finish is called, or it was enough.
func (c *crowd) talk(s *scene) {
	go func() {
		defer close(c.stopped)
		for !c.stop.Load() && c.broadcasts.Add(1) < mostNews {
			c.Broadcast([]byte("news"))
			s.Alive()
		}
	}()
	for c.broadcasts.Load() == 0 {
		runtime.Gosched()
	}
}

// finish lets all others go on, as far as they can, and then nobody broadcasts any more.
func (c *crowd) finish() {
	for range 300 {
		runtime.Gosched()
	}
	c.stop.Store(true)
	<-c.stopped
}

// closeAmongJoins calls Shutdown while peers join, and somebody broadcasts.
func (t *trial) closeAmongJoins(s *scene) {
	const rounds, peers, late = 3, 200, 40
	s.Did("%d times, %d peers are connected and somebody broadcasts without a pause, when %d more join and Shutdown is called", rounds, peers, late)
	answer := make(chan struct{})
	close(answer)
	for range rounds {
		c := t.crowd(s, peers, answer)
		upgraded := make(chan struct{})
		var down *wstest.Call
		var err error
		for i := range late {
			if i == late/2 { // half of them are before it in the queue of goroutines, and half behind it
				down = s.Start(func() {
					<-upgraded
					ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
					defer cancel()
					err = c.Shutdown(ctx)
				})
				s.Settle()
			}
			conn := newJoining(answer)
			conn.hold = upgraded
			c.join(s, peers+i, conn)
			s.Settle() // it is being upgraded
		}
		c.talk(s)
		close(upgraded)
		c.finish()
		s.FailUnless(down.Within(40*time.Second), "Shutdown has not returned, although its context is done.")
		if err != nil {
			s.FailBecause(causeNotTold, "a peer that joined in the moment of Shutdown was not told 1001: Shutdown returned the error %q.", err)
		}
		c.end()
	}
}

// leaveAmongBroadcasts lets all peers answer the close frames of a Shutdown at once,
// while somebody broadcasts.
func (t *trial) leaveAmongBroadcasts(s *scene) {
	const rounds, peers = 5, 200
	s.Did("%d times Shutdown is called, and %d peers answer its close frame at once, while somebody broadcasts without a pause", rounds, peers)
	for range rounds {
		answer := make(chan struct{})
		c := t.crowd(s, peers, answer)
		online := ""
		down := s.Start(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			c.Shutdown(ctx)
			w := httptest.NewRecorder()
			c.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/online", nil))
			online = w.Body.String()
		})
		s.Settle() // all of them have their close frame
		c.talk(s)
		close(answer)
		c.finish()
		s.FailUnless(down.Within(40*time.Second), "Shutdown has not returned, although its context is done.")
		if n := countIn(online); n != 0 {
			s.FailBecause("a connection leaves the count that Shutdown waits for before it leaves the map. Deferred functions run in the reverse order of their defer statements.",
				"when Shutdown returned, GET /online said that %d peers are connected.", n)
		}
		c.end()
	}
}
