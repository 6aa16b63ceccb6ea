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

// CatchUp waits for a write pump that is behind: not for one that is in a write, nor
// for one whose connection has ended.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub()
		join := func(queued int) *Client {
			c := newClient(nil, slog.New(slog.DiscardHandler))
			for range queued {
				c.send <- new(Message)
			}
			hub.Add(c)
			return c
		}
		catchUp := func() (returned func() bool) {
			done := make(chan struct{})
			go func() {
				hub.CatchUp()
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

		join(sendQueueSize / 4)
		join(sendQueueSize).beginWriting()
		close(join(sendQueueSize).done)
		if !catchUp()() {
			t.Fatal("CatchUp waits, although nobody is behind: one queue is short, one write is under way, one connection has ended.")
		}

		a, b := join(sendQueueSize), join(sendQueueSize/4+1)
		first, second := catchUp(), catchUp()
		a.beginWriting()
		if first() || second() {
			t.Error("CatchUp returned, although one client was still behind.")
		}
		<-b.send
		b.beginWriting()
		if !first() || !second() {
			t.Error("CatchUp still waits, although nobody is behind any more.")
		}
	})
}
