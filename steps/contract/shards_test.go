package contract

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestShards holds a server of a third design to all contracts: its connections,
// and the addresses that they come from, live in shards with a lock each; a send
// queue is a slice under a lock, with a channel that only wakes the writer; the
// token buckets are its own, and a timer forgets an address; Shutdown waits for an
// atomic counter. A contract that fails it asks for a design, and not for a
// behaviour.
func TestShards(t *testing.T) {
	Run(t, 8, func(cfg Config) Server {
		s := newShardServer(cfg)
		text := func(data []byte) *chatMessage { return &chatMessage{websocket.TextMessage, data} }
		return Server{
			HTTP: s.web(),
			Main: program(newShardServer),
			Send: func(id, data string) error { return s.sessions.send(id, text([]byte(data))) },
			Broadcast: func(data []byte) error {
				s.sessions.broadcast(text(data))
				return nil
			},
			Shutdown: s.Shutdown,
		}
	})
}

const shardCount = 16

var shardSeed = maphash.MakeSeed()

// shards is a map in parts, so that those who use different parts do not wait for
// each other.
type shards[K comparable, V any] [shardCount]shard[K, V]

type shard[K comparable, V any] struct {
	mu      sync.Mutex // guards entries; nothing waits under it
	entries map[K]V
}

func newShards[K comparable, V any]() *shards[K, V] {
	s := new(shards[K, V])
	for i := range s {
		s[i].entries = make(map[K]V)
	}
	return s
}

// of returns the shard that key belongs to.
func (s *shards[K, V]) of(key K) *shard[K, V] {
	return &s[maphash.Comparable(shardSeed, key)%shardCount]
}

// directory knows who is connected. Its methods may be called from any goroutine.
type directory struct {
	byID   *shards[string, *session]
	online atomic.Int64 // entries in all shards; changed under the lock of one
}

func (d *directory) add(c *session) {
	shard := d.byID.of(c.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.entries[c.id] = c
	d.online.Add(1)
}

func (d *directory) remove(c *session) {
	shard := d.byID.of(c.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.entries, c.id)
	d.online.Add(-1)
}

// each calls f for every session, under the lock of its shard.
func (d *directory) each(f func(*session)) {
	for i := range d.byID {
		shard := &d.byID[i]
		shard.mu.Lock()
		for _, c := range shard.entries {
			f(c)
		}
		shard.mu.Unlock()
	}
}

// broadcast queues m for every session. When it returns, m is in all the queues:
// what the same sender sends next comes after it, for everybody.
func (d *directory) broadcast(m *chatMessage) {
	d.each(func(c *session) { c.queue(m) })
}

func (d *directory) send(id string, m *chatMessage) error {
	shard := d.byID.of(id)
	shard.mu.Lock()
	c := shard.entries[id]
	shard.mu.Unlock()
	if c == nil {
		return errNobody
	}
	return c.queue(m)
}

// addressBook counts connections and handshakes by address. Its methods may be
// called from any goroutine.
type addressBook struct {
	limits Limits
	known  *shards[netip.Prefix, *address]
}

type address struct {
	inside     int
	handshakes bucket
}

// enter returns 0 if one more may come in from an address: then leave is owed.
// Otherwise it returns when to try again.
func (b *addressBook) enter(from netip.Prefix) (wait time.Duration) {
	shard := b.known.of(from)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	a := shard.entries[from]
	if a == nil {
		a = &address{handshakes: newBucket(b.limits.HandshakeRate, handshakesAtOnce)}
		shard.entries[from] = a
	}
	if most := b.limits.MaxPerIP; most > 0 && a.inside >= most {
		return retrySlot
	}
	if wait := a.handshakes.take(time.Now()); wait > 0 {
		return wait
	}
	a.inside++
	return 0
}

// leave also sees to it that an address is forgotten when it is as good as new.
// With a token missing it would come back with all of them.
func (b *addressBook) leave(from netip.Prefix) {
	shard := b.known.of(from)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	a := shard.entries[from]
	a.inside--
	time.AfterFunc(a.handshakes.refillTime(), func() { // if it has come in again, a later leave forgets it
		shard.mu.Lock()
		defer shard.mu.Unlock()
		if shard.entries[from] == a && a.inside == 0 && a.handshakes.full(time.Now()) {
			delete(shard.entries, from)
		}
	})
}

// bucket is a token bucket, full at first. Instead of tokens it keeps the time at
// which the last of them is back, and so needs neither fractions nor a goroutine.
type bucket struct {
	holds  int           // tokens when it is full
	every  time.Duration // how long one takes to come back
	fullAt time.Time
}

// newBucket returns a bucket for perSecond tokens a second. One for 0 is always
// full: a token takes no time to come back.
func newBucket(perSecond float64, atOnce time.Duration) bucket {
	if perSecond == 0 {
		return bucket{}
	}
	return bucket{holds: burstOf(perSecond, atOnce), every: time.Duration(float64(time.Second) / perSecond)}
}

// refillTime is how long it takes at most until all tokens are back.
func (b *bucket) refillTime() time.Duration { return time.Duration(b.holds) * b.every }

// take takes a token and returns 0, or takes none and returns when one is there.
func (b *bucket) take(now time.Time) (wait time.Duration) {
	if b.full(now) {
		b.fullAt = now
	}
	fullAt := b.fullAt.Add(b.every)
	if wait := fullAt.Sub(now) - b.refillTime(); wait > 0 {
		return wait
	}
	b.fullAt = fullAt
	return 0
}

func (b *bucket) full(now time.Time) bool { return !now.Before(b.fullAt) }

// door counts who is inside. Once it is shut nobody comes in any more.
type door struct {
	state atomic.Int64  // how many are inside, and the bit doorShut
	empty chan struct{} // closed when the door is shut and nobody is inside
}

const doorShut = 1 << 62

// enter reports whether the door is open. If so, leave is owed.
func (d *door) enter() bool {
	for {
		state := d.state.Load()
		if state&doorShut != 0 {
			return false
		}
		if d.state.CompareAndSwap(state, state+1) {
			return true
		}
	}
}

func (d *door) leave() {
	if d.state.Add(-1) == doorShut {
		close(d.empty)
	}
}

// shut may be called more than once.
func (d *door) shut() {
	if before := d.state.Or(doorShut); before == 0 {
		close(d.empty)
	}
}

func (d *door) isShut() bool { return d.state.Load()&doorShut != 0 }
