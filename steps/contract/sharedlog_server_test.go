package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// logServer is the [http.Handler] of the WebSocket.
type logServer struct {
	cfg       Config
	rules     *chatServer // reads origins and addresses; nothing else of it is used
	upgrader  websocket.Upgrader
	addresses *addressBook
	door      *door
	log       *sharedLog

	wired context.Context // until a Shutdown runs out of time
	cut   context.CancelFunc
}

func newLogServer(cfg Config) *logServer {
	s := &logServer{cfg: cfg, rules: &chatServer{cfg: cfg}, door: &door{empty: make(chan struct{})}, log: newSharedLog()}
	s.addresses = &addressBook{limitsOf(cfg), newShards[netip.Prefix, *address]()}
	s.upgrader = websocket.Upgrader{HandshakeTimeout: handshakeTimeout, CheckOrigin: s.rules.mayConnect}
	s.wired, s.cut = context.WithCancel(context.Background())
	return s
}

// ServeHTTP serves a connection from its handshake to its end.
func (s *logServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.door.enter() {
		refuse(w, http.StatusServiceUnavailable, retryElsewhere)
		return
	}
	defer s.door.leave()
	from := s.rules.countsFor(r)
	if wait := s.addresses.enter(from); wait > 0 {
		refuse(w, http.StatusTooManyRequests, wait)
		return
	}
	defer s.addresses.leave(from)
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Log.Debug("not upgraded", "from", from, "err", err)
		return
	}

	id := uuid.NewString()
	c := &logClient{
		id: id, conn: conn, log: s.cfg.Log.With("reader", id), deaf: make(chan struct{}),
		pace: limiterFor(limitsOf(s.cfg).MessageRate, messagesAtOnce),
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	s.log.join(c)
	defer s.log.leave(c)
	c.log.Debug("connected", "from", from)
	c.serve(s)
	c.log.Debug("gone", "why", context.Cause(c.ctx))
}

// Shutdown ends all connections in order; those that are left when ctx is done
// without further words.
func (s *logServer) Shutdown(ctx context.Context) error {
	s.door.shut()
	s.log.close()
	return drained(ctx, s.door.empty, func() (left int) {
		left = s.log.online()
		s.cut()
		return left
	})
}

// logClient is one connection. Its handler writes, and one more goroutine reads.
type logClient struct {
	id   string
	conn *websocket.Conn
	log  *slog.Logger
	pace *rate.Limiter
	deaf chan struct{} // closed when nothing more is read

	ctx context.Context         // until the connection has ended; the cause says why, see closeErrorOf
	end context.CancelCauseFunc // the first call counts

	// Guarded by the mu of the log:
	next    int      // the number of the message that comes next
	letters []letter // for this client alone
}

func (c *logClient) why() *websocket.CloseError { return closeErrorOf(context.Cause(c.ctx)) }

// told reports whether the peer is told why.
func (c *logClient) told() bool { return c.why().Code != websocket.CloseAbnormalClosure }

// serve returns when nobody reads or writes any more, and the socket is closed.
func (c *logClient) serve(s *logServer) {
	hangUp := func() { c.conn.Close() } // which also ends a write that the peer does not take
	defer context.AfterFunc(s.wired, hangUp)()
	context.AfterFunc(c.ctx, func() {
		if !c.told() {
			hangUp()
		}
	})
	go c.listen(s)
	written := inWriteWait(c.ctx, c.conn)
	err := c.contain(func() error { return c.write(s.log) })
	written()
	if err != nil && err != websocket.ErrCloseSent { // then listen is about to say why
		c.end(err)
	}
	<-c.ctx.Done()
	if c.told() && c.contain(c.sayGoodbye) == nil {
		select {
		case <-c.deaf:
		case <-time.After(closeWait):
		}
	}
	hangUp()
	<-c.deaf
}

// write writes what the log has for the client, and a ping each pingPeriod, until
// there will be nothing more.
func (c *logClient) write(l *sharedLog) error {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	for more := true; more; {
		m := &chatMessage{kind: websocket.PingMessage}
		select {
		case <-ping.C:
		case <-l.ready(c):
			m, more = l.take(c)
		case <-c.ctx.Done():
			m, more = l.take(c)
		}
		if m == nil {
			continue
		}
		c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.conn.WriteMessage(m.kind, m.data); err != nil {
			return err
		}
	}
	return nil
}

func (c *logClient) sayGoodbye() error {
	frame := websocket.FormatCloseMessage(c.why().Code, c.why().Text)
	err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// listen reads until the socket gives no more.
func (c *logClient) listen(s *logServer) {
	defer close(c.deaf)
	err := c.contain(func() error { return c.read(s) })
	c.end(err)
	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		c.conn.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, c.conn.NetConn()) // bytes unread would reset it, and the close frame could be lost
	}
}

func (c *logClient) read(s *logServer) error {
	alive := func() error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) }
	c.conn.SetReadLimit(maxMessageSize)
	heard := func(string) error {
		c.pace.Wait(c.ctx) // at the end of ctx nothing is paced
		return alive()
	}
	answer := c.conn.PingHandler() // gorilla's, which drops a pong that cannot go out within a second
	c.conn.SetPongHandler(heard)
	c.conn.SetPingHandler(func(payload string) error { return errors.Join(answer(payload), heard("")) })
	if s.cfg.OnJoin != nil {
		s.cfg.OnJoin(c.ctx, c.id)
	}
	for {
		if err := alive(); err != nil {
			return err
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return err
		}
		if kind == websocket.TextMessage && !utf8.Valid(data) {
			return errNotUTF8
		}
		switch err := c.pace.Wait(c.ctx); {
		case err != nil: // it has ended: only the close frame is of interest
		case s.cfg.OnMessage != nil:
			s.cfg.OnMessage(c.ctx, c.id, string(data))
		default:
			s.log.add(chatMessage{kind, data})
		}
	}
}

// contain turns a panic in f into an error of this connection.
func (c *logClient) contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// web returns the program's HTTP server.
func (s *logServer) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"online":%d}`, s.log.online())
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeTimeout,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError),
	}
}
