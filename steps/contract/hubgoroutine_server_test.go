package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

const (
	retryElsewhere = 5 * time.Second // during shutdown: until another process answers
	retrySlot      = 5 * time.Second // at the cap
	drainTime      = 15 * time.Second
)

// chatServer is the [http.Handler] of the WebSocket.
type chatServer struct {
	cfg      Config
	limits   Limits
	hub      *chatHub
	upgrader websocket.Upgrader

	all context.Context // of all clients; ends when cut is called
	cut context.CancelCauseFunc
}

func newChatServer(cfg Config) *chatServer {
	s := &chatServer{cfg: cfg, limits: limitsOf(cfg), hub: newChatHub(limitsOf(cfg))}
	s.upgrader = websocket.Upgrader{HandshakeTimeout: handshakeTimeout, CheckOrigin: s.mayConnect}
	s.all, s.cut = context.WithCancelCause(context.Background())
	return s
}

// ServeHTTP serves a connection from its handshake to its end.
func (s *chatServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) { // which gorilla does not look at
		http.Error(w, "WebSockets need HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	from := s.countsFor(r)
	if no := s.hub.mayEnter(from); no.status != 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.retry.Seconds()))))
		http.Error(w, http.StatusText(no.status), no.status)
		return
	}
	defer func() { s.hub.release <- from }()
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Log.Info("no upgrade", "from", from, "err", err)
		return
	}

	id := uuid.NewString()
	c := &chatClient{
		id: id, conn: conn, log: s.cfg.Log.With("client", id),
		queued: make(chan chatMessage, sendQueueSize),
		pace:   limiterFor(s.limits.MessageRate, messagesAtOnce),
		read:   make(chan struct{}), written: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancelCause(s.all)
	c.log.Info("joined", "from", from)
	s.hub.register <- c
	defer func() { s.hub.unregister <- c }()

	var pumps sync.WaitGroup
	pumps.Go(func() { c.readPump(s) })
	pumps.Go(c.writePump)
	<-c.ctx.Done()
	if c.why().Code != websocket.CloseAbnormalClosure {
		select {
		case <-c.written:
		case <-s.all.Done():
		}
		select {
		case <-c.read:
		case <-time.After(closeWait):
		case <-s.all.Done():
		}
	}
	conn.Close()
	pumps.Wait()
	c.log.Info("left", "code", c.why().Code, "reason", c.why().Text)
}

// Shutdown ends all connections in order, and the hub; those that are left when
// ctx is done without further words.
func (s *chatServer) Shutdown(ctx context.Context) error {
	tell(s.hub, s.hub.shutdown, struct{}{})
	return drained(ctx, s.hub.ended, func() (left int) {
		left = s.hub.online()
		s.cut(errCut)
		return left
	})
}

// mayConnect reports whether the page that sent r may connect.
func (s *chatServer) mayConnect(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if s.cfg.AnyOrigin || origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme] // the default one, which counts as none
	if slices.Contains(s.cfg.Origins, strings.TrimSuffix(origin, port)) {
		return true
	}
	return u.Host != "" && strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port))
}

// countsFor returns the address that r counts for.
func (s *chatServer) countsFor(r *http.Request) netip.Prefix {
	addr, _ := addrIn(r.RemoteAddr) // invalid, and shared, if there is none to read
	trusted := func(p netip.Prefix) bool { return p.Contains(addr) }
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && slices.ContainsFunc(s.cfg.TrustedProxies, trusted); i-- {
		hop, ok := addrIn(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		addr = hop
	}
	from, _ := addr.Prefix(min(addr.BitLen(), 64))
	return from
}

// addrIn reads an address, with or without brackets and a port.
func addrIn(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap(), err == nil
}

// chatMessage is shared by all who receive it: nobody may change its data.
type chatMessage struct {
	kind int
	data []byte
}

// chatClient is one connection. It lasts until ctx is cancelled; the cause is
// always a *websocket.CloseError, and 1006 means that the peer need not be told.
type chatClient struct {
	id     string
	conn   *websocket.Conn
	log    *slog.Logger
	queued chan chatMessage // from the hub to the write pump; never closed
	pace   *rate.Limiter

	ctx     context.Context
	cancel  context.CancelCauseFunc
	read    chan struct{} // closed at the end of readPump
	written chan struct{} // closed at the end of writePump
}

// queue belongs to the hub.
func (c *chatClient) queue(m chatMessage) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	select {
	case c.queued <- m:
		return nil
	default:
		c.cancel(errTooSlow)
		return errTooSlow
	}
}

