package main

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
)

// What is being written does not wait: CatchUp would wait for it in vain.
func TestQueueWaits(t *testing.T) {
	q := sendQueue{some: make(chan struct{}, 1)}
	f := newFrame(&Message{Type: 2, Data: make([]byte, 1000)})
	want := func(when string, frames int) {
		t.Helper()
		if got := q.waits(); got != frames*f.cost() {
			t.Errorf("%s, %d bytes wait, and it should be %d.", when, got, frames*f.cost())
		}
	}
	q.add(f)
	q.add(f)
	want("after two frames", 2)
	q.take()
	want("while both are written", 0)
	q.add(f)
	want("when one more comes", 1)
	q.drop()
	want("when the two are written", 1)
}

// After a broadcast a read pump waits for the write pumps that are behind: not for
// one that is in a write, nor for one whose connection has ended.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = sendQueueBytes/4/frameCost + 1
		server := NewServer(Config{})
		join := func(queued int) *Client {
			c := &Client{
				ID:    uuid.NewString(),
				queue: sendQueue{some: make(chan struct{}, 1)},
				done:  make(chan struct{}),
				turn:  sync.NewCond(new(sync.Mutex)),
			}
			for range queued {
				c.queue.add(newFrame(new(Message)))
			}
			server.hub.Add(c)
			return c
		}
		handle := func() (returned func() bool) {
			done := make(chan struct{})
			go func() {
				server.handle(nil, new(Message))
				close(done)
			}()
			return func() bool {
				synctest.Wait()
				select {
				case <-done:
					return true
				default:
					return false
				}
			}
		}

		a := join(many)
		a.beginWriting()
		join(0)
		close(join(many).done)
		if !handle()() {
			t.Fatal("CatchUp waits, although nobody is behind: one queue is short, one write is under way, one connection has ended.")
		}

		a.writing.Store(false)
		for range 8 { // the map has another order each time
			if !server.hub.Broadcast(new(Message)) {
				t.Fatal("Broadcast says that nobody is behind, although one client is.")
			}
		}
		first, second := handle(), handle()
		if first() || second() {
			t.Error("The read pump has gone on, although a write pump is behind: call CatchUp after Broadcast.")
		}
		b := join(many)
		a.beginWriting()
		if first() || second() {
			t.Error("CatchUp returned, although one client was still behind.")
		}
		b.beginWriting()
		if !first() || !second() {
			t.Error("CatchUp still waits, although nobody is behind any more.")
		}
	})
}
