package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
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

	// sendQueueSize is how many messages may wait for one peer.
	sendQueueSize = 256
)

var (
	// ErrFinished says that a message was not queued: the connection has ended.
	ErrFinished = errors.New("connection is finished")

	// ErrTooSlow says that a message was not queued: the send queue was full.
	ErrTooSlow = errors.New("send queue is full")

	errNotUTF8 = errors.New("text message is not UTF-8")
)

// Message is one WebSocket message. All receivers of a broadcast share it, so
// nobody may change it.
type Message struct {
	Type int // websocket.TextMessage or websocket.BinaryMessage
	Data []byte
}

// Client is one connected peer. Send may be called from any goroutine.
type Client struct {
	ID   string          // a UUID, new for each connection
	conn *websocket.Conn // the read pump alone reads; the write pump alone writes messages and pings
	log  *slog.Logger    // adds the ID to each record

	handle func(*Client, *Message) // called by the read pump for each message

	send chan *Message // filled by Send, emptied by the write pump; never closed: done ends it
	done chan struct{} // closed once, by finish

	finishOnce sync.Once
	code       int    // set by finish before it closes done
	reason     string // likewise

	pumps      sync.WaitGroup // the write pump and hangUp
	readEnded  chan struct{}  // closed by the read pump when nothing more will be read
	writeEnded chan struct{}  // closed by the write pump when nothing more will be written
}

// newClient returns the client for a fresh connection.
func newClient(conn *websocket.Conn, log *slog.Logger) *Client {
	id := uuid.NewString()
	return &Client{
		ID:         id,
		conn:       conn,
		log:        log.With("id", id),
		send:       make(chan *Message, sendQueueSize),
		done:       make(chan struct{}),
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
		c.pumps.Go(c.hangUp)
	})
}

// hangUp closes the socket after finish. A peer that can be told why is told
// first, once the write pump has ended, and has closeWait to answer.
func (c *Client) hangUp() {
	if c.code != websocket.CloseAbnormalClosure {
		<-c.writeEnded // TODO(6.5): but no longer than writeWait, now that it may flush a whole queue.
		sendClose(c.conn, c.code, c.reason)
		select {
		case <-c.readEnded:
		case <-time.After(closeWait):
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

// Send queues m for the peer. It does not block: a peer whose queue is full is
// too slow, and is cut off.
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
	err := c.readMessages()
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
		return c.expectLife()
	})
	c.conn.SetPingHandler(func(payload string) error {
		err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait))
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return fmt.Errorf("pong: %w", err)
		}
		return c.expectLife()
	})

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
	err := c.writeMessages()
	// After ErrCloseSent the read pump is about to say why the connection ends.
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.finish(closeStatus(err))
	}
}

// writeMessages writes what is queued, one frame a message, and a ping each
// pingPeriod, until a write fails or the connection is finished.
func (c *Client) writeMessages() error {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	for {
		select {
		case m := <-c.send:
			if err := c.write(m.Type, m.Data); err != nil {
				return err
			}
		case <-ping.C:
			if err := c.write(websocket.PingMessage, nil); err != nil {
				return err
			}
		case <-c.done:
			// TODO(6.2): flush.
			return nil
		}
	}
}

// flush writes what was queued before the end.
func (c *Client) flush() error {
	// TODO(6.2): write until the queue is empty. Do not wait for more.
	return nil
}

// write writes one frame, in writeWait at most. It belongs to writePump.
func (c *Client) write(kind int, data []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(writeWait))
	if err := c.conn.WriteMessage(kind, data); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// closeStatus says which close code tells the peer about err.
func closeStatus(err error) (code int, reason string) {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return closed.Code, closed.Text
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return websocket.CloseAbnormalClosure, err.Error()
	}
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return websocket.CloseMessageTooBig, "message is too big"
	case errors.Is(err, errNotUTF8):
		return websocket.CloseInvalidFramePayloadData, err.Error()
	}
	return websocket.CloseProtocolError, err.Error()
}
