package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

const (
	// writeWait bounds one write to a peer. A peer that takes longer is finished.
	writeWait = 10 * time.Second

	// pongWait is how long a peer may be silent. Each message, ping and pong
	// from it starts the wait anew.
	pongWait = 60 * time.Second

	// pingPeriod is how often a peer is pinged. It is less than pongWait by
	// the time that a pong may take to come back.
	pingPeriod = 54 * time.Second

	// closeWait is how long a peer may take to hang up after our close frame.
	closeWait = 2 * time.Second

	// maxMessageSize is the largest message taken from a peer, in bytes.
	maxMessageSize = 32 << 10

	// sendQueueSize is how many messages to one peer alone may wait for it.
	sendQueueSize = 64
)

var (
	// ErrFinished says that a message was not queued: the connection has ended.
	ErrFinished = errors.New("connection is finished")

	// ErrTooSlow says that a message was not queued: the send queue was full.
	ErrTooSlow = errors.New("send queue is full")

	errNotUTF8  = errors.New("text message is not UTF-8")
	errPanicked = errors.New("panic")
)

// Message is one WebSocket message. Send keeps it until it is written, so nobody may
// change it.
type Message struct {
	Type int // websocket.TextMessage or websocket.BinaryMessage
	Data []byte
}

// Client is one connected peer. Send may be called from any goroutine.
type Client struct {
	ID   string          // a UUID, new for each connection
	User string          // who it is, if Config.Authenticate says so
	conn *websocket.Conn // the read pump alone reads; the write pump alone writes messages and pings
	log  *slog.Logger    // adds the ID to each record

	join   func(*Client)           // called by the read pump, once, before the first message
	handle func(*Client, *Message) // called by the read pump for each message
	pacer  *rate.Limiter           // how fast the read pump reads

	cursor Cursor        // how far the write pump has got in the log of broadcasts
	send   chan *Message // filled by Send, emptied by the write pump; never closed: done ends it
	done   chan struct{} // closed once, by finish

	ctx    context.Context // for the hooks; done when the connection has ended
	cancel func()          // called once, by finish

	finishOnce sync.Once
	code       int    // set by finish before it closes done
	reason     string // likewise

	pumps      sync.WaitGroup // the write pump and hangUp
	readEnded  chan struct{}  // closed by the read pump when nothing more will be read
	writeEnded chan struct{}  // closed by the write pump when nothing more will be written
}

// newClient returns the client for a fresh connection, which gets the broadcasts
// from the cursor on.
func newClient(conn *websocket.Conn, log *slog.Logger, cursor Cursor) *Client {
	id := uuid.NewString()
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{
		ID:         id,
		conn:       conn,
		log:        log.With("id", id),
		cursor:     cursor,
		send:       make(chan *Message, sendQueueSize),
		done:       make(chan struct{}),
		ctx:        ctx,
		cancel:     cancel,
		readEnded:  make(chan struct{}),
		writeEnded: make(chan struct{}),
	}
}

// run serves the connection until it has ended: when run returns, both pumps
// have returned and the socket is closed.
func (c *Client) run() {
	c.pumps.Go(c.writePump)
	c.log.Info("connected") // not before: a log may be slow, and the peer is sent to already
	c.readPump()
	c.pumps.Wait()
}

// finish ends the connection and says why; the first call counts. The peer is
// told code and reason, unless code is CloseAbnormalClosure: 1006 is never sent
// (RFC 6455, section 7.4.1) and means that there is nobody to tell. A reason has
// at most 123 bytes. finish does not block.
func (c *Client) finish(code int, reason string) {
	c.finishOnce.Do(func() {
		c.code, c.reason = code, reason
		close(c.done)
		c.cancel()
		c.pumps.Go(c.hangUp)
	})
}

// hangUp closes the socket after finish. A peer that can be told why is told
// first, once the write pump has ended, within writeWait, and has closeWait to
// answer.
func (c *Client) hangUp() {
	if c.code != websocket.CloseAbnormalClosure {
		select {
		case <-c.writeEnded:
			sendClose(c.conn, c.code, c.reason)
			select {
			case <-c.readEnded:
			case <-time.After(closeWait):
			}
		case <-time.After(writeWait): // the peer takes what is queued too slowly
		}
	}
	c.conn.Close()
}

// sendClose sends a close frame. An error is no news: gorilla has sent one
// already (its answer to the peer's, 1002 or 1009), or the peer is gone.
func sendClose(conn *websocket.Conn, code int, reason string) {
	conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWait))
}

