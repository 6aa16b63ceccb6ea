package main

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"example.com/wsworkshop/steps/contract"
)

// TestBeyond holds the server to what it does beyond its promises.
func TestBeyond(t *testing.T) {
	contract.RunBeyond(t, start)
}

// After a broadcast a read pump waits for the write pumps that are behind: not for
// one that is in a write, nor for one whose connection has ended.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = sendQueueSize/4 + 1
		server := NewServer(Config{})
		join := func(queued int) *Client {
			c := newClient(nil, slog.New(slog.DiscardHandler))
			for range queued {
				c.send <- new(Message)
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
