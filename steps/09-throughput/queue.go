package main

import (
	"encoding/binary"
	"sync"
)

const (
	// sendQueueBytes is how many bytes may wait for one peer before its queue is
	// full: as many as 64 of the largest messages have.
	sendQueueBytes = 2 << 20

	// frameCost is what a frame that waits counts beside its message's bytes.
	// Without it, empty messages would have no bound.
	frameCost = 64

	// batchSize is how much goes out in one write, in bytes: no more than in the
	// write of the largest message, which writeWait must suffice for.
	batchSize = maxMessageSize

	// keptCapacity is how many frames the memory of an empty queue may have room
	// for.
	keptCapacity = 256
)

// frame is a message and its form on the wire. It is made once, for all
// receivers, so nobody may change it.
type frame struct {
	Message
	wire []byte
}

// newFrame returns m as one frame from server to client, unmasked (RFC 6455,
// section 5.2).
func newFrame(m *Message) *frame {
	const final = 0x80 // the only frame of its message
	wire := make([]byte, 0, 10+len(m.Data))
	wire = append(wire, final|byte(m.Type))
	switch n := len(m.Data); {
	case n < 126:
		wire = append(wire, byte(n))
	case n < 1<<16:
		wire = append(wire, 126)
		wire = binary.BigEndian.AppendUint16(wire, uint16(n))
	default:
		wire = append(wire, 127)
		wire = binary.BigEndian.AppendUint64(wire, uint64(n))
	}
	wire = append(wire, m.Data...)
	return &frame{Message: Message{Type: m.Type, Data: wire[len(wire)-len(m.Data):]}, wire: wire}
}

// cost is what f counts while it waits.
func (f *frame) cost() int { return len(f.Data) + frameCost }

// sendQueue is what waits for one peer, bounded in bytes. Any goroutine may call
// add; the rest is for the write pump.
type sendQueue struct {
	some chan struct{} // has a token when frames wait and none are being written

	mu     sync.Mutex // guards what follows
	frames []*frame   // the first taken of them are being written
	taken  int
	bytes  int // what frames cost
}

// add puts f at the end of the queue. It reports false if the queue is full.
func (q *sendQueue) add(f *frame) bool {
	// TODO(9.1): report false if sendQueueBytes are reached. Otherwise count what f
	// costs, and append it; if it is the only frame, wake the write pump.
	return true
}

// waits returns how many bytes wait that are not being written.
func (q *sendQueue) waits() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	waits := q.bytes
	for _, f := range q.frames[:q.taken] {
		waits -= f.cost()
	}
	return waits
}

// take returns the frames to write next: as many as wait, but one write's worth at
// most. They stay in the queue, and count, until drop.
func (q *sendQueue) take() []*frame {
	// TODO(9.1): take frames until their wire bytes would exceed batchSize, but at least
	// one if there is any. Note in taken how many.
	return nil
}

// drop forgets what was taken.
func (q *sendQueue) drop() {
	// TODO(9.1): take what was written off the count, and out of frames. If more
	// waits, wake the write pump. If nothing does, and the slice has grown beyond
	// keptCapacity, let it go.
}

// wake puts the token in.
func (q *sendQueue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}
