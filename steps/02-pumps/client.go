package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// writeWait bounds one write to a peer. A peer that takes longer is finished.
	writeWait = 10 * time.Second

	// pongWait is how long a peer may be silent. Each message from it starts the
	// wait anew.
	pongWait = 60 * time.Second

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

	errNotUTF8 = errors.New("text message is not UTF-8")
)

// Message is one WebSocket message.
type Message struct {
	Type int // websocket.TextMessage or websocket.BinaryMessage
	Data []byte
}

// Client is one connected peer. Send may be called from any goroutine.
type Client struct {
	conn *websocket.Conn // the read pump alone reads; the write pump alone writes messages
	log  *slog.Logger

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
	return &Client{
		conn:       conn,
		log:        log,
		send:       make(chan *Message, sendQueueSize),
		done:       make(chan struct{}),
		readEnded:  make(chan struct{}),
		writeEnded: make(chan struct{}),
	}
}

// run serves the connection until it has ended: when run returns, both pumps
// have returned and the socket is closed.
func (c *Client) run() {
	// TODO(2.1): let the write pump run beside the read pump, and wait for its end.
	c.log.Info("connected") // not before: a log may be slow, and the peer is sent to already
	c.readPump()
}

// finish ends the connection and says why; the first call counts. The peer is
// told code and reason, unless code is CloseAbnormalClosure: 1006 is never sent
// (RFC 6455, section 7.4.1) and means that there is nobody to tell. A reason has
// at most 123 bytes. finish does not block.
func (c *Client) finish(code int, reason string) {
	// TODO(2.3): both pumps may call this, and one may be blocked in the socket.
	// TODO(2.4): hangUp may wait, and finish may not.
	c.code, c.reason = code, reason
	close(c.done)
}

// hangUp closes the socket after finish. A peer that can be told why is told
// first, once the write pump has ended, and has closeWait to answer.
func (c *Client) hangUp() {
	// TODO(2.4): first tell a peer that can be told.
	// TODO(2.5): then give it the time to hang up.
	c.conn.Close()
}

// sendClose sends a close frame. An error is no news: gorilla has sent one
// already (its answer to the peer's, 1002 or 1009), or the peer is gone.
func sendClose(conn *websocket.Conn, code int, reason string) {
	conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWait))
}

// Send queues m for the peer. While the queue is full it waits.
func (c *Client) Send(m *Message) error {
	// TODO(2.1): leave the writing to the write pump.
	// TODO(2.3): do not wait for room in the queue of a connection that has ended.
	return c.write(m.Type, m.Data)
}

// readPump is the one reader of the connection.
func (c *Client) readPump() {
	defer close(c.readEnded)
	err := c.readMessages()
	c.finish(closeStatus(err))
	// TODO(2.5): let the close frame arrive at a peer that is still sending.
}

// readMessages hands on each message until the connection fails or the peer
// closes it.
func (c *Client) readMessages() error {
	// TODO(2.2): bound each read.
	// TODO(2.4): end with errNotUTF8 at text that is not UTF-8.
	// TODO(2.5): bound the size of a message.
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		c.handle(c, &Message{Type: kind, Data: data})
	}
}

// expectLife gives the peer another pongWait to show a sign of life.
func (c *Client) expectLife() error {
	// TODO(2.2): let a read that takes longer fail.
	return nil
}

// writePump is the one writer of messages.
func (c *Client) writePump() {
	defer close(c.writeEnded)
	// TODO(2.1): write what is queued.
	// TODO(2.3): if that has failed, say so to the rest of the connection.
}

// writeMessages writes what is queued, one frame a message, until a write fails
// or the connection is finished.
func (c *Client) writeMessages() error {
	// TODO(2.1): and wait, if there is nothing to write.
	return nil
}

// write writes one frame, in writeWait at most. It belongs to writePump.
func (c *Client) write(kind int, data []byte) error {
	// TODO(2.2): bound the write.
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
