package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
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
// returned never changes, even when the log has let go of the chunk. The methods of a
// Log may be called from any goroutine.
type Log struct {
	mu     sync.Mutex        // guards what follows
	chunks [logChunks][]byte // chunk n is chunks[n%logChunks]
	last   int               // the chunk that is appended to
	more   chan struct{}     // closed by the next Append
	asked  bool              // somebody waits for more, or may
}

// NewLog returns an empty log.
func NewLog() *Log {
	l := &Log{more: make(chan struct{})}
	l.chunks[0] = make([]byte, 0, chunkSize)
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

	// TODO(9.1): put the frame, header and data, behind the last one, and wake all who
	// wait for more.
	// TODO(9.2): begin a new chunk if the last one has no room for it.
	return nil
}

// End returns a cursor behind the last message.
func (l *Log) End() Cursor {
	// TODO(9.1): return the place behind the last message.
	return Cursor{log: l}
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
	// TODO(9.1): return what stands behind the cursor, and move it.
	// TODO(9.2): go on to the next chunk.
	// TODO(9.3): tell a client whose chunk is gone.
	return nil, nil, nil
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