// finished reports whether the connection has ended.
func (c *Client) finished() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Send queues m for this peer alone. It does not block: a peer whose queue is full is
// too slow, and is cut off. Broadcasts do not go through the queue, so m may come
// before or after those of the same moment.
func (c *Client) Send(m *Message) error {
	if c.finished() {
		return ErrFinished
	}
	select {
	case c.send <- m:
		return nil
	default:
		c.finish(websocket.CloseAbnormalClosure, ErrTooSlow.Error())
		return ErrTooSlow
	}
}

// readPump is the one reader of the connection.
func (c *Client) readPump() {
	defer close(c.readEnded)
	err := c.guard("read pump", c.readMessages)
	c.finish(closeStatus(err))

	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		// The peer may still be sending. A socket that is closed with bytes unread
		// is reset, and the reset can overtake our close frame. So read them away,
		// until the peer hangs up or hangUp closes the socket.
		c.conn.SetReadDeadline(time.Time{}) // hangUp bounds it instead
		io.Copy(io.Discard, c.conn.NetConn())
	}
}

// readMessages hands on each message until the connection fails or the peer
// closes it. After finish it reads on, for the peer's close frame, but hands
// on nothing more.
func (c *Client) readMessages() error {
	c.conn.SetReadLimit(maxMessageSize)
	c.conn.SetPongHandler(func(string) error {
		c.pace(c.pacer, 1)
		return c.expectLife()
	})
	c.conn.SetPingHandler(func(payload string) error {
		c.pace(c.pacer, 1)
		err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait))
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return fmt.Errorf("pong: %w", err)
		}
		return c.expectLife()
	})

	c.join(c)
	for {
		if err := c.expectLife(); err != nil {
			return err
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if kind == websocket.TextMessage && !utf8.Valid(data) {
			return errNotUTF8
		}
		c.pace(c.pacer, 1)
		if !c.finished() {
			c.handle(c, &Message{Type: kind, Data: data})
		}
	}
}

// expectLife gives the peer another pongWait to show a sign of life.
func (c *Client) expectLife() error {
	return c.conn.SetReadDeadline(time.Now().Add(pongWait))
}

// writePump is the one writer of messages and pings.
func (c *Client) writePump() {
	defer close(c.writeEnded)
	err := c.guard("write pump", c.writeMessages)
	// After ErrCloseSent the read pump is about to say why the connection ends.
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.finish(closeStatus(err))
	}
	if errors.Is(err, errFellBehind) {
		c.conn.Close() // also after a finish: who has lost something is not told goodbye
	}
}

// writeMessages writes what is broadcast and what is queued, one frame a message,
// and a ping each pingPeriod, until a write fails or the connection is finished.
// After each batch it looks at all of them, so that none waits for the others.
func (c *Client) writeMessages() error {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	for {
		more, err := c.writeNext()
		if err != nil {
			return err
		}
		select {
		case <-more:
		case m := <-c.send:
			if err := c.write(m.Type, m.Data); err != nil {
				return err
			}
		case <-ping.C:
			if err := c.write(websocket.PingMessage, nil); err != nil {
				return err
			}
		case <-c.done:
			return c.flush()
		}
	}
}

// flush writes what was broadcast and what was queued before the end.
func (c *Client) flush() error {
	for end := c.cursor.log.End(); c.cursor.Before(end); {
		if _, err := c.writeNext(); err != nil {
			return err
		}
	}
	for {
		select {
		case m := <-c.send:
			if err := c.write(m.Type, m.Data); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// writeNext writes what comes next in the log, in one go and in writeWait at most.
// When there may be more, more is closed.
func (c *Client) writeNext() (more <-chan struct{}, err error) {
	frames, more, err := c.cursor.Next()
	if err != nil || len(frames) == 0 {
		return more, err
	}
	c.conn.NetConn().(*wire).frames = frames
	return more, c.write(websocket.BinaryMessage, nil) // in its place they go out
}

// write writes one frame, in writeWait at most. It belongs to writePump.
func (c *Client) write(kind int, data []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(writeWait))
	if err := c.conn.WriteMessage(kind, data); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// guard calls f and turns a panic into errPanicked and one log record, so that
// it ends this connection and no other.
func (c *Client) guard(where string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic", "where", where, "value", v, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return f()
}

// closeStatus says which close code tells the peer about err.
func closeStatus(err error) (code int, reason string) {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return closed.Code, closed.Text
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errFellBehind) {
		return websocket.CloseAbnormalClosure, err.Error()
	}
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return websocket.CloseMessageTooBig, "message is too big"
	case errors.Is(err, errNotUTF8):
		return websocket.CloseInvalidFramePayloadData, err.Error()
	case errors.Is(err, errPanicked):
		return websocket.CloseInternalServerErr, "internal error"
	}
	return websocket.CloseProtocolError, err.Error()
}
