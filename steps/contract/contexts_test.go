package contract

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// TestContexts holds a server of one more design to all contracts: contexts tie it
// together. The end of one begins the drain, the end of another cuts the sockets,
// and each client has its own, whose cause is why its connection ends. It also uses
// other parts of gorilla than the workshop does. A contract that fails it judges how
// a server is built, and not what it does.
func TestContexts(t *testing.T) {
	Run(t, 8, func(cfg Config) Server {
		s := newCtxServer(cfg)
		return Server{
			HTTP: s.web(),
			Main: program(newCtxServer),
			Send: func(id, text string) error { return s.send(id, websocket.TextMessage, []byte(text)) },
			Broadcast: func(text []byte) error {
				s.broadcast(websocket.TextMessage, text)
				return nil
			},
			Shutdown: s.Shutdown,
		}
	})
}

// ctxGroup is a set of goroutines that end together, in the manner of
// golang.org/x/sync/errgroup: the first error ends the context of all, and is the
// cause of its end.
type ctxGroup struct {
	ctx    context.Context
	cancel context.CancelCauseFunc // the first call counts
	all    sync.WaitGroup
}

// newCtxGroup returns a group that ends with parent, at the latest.
func newCtxGroup(parent context.Context) *ctxGroup {
	g := new(ctxGroup)
	g.ctx, g.cancel = context.WithCancelCause(parent)
	return g
}

// Go runs f in a goroutine of the group.
func (g *ctxGroup) Go(f func(context.Context) error) {
	g.all.Go(func() {
		if err := f(g.ctx); err != nil {
			g.cancel(err)
		}
	})
}

// Wait waits until all have returned. It returns the first error, or the cause of
// the parent's end if that came first.
func (g *ctxGroup) Wait() error {
	g.all.Wait()
	defer g.cancel(nil)
	return context.Cause(g.ctx)
}

// Why a connection ends, if neither the network nor gorilla says so.
var (
	errDraining = errors.New("the server is draining")
	errSilent   = errors.New("nothing was heard of the peer for too long")
	errSlow     = errors.New("too many messages wait for the peer")
	errTooBig   = errors.New("the message is larger than allowed")
)

// farewell returns the content of the close frame that tells the peer why, or nil
// if there is nobody to tell.
func farewell(why error) []byte {
	closed, _ := errors.AsType[*websocket.CloseError](why)
	_, failed := errors.AsType[net.Error](why)
	switch {
	case failed, websocket.IsCloseError(why, websocket.CloseAbnormalClosure),
		errors.Is(why, errSilent), errors.Is(why, errSlow):
		return nil
	case closed != nil:
		return websocket.FormatCloseMessage(closed.Code, "")
	case errors.Is(why, errDraining):
		return websocket.FormatCloseMessage(websocket.CloseGoingAway, why.Error())
	case errors.Is(why, errTooBig):
		return websocket.FormatCloseMessage(websocket.CloseMessageTooBig, why.Error())
	case errors.Is(why, errNotUTF8):
		return websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, why.Error())
	case errors.Is(why, errPanic):
		return websocket.FormatCloseMessage(websocket.CloseInternalServerErr, "")
	}
	return websocket.FormatCloseMessage(websocket.CloseProtocolError, "")
}

// ctxClient is one connection. Two goroutines serve it: listen alone reads, and
// speak alone writes messages and pings.
type ctxClient struct {
	id     string
	server *ctxServer
	conn   *websocket.Conn
	log    *slog.Logger
	talk   *ctxGroup                       // its context ends when the connection shall end, or cannot go on
	queue  chan *websocket.PreparedMessage // from send to speak; never closed
	pace   *rate.Limiter                   // of listen
}

// run serves the connection and returns why it has ended.
func (c *ctxClient) run() error {
	defer c.hangUp()
	stop := context.AfterFunc(c.server.wired, c.hangUp)
	defer stop() // the server, which lasts, would keep c
	context.AfterFunc(c.talk.ctx, func() {
		if farewell(context.Cause(c.talk.ctx)) == nil {
			c.hangUp()
		}
	})
	c.talk.Go(c.listen)
	c.talk.Go(c.speak)
	return c.talk.Wait()
}

// hangUp closes the socket, which ends the reads and writes that block. It may be
// called more than once.
func (c *ctxClient) hangUp() { c.conn.Close() }

