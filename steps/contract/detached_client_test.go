package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

var errOver = errors.New("the connection is over")

// detachedClient is one connection, from the upgrade to the end of its second pump.
type detachedClient struct {
	id    string
	from  netip.Prefix
	conn  *websocket.Conn
	log   *slog.Logger
	tempo *rate.Limiter // of what the read pump reads

	mu     sync.Mutex      // guards the way into queue and control
	ctx    context.Context // done when control has been told: queue takes nothing more
	cancel context.CancelFunc

	queue   chan chatMessage           // to the write pump; never closed
	control chan *websocket.CloseError // tells the write pump, once, why the connection ends; 1006: tell nobody
	why     *websocket.CloseError      // what control has told; belongs to the write pump, then to the last pump
	deaf    chan struct{}              // closed by the read pump when it reads no more
	pumps   atomic.Int32               // that have not ended
}

func newDetachedClient(conn *websocket.Conn, from netip.Prefix, s *detachedServer) *detachedClient {
	id := uuid.NewString()
	c := &detachedClient{
		id:      id,
		from:    from,
		conn:    conn,
		log:     s.cfg.Log.With("peer", id),
		tempo:   limiterFor(s.limits.MessageRate, messagesAtOnce),
		queue:   make(chan chatMessage, sendQueueSize),
		control: make(chan *websocket.CloseError, 1),
		deaf:    make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pumps.Store(2)
	return c
}

// send queues m. It does not wait: a peer whose queue is full is cut off.
func (c *detachedClient) send(m chatMessage) (err error) {
	c.mu.Lock()
	switch {
	case c.isOver():
		err = errOver
	case len(c.queue) < cap(c.queue):
		c.queue <- m
	default:
		err = errTooSlow
		c.cancel()
		c.control <- errTooSlow
	}
	c.mu.Unlock()
	if err == errTooSlow {
		c.conn.Close() // ends the write that the peer does not take
	}
	return err
}

// end reports that the connection is over, and why; the first report counts. It does
// not wait. When the peer is not to be told, what the pumps read and write fails now.
func (c *detachedClient) end(why *websocket.CloseError) {
	c.mu.Lock()
	if !c.isOver() {
		c.cancel()
		c.control <- why
	}
	c.mu.Unlock()
	if why.Code == websocket.CloseAbnormalClosure {
		c.conn.Close()
	}
}

func (c *detachedClient) isOver() bool { return c.ctx.Err() != nil }

// pumpEnded is the last call of each pump. The pump that ends last cleans up.
func (c *detachedClient) pumpEnded(s *detachedServer) {
	if c.pumps.Add(-1) == 0 {
		c.log.Debug("goodbye", "code", c.why.Code, "reason", c.why.Text)
		s.leave(c.from, c.id)
	}
}

func (c *detachedClient) readPump(s *detachedServer) {
	defer c.pumpEnded(s)
	defer close(c.deaf)
	err := c.contain(func() error { return c.readMessages(s) })
	c.end(closeErrorOf(err))
	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		c.contain(c.discard)
	}
}

// readMessages hands on what the peer sends, and once the connection is over
// waits for no more than the peer's close frame.
func (c *detachedClient) readMessages(s *detachedServer) error {
	c.conn.SetReadLimit(maxMessageSize)
	c.conn.SetCloseHandler(func(int, string) error { return nil }) // the write pump answers
	c.conn.SetPongHandler(func(string) error {
		c.pace()
		return c.expectLife()
	})
	c.conn.SetPingHandler(func(payload string) error {
		c.pace()
		err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait))
		if err != nil && err != websocket.ErrCloseSent {
			return err
		}
		return c.expectLife()
	})

	if s.cfg.OnJoin != nil {
		s.cfg.OnJoin(c.ctx, c.id)
	}
	for {
		if err := c.expectLife(); err != nil {
			return err
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return err
		}
		if kind == websocket.TextMessage && !utf8.Valid(data) {
			return errNotUTF8
		}
		c.pace()
		switch {
		case c.isOver():
		case s.cfg.OnMessage != nil:
			s.cfg.OnMessage(c.ctx, c.id, string(data))
		default:
			s.broadcast(chatMessage{kind, data})
		}
	}
}

// expectLife gives the peer another pongWait for a sign of life.
func (c *detachedClient) expectLife() error {
	return c.conn.SetReadDeadline(time.Now().Add(pongWait))
}

// pace slows the peer to its rate by not reading on. When the connection is over
// nothing is paced any more.
func (c *detachedClient) pace() { c.tempo.Wait(c.ctx) }

// discard reads away what the peer still sends, until the write pump closes the
// socket. What is unread then would reset the connection, and the close frame could
// be lost.
func (c *detachedClient) discard() error {
	c.conn.SetReadDeadline(time.Time{})
	_, err := io.Copy(io.Discard, c.conn.NetConn())
	return err
}

func (c *detachedClient) writePump(s *detachedServer) {
	defer c.pumpEnded(s)
	defer c.conn.Close()
	written := inWriteWait(c.ctx, c.conn)
	err := c.contain(c.writeMessages)
	written()
	if err != nil && err != websocket.ErrCloseSent { // after which the read pump is about to report
		c.end(closeErrorOf(err))
	}
	if c.why == nil {
		c.why = <-c.control
	}
	if c.why.Code != websocket.CloseAbnormalClosure {
		c.contain(c.sayGoodbye)
	}
}

// writeMessages writes what is queued, and pings, until control says that the
// connection ends. Before the server goes away it writes the rest of the queue, too.
func (c *detachedClient) writeMessages() error {
	ping := time.NewTimer(pingPeriod)
	defer ping.Stop()
	for c.why == nil || (c.why == errGoingAway || c.why.Code == websocket.CloseInternalServerErr) && len(c.queue) > 0 {
		var err error
		select {
		case m := <-c.queue:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			err = c.conn.WriteMessage(m.kind, m.data)
		case <-ping.C:
			ping.Reset(pingPeriod)
			err = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait))
		case c.why = <-c.control:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sayGoodbye sends the close frame, or answers the peer's, and waits until there
// is nothing more to read.
func (c *detachedClient) sayGoodbye() error {
	frame := websocket.FormatCloseMessage(c.why.Code, c.why.Text)
	err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait))
	if err != nil && err != websocket.ErrCloseSent {
		return err // there will be no answer
	}
	select {
	case <-c.deaf:
	case <-time.After(closeWait):
	}
	return nil
}

// contain turns a panic in f into an error of this connection.
func (c *detachedClient) contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Warn("recovered", "panic", fmt.Sprintf("%v\n%s", v, debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}
