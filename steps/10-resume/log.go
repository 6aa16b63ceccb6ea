package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
)

const (
	// chunkSize is how many bytes a chunk holds, and so the most that goes out in one
	// write. The largest message of a peer fits, with its header.
	chunkSize = 40 << 10

	// logChunks is how many chunks a log keeps: 8 MiB, for all clients together.
	logChunks = 8 << 20 / chunkSize

	// finalFrame is the first bit of a frame that is a whole message (RFC 6455,
	// section 5.2).
	finalFrame = 0x80
)

var (
	// ErrTooBig says that a message was not broadcast: it does not fit into a chunk.
	ErrTooBig = errors.New("message is too big to broadcast")

	errFellBehind = errors.New("fell behind the log")
)

// Log keeps the last broadcasts, once for all clients, as the frames that go over
// the wire. It is a ring of chunks. A chunk is only appended to: what a cursor has
// returned never changes, even when the log has let go of the chunk. Broadcasts have
// numbers, from 1 on. The methods of a Log may be called from any goroutine.
type Log struct {
	id string // a UUID: numbers of another log mean nothing here

	mu     sync.Mutex        // guards what follows
	chunks [logChunks][]byte // chunk n is chunks[n%logChunks]
	firsts [logChunks]int64  // the number of the first broadcast in each
	last   int               // the chunk that is appended to
	next   int64             // the number of the next broadcast
	more   chan struct{}     // closed by the next Append
	asked  bool              // somebody waits for more, or may
}

// NewLog returns an empty log.
func NewLog() *Log {
	l := &Log{id: uuid.NewString(), next: 1, more: make(chan struct{})}
	l.chunks[0], l.firsts[0] = make([]byte, 0, chunkSize), 1
	return l
}

// Append puts m behind all that was broadcast before. It waits for nobody, and what
// it costs does not depend on what the clients have still to read. The error is
// ErrTooBig.
func (l *Log) Append(m *Message) error {
	header := append(make([]byte, 0, 4), finalFrame|byte(m.Type))
	if n := len(m.Data); n <= 125 {
		header = append(header, byte(n))
	} else {
		header = binary.BigEndian.AppendUint16(append(header, 126), uint16(n))
	}
	size := len(header) + len(m.Data)
	if size > chunkSize { // so that 16 bits suffice for each length
		return fmt.Errorf("%d bytes: %w", len(m.Data), ErrTooBig)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	// TODO(10.1): give each broadcast its number, and keep which is the first of a chunk.
	chunk := &l.chunks[l.last%logChunks]
	if len(*chunk)+size > chunkSize {
		l.last++
		chunk = &l.chunks[l.last%logChunks]
		*chunk = make([]byte, 0, chunkSize) // not the old memory: somebody may still write it
	}
	*chunk = append(append(*chunk, header...), m.Data...)
	if l.asked {
		close(l.more)
		l.more, l.asked = make(chan struct{}), false
	}
	return nil
}

// End returns a cursor behind the last broadcast, and the number of the next one.
func (l *Log) End() (Cursor, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// TODO(10.1): return the number of the next broadcast.
	return l.end(), 0
}

// end is End. Call it with mu locked.
func (l *Log) end() Cursor {
	return Cursor{log: l, chunk: l.last, at: len(l.chunks[l.last%logChunks])}
}

// After returns a cursor behind broadcast n, and the number of the one that comes
// next there. That is n+1, if the log has still got all since n; otherwise the cursor
// stands at the end. The error is errNotYet.
func (l *Log) After(n int64) (Cursor, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// TODO(10.2): refuse a number that no broadcast has yet. Find the chunk that has the
	// next one, and its place in it.
	// TODO(10.3): the log may have let go of that chunk.
	return l.end(), l.next, nil
}

// frameSize returns how many bytes the first of the frames takes.
func frameSize(frames []byte) int {
	if n := int(frames[1]); n <= 125 {
		return 2 + n
	}
	return 4 + int(binary.BigEndian.Uint16(frames[2:]))
}

// Cursor is the place in a log up to which a client has got everything. It belongs to
// one goroutine.
type Cursor struct {
	log   *Log
	chunk int // its number
	at    int // bytes from its beginning
}

// Next returns the frames from the cursor to the end of a chunk, or of the log, and
// moves the cursor behind them. When there may be more, more is closed. The error is
// errFellBehind if the log has let go of the chunk.
func (c *Cursor) Next() (frames []byte, more <-chan struct{}, err error) {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last-c.chunk >= logChunks {
		return nil, nil, errFellBehind
	}
	chunk := l.chunks[c.chunk%logChunks]
	if c.at == len(chunk) && c.chunk < l.last {
		c.chunk, c.at = c.chunk+1, 0
		chunk = l.chunks[c.chunk%logChunks]
	}
	frames = chunk[c.at:]
	c.at = len(chunk)
	if c.chunk < l.last {
		return frames, closed, nil
	}
	l.asked = true
	return frames, l.more, nil
}

// Before reports whether c stands before d, a cursor of the same log.
func (c *Cursor) Before(d Cursor) bool {
	return c.chunk < d.chunk || c.chunk == d.chunk && c.at < d.at
}

// closed is a channel on which nobody has to wait.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