// send queues a message. It does not wait: a peer whose queue is full is too slow.
func (c *ctxClient) send(m *websocket.PreparedMessage) error {
	if c.talk.ctx.Err() != nil {
		return context.Cause(c.talk.ctx)
	}
	select {
	case c.queue <- m:
		return nil
	default:
		c.talk.cancel(errSlow)
		return errSlow
	}
}

// listen reads until the peer has sent a close frame, or the socket gives no more.
func (c *ctxClient) listen(ctx context.Context) error {
	err := c.contain(ctx, c.hear)
	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		c.talk.cancel(err)
		// The peer may still be sending. A socket that is closed with bytes unread
		// is reset, and the reset can overtake our close frame.
		io.Copy(io.Discard, c.conn.NetConn())
	}
	return err
}

// hear hands on what the peer says. After the end of ctx it reads on, for the
// peer's close frame, and hands on nothing more.
func (c *ctxClient) hear(ctx context.Context) error {
	if c.server.cfg.OnJoin != nil {
		c.server.cfg.OnJoin(ctx, c.id)
	}
	silence := time.AfterFunc(pongWait, func() { c.talk.cancel(errSilent) })
	defer silence.Stop()
	// heard handles a frame. Meanwhile nobody listens, so the peer is not silent.
	heard := func(handle func() error) error {
		silence.Stop()
		defer silence.Reset(pongWait)
		c.pace.Wait(ctx) // its error says that ctx has ended, and nothing is paced any more
		return handle()
	}
	c.conn.SetPongHandler(func(string) error {
		return heard(func() error { return nil })
	})
	c.conn.SetPingHandler(func(payload string) error {
		return heard(func() error { return c.answerPing(payload) })
	})
	for {
		kind, r, err := c.conn.NextReader()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(r, maxMessageSize+1))
		switch {
		case err != nil:
			return err
		case len(data) > maxMessageSize:
			return errTooBig
		case kind == websocket.TextMessage && !utf8.Valid(data):
			return errNotUTF8
		}
		if err := heard(func() error { return c.handOn(ctx, kind, data) }); err != nil {
			return err
		}
	}
}

func (c *ctxClient) answerPing(payload string) error {
	err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

func (c *ctxClient) handOn(ctx context.Context, kind int, data []byte) error {
	if ctx.Err() != nil {
		return nil
	}
	if c.server.cfg.OnMessage != nil {
		c.server.cfg.OnMessage(ctx, c.id, string(data))
		return nil
	}
	return c.server.broadcast(kind, data)
}

// speak writes until the end of ctx, and then takes leave of the peer.
func (c *ctxClient) speak(ctx context.Context) error {
	written := inWriteWait(ctx, c.conn)
	err := c.contain(ctx, c.write)
	written()
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.talk.cancel(err)
	}
	<-ctx.Done() // after ErrCloseSent listen is about to say why
	if c.contain(ctx, c.takeLeave) != nil {
		c.hangUp() // who was not told will not answer
	}
	return err
}

// write writes what is queued, and a ping each pingPeriod. After the end of ctx it
// writes the rest of the queue.
func (c *ctxClient) write(ctx context.Context) error {
	put := func(m *websocket.PreparedMessage) error {
		c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		return c.conn.WritePreparedMessage(m)
	}
	due := time.Now().Add(pingPeriod)
	ping := time.NewTimer(pingPeriod)
	defer ping.Stop()
	for ctx.Err() == nil {
		var err error
		select {
		case m := <-c.queue:
			err = put(m)
		case <-ping.C:
			due = due.Add(pingPeriod) // a ping that is late does not delay the next
			ping.Reset(time.Until(due))
			err = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait))
		case <-ctx.Done():
		}
		if err != nil {
			return err
		}
	}
	for len(c.queue) > 0 {
		if err := put(<-c.queue); err != nil {
			return err
		}
	}
	return nil
}

// takeLeave tells the peer why the connection ends, and gives it closeWait to
// answer.
func (c *ctxClient) takeLeave(ctx context.Context) error {
	frame := farewell(context.Cause(ctx))
	if frame == nil {
		return nil // run has hung up
	}
	err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(writeWait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		return err
	}
	return c.conn.NetConn().SetReadDeadline(time.Now().Add(closeWait))
}

// contain calls f and turns a panic into an error.
func (c *ctxClient) contain(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Warn("recovered", "panic", v, "stack", debug.Stack())
			err = errPanic
		}
	}()
	return f(ctx)
}