// why returns why the connection has ended.
func (c *chatClient) why() *websocket.CloseError { return closeErrorOf(context.Cause(c.ctx)) }

func (c *chatClient) readPump(s *chatServer) {
	defer close(c.read)
	err := c.contain(func() error { return c.readMessages(s) })
	c.cancel(closeErrorOf(err))
	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		// The peer may still send. Bytes unread at the end would reset the
		// connection, and the close frame could be lost.
		c.conn.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, c.conn.NetConn())
	}
}

func (c *chatClient) readMessages(s *chatServer) error {
	alive := func() error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) }
	c.conn.SetReadLimit(maxMessageSize)
	c.conn.SetPongHandler(func(string) error {
		c.pace.Wait(c.ctx) // at the end of ctx nothing is paced
		return alive()
	})
	c.conn.SetPingHandler(func(payload string) error {
		c.pace.Wait(c.ctx)
		err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait/2))
		if err != nil && err != websocket.ErrCloseSent {
			return err
		}
		return alive()
	})

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
			tell(s.hub, s.hub.broadcast, chatMessage{kind, data})
		}
	}
}

// writePump writes what is queued, and in the end the close frame.
func (c *chatClient) writePump() {
	defer close(c.written)
	written := inWriteWait(c.ctx, c.conn)
	err := c.contain(c.writeMessages)
	written()
	if err != nil && err != websocket.ErrCloseSent {
		c.cancel(closeErrorOf(err))
	}
	<-c.ctx.Done() // after ErrCloseSent the read pump is about to say why
	if why := c.why(); why.Code != websocket.CloseAbnormalClosure {
		frame := websocket.FormatCloseMessage(why.Code, why.Text)
		err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait))
		if err != nil && err != websocket.ErrCloseSent {
			c.conn.Close() // there will be no answer to wait for
		}
	}
}

func (c *chatClient) writeMessages() error {
	write := func(m chatMessage) error {
		c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		return c.conn.WriteMessage(m.kind, m.data)
	}
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	for c.ctx.Err() == nil {
		var err error
		select {
		case m := <-c.queued:
			err = write(m)
		case <-ping.C:
			err = write(chatMessage{kind: websocket.PingMessage})
		case <-c.ctx.Done():
		}
		if err != nil {
			return err
		}
	}
	for {
		select {
		case m := <-c.queued:
			if err := write(m); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// contain turns a panic in f into an error of this connection.
func (c *chatClient) contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic", "value", v, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// closeErrorOf says what an error means to the peer.
func closeErrorOf(err error) *websocket.CloseError {
	if told, ok := errors.AsType[*websocket.CloseError](err); ok {
		return told
	}
	code, text := websocket.CloseProtocolError, err.Error()
	if _, ok := errors.AsType[net.Error](err); ok {
		return errPeerGone
	}
	switch err {
	case websocket.ErrReadLimit:
		code, text = websocket.CloseMessageTooBig, "the message is too big"
	case errNotUTF8:
		code = websocket.CloseInvalidFramePayloadData
	case errPanic:
		code, text = websocket.CloseInternalServerErr, "internal error"
	}
	return &websocket.CloseError{Code: code, Text: text}
}

// web returns the program's HTTP server.
func (s *chatServer) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"online":%d}`, s.hub.online())
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeTimeout,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
}
