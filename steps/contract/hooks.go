package contract

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes about the hooks, when nothing panics.

// calls is what hooks have been called with, in order.
type calls struct {
	mu  sync.Mutex // guards all
	all []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

func (c *calls) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// hooksInOrder looks at the calls for one peer: what comes when, and what is left to
// the hook alone.
func hooksInOrder(t *trial) {
	var seen calls
	var running, most int
	t.sceneFrom(func(*scene) Config {
		seen = calls{}
		return Config{
			OnJoin: func(_ context.Context, id string) {
				time.Sleep(time.Second) // a message comes meanwhile
				seen.add("join")
			},
			OnMessage: func(_ context.Context, id, text string) {
				seen.mu.Lock()
				running++
				most = max(most, running)
				seen.mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				seen.add("%s", text)
				seen.mu.Lock()
				running--
				seen.mu.Unlock()
			},
		}
	}, func(s *scene) {
		ann := s.Connect("ann")
		s.Did("ann sends five messages at once, one of them binary, while the hook of her joining still runs")
		for _, f := range []wstest.Frame{wstest.Text("1"), wstest.Binary("2"), wstest.Text("3"), wstest.Binary(""), wstest.Text("5")} {
			ann.SendRaw(f.Bytes())
		}
		s.Pass(10 * time.Second)
		if got, want := seen.list(), []string{"join", "1", "2", "3", "", "5"}; !slices.Equal(got, want) {
			cause := "OnJoin runs in a goroutine of its own, or is called after the first message was read; or OnMessage gets text only."
			if len(got) == 0 {
				cause = "Config.OnJoin and Config.OnMessage are not called: join and handle do that (7.1)."
			}
			s.FailBecause(cause, "the hooks were called in this order: %q. It should be %q.", got, want)
		}
		if most > 1 {
			s.FailBecause("each message is handled in a goroutine of its own. The calls for one peer come one after the other.",
				"the hook ran %d times at once for one peer.", most)
		}
		if got := ann.Messages(); len(got) > 0 {
			s.FailBecause("the message is broadcast as well. The hook takes the place of the broadcast.",
				"ann got %s, although the hook sends nothing.", got[0])
		}
	})
}

// hooksSideBySide lets the hook of one peer wait for that of another.
func hooksSideBySide(t *trial) {
	bobSpoke := make(chan struct{})
	t.sceneFrom(func(*scene) Config {
		bobSpoke = make(chan struct{})
		return Config{OnMessage: func(_ context.Context, _, text string) {
			switch text {
			case "wait":
				<-bobSpoke
			case "go on":
				close(bobSpoke)
			}
		}}
	}, func(s *scene) {
		ann, bob := s.Connect("ann"), s.Connect("bob")
		s.Did("the hook waits for ann until bob has said something")
		ann.SendQuietly("wait")
		s.Settle()
		bob.SendQuietly("go on")
		s.Settle()
		select {
		case <-bobSpoke:
		default:
			// End it, or the bubble does not.
			defer close(bobSpoke)
			s.FailBecause("a lock is held while the hook runs, or all messages go through one goroutine. The calls for different peers come at the same time.",
				"bob's message was not handed on while the hook for ann had not returned.")
		}
	})
}

// hooksUntilTheEnd lets a hook run for as long as its context lasts.
func hooksUntilTheEnd(t *trial) {
	var begun, ended atomic.Int64
	t.sceneFrom(func(*scene) Config {
		return Config{OnMessage: func(ctx context.Context, _, _ string) {
			begun.Add(1)
			select {
			case <-ctx.Done():
				ended.Add(1)
			case <-time.After(time.Hour): // so that the bubble ends
			}
		}}
	}, func(s *scene) {
		ann, id := s.connectID("ann")
		s.Did("the hook waits for the end of its context")
		ann.SendQuietly("hello")
		s.Pass(time.Second)
		s.FailUnless(begun.Load() == 1, "the hook was called %d times for one message.", begun.Load())
		if ended.Load() > 0 {
			s.FailBecause("the hook gets a context that belongs to something shorter, such as the request, which ends when ServeHTTP returns.",
				"the context of the hook is done, although ann is connected.")
		}
		ann.StopReading()
		s.Did("ann stops reading, and her connection ends, since too much waits for her")
		for range 4 * sendQueueSize {
			s.Send(id, "hello")
		}
		s.evicted()
		if ended.Load() == 0 {
			s.FailBecause("nobody cancels the context of the hooks when the connection has ended: finish does it. A hook that waits for it would keep the goroutine for ever.",
				"ann's connection has ended, and the context of the hook is not done.")
		}
	})
}

// queuedBeforePanic lets something wait for a peer, and then its handler panics.
func queuedBeforePanic(t *trial) {
	t.panicScene(panicText, func(s *scene) {
		ann := s.Connect("ann")
		ann.StopReading()
		news := texts("news", 20)
		s.Did("%d messages are broadcast", len(news))
		for _, text := range news {
			s.broadcastAtOnce([]byte(text))
		}
		ann.Send("panic")
		s.Settle()
		ann.ResumeReading()
		for i, text := range news {
			if got, ok := ann.Next(); !ok || string(got.Payload) != text {
				s.FailBecause("what waits is thrown away. A panic of the handler is no fault of what was queued: it ends the connection as any other error does.",
					"ann got %d of the %d messages that waited for her when her handler panicked.", i, len(news))
			}
		}
		ann.WantClose(1011)
	})
}
