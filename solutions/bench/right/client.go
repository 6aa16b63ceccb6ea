package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = 54 * time.Second
	closeWait  = 2 * time.Second
	queueSize  = 256
)

// Why a connection ends, if neither the network nor the library says so.
var (
	errGoingAway = errors.New("the server is going away")
	errTooSlow   = errors.New("too many messages wait for the peer")
	errSilent    = errors.New("nothing was heard of the peer for too long")
	errNotUTF8   = errors.New("the text is not UTF-8")
	errPanic     = errors.New("panic")
)

// message is shared by all who receive it.
type message struct {
	kind websocket.MessageType
	data []byte
}

// client is one connection. Its handler writes, and one more goroutine reads.
type client struct {
	id     string
	server *server
	log    *slog.Logger
	wire   *wire
	conn   *websocket.Conn

	ctx context.Context         // until the connection has ended; its cause says why
	end context.CancelCauseFunc // the first call counts

	queue   chan message  // never closed
	pace    *rate.Limiter // of the reader
	silence *time.Timer   // of the reader: ends a peer that says nothing
	deaf    chan struct{} // closed when the reader has ended
	pings   sync.WaitGroup
}

func newClient(s *server) *client {
	id := uuid.NewString()
	c := &client{
		id:     id,
		server: s,
		log:    s.cfg.log.With("id", id),
		queue:  make(chan message, queueSize),
		pace:   newLimiter(s.cfg.limits.messages, 2),
		deaf:   make(chan struct{}),
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.wire = &wire{failed: c.end}
	return c
}

// send queues m, and does not wait. A peer whose queue is full is cut off.
func (c *client) send(m message) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	select {
	case c.queue <- m:
		return nil
	default:
		c.end(errTooSlow)
		return errTooSlow
	}
}

// serve returns when nobody reads or writes any more, and the socket is closed.
func (c *client) serve() {
	defer context.AfterFunc(c.server.wired, c.wire.hangUp)()
	context.AfterFunc(c.ctx, func() {
		if code, _ := c.farewell(); code == 0 {
			c.wire.hangUp() // which ends a write that the peer does not take
		}
	})
	go func() {
		defer close(c.deaf)
		c.end(c.guard(c.read))
	}()
	written := make(chan struct{})
	context.AfterFunc(c.ctx, func() { // all that is left is to be taken in writeWait
		select {
		case <-written:
		case <-time.After(writeWait):
			c.wire.hangUp()
		}
	})
	err := c.guard(c.write)
	close(written)
	if err != nil {
		c.end(err)
	}
	if code, reason := c.farewell(); code != 0 {
		c.guard(func() error { return c.sayGoodbye(code, reason) })
	}
	c.wire.hangUp()
	<-c.deaf
	c.conn.CloseNow() // ends the pings, too
	c.pings.Wait()
}

// farewell returns what the peer is told at the end, or 0 if there is nobody to
// tell: the library itself has answered a close frame, or the peer is gone.
func (c *client) farewell() (code websocket.StatusCode, reason string) {
	why := context.Cause(c.ctx)
	_, failed := errors.AsType[net.Error](why)
	switch {
	case failed, websocket.CloseStatus(why) != -1, errors.Is(why, io.EOF), errors.Is(why, io.ErrUnexpectedEOF),
		errors.Is(why, net.ErrClosed), errors.Is(why, errTooSlow), errors.Is(why, errSilent):
		return 0, ""
	case errors.Is(why, errGoingAway):
		return websocket.StatusGoingAway, errGoingAway.Error()
	case errors.Is(why, websocket.ErrMessageTooBig):
		return websocket.StatusMessageTooBig, ""
	case errors.Is(why, errNotUTF8):
		return websocket.StatusInvalidFramePayloadData, errNotUTF8.Error()
	case errors.Is(why, errPanic):
		return websocket.StatusInternalError, ""
	}
	return websocket.StatusProtocolError, ""
}

// read hands on what the peer says. After the end of ctx it reads on, for the peer's
// close frame, and hands on nothing more.
func (c *client) read() error {
	cfg := c.server.cfg
	if cfg.onJoin != nil {
		cfg.onJoin(c.ctx, c.id)
	}
	c.silence = time.AfterFunc(pongWait, func() { c.end(errSilent) })
	defer c.silence.Stop()
	for {
		kind, data, err := c.conn.Read(context.Background()) // 32 KiB at most
		switch {
		case err != nil:
			return err
		case kind == websocket.MessageText && !utf8.Valid(data):
			return errNotUTF8
		case !c.heard(c.ctx):
			continue
		}
		c.silence.Stop() // as long as the hook runs nobody listens
		if cfg.onMessage != nil {
			cfg.onMessage(c.ctx, c.id, string(data))
		} else {
			c.server.broadcast(message{kind, data})
		}
		c.silence.Reset(pongWait)
	}
}

// heard takes note of a sign of life, and waits until the peer may send the next. It
// reports whether this one counts: not after the end, and not if a ping, which the
// library gives 5 s, would have to wait longer.
func (c *client) heard(ctx context.Context) bool {
	if c.ctx.Err() != nil {
		return false
	}
	c.silence.Stop()
	defer c.silence.Reset(pongWait)
	return c.pace.Wait(ctx) == nil
}

// write writes what is queued, and a ping each pingPeriod. After the end of ctx it
// writes the rest, if the server is going away or something has panicked.
func (c *client) write() error {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	put := func(m message) error { return c.conn.Write(context.Background(), m.kind, m.data) }
	for c.ctx.Err() == nil {
		var err error
		select {
		case m := <-c.queue:
			err = put(m)
		case <-ping.C:
			c.pings.Go(c.ping)
		case <-c.ctx.Done():
		}
		if err != nil {
			return err
		}
	}
	why := context.Cause(c.ctx)
	for len(c.queue) > 0 && (why == errGoingAway || why == errPanic) {
		if err := put(<-c.queue); err != nil {
			return err
		}
	}
	return nil
}

// ping sends a ping, and waits for the pong, as the library has it. Whether the peer
// is there is for silence to say, and whether the write fails for wire.
func (c *client) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pingPeriod)
	defer cancel()
	if err := c.guard(func() error { return c.conn.Ping(ctx) }); err == errPanic {
		c.end(err)
	}
}

// sayGoodbye sends the close frame, and gives the peer closeWait to answer it. What
// is unread when the socket is closed would reset it, and the frame could be lost.
func (c *client) sayGoodbye(code websocket.StatusCode, reason string) error {
	c.wire.lingers.Store(true)
	defer time.AfterFunc(closeWait, c.wire.hangUp).Stop()
	if code != websocket.StatusMessageTooBig { // which the library has said already
		err := c.conn.Close(code, reason)
		if err == nil || websocket.CloseStatus(err) != -1 {
			return nil // the peer has answered
		}
	}
	_, err := io.Copy(io.Discard, c.wire.Conn)
	return err
}

// guard turns a panic in f into an error of this connection.
func (c *client) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic", "value", v, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}
