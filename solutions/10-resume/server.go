package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// defaultPorts says by scheme which port is left out of an origin. Browsers leave it
// out of the Host header too; other clients and proxies may not.
var defaultPorts = map[string]string{"http": ":80", "https": ":443"}

// handshakeTimeout is how long a handshake may take.
const handshakeTimeout = 5 * time.Second

// shutdownRetry is what a handshake during shutdown is told to wait: by then
// another process should answer.
const shutdownRetry = 5 * time.Second

// shuttingDown is the reason that peers are told during shutdown.
const shuttingDown = "server is shutting down"

// cutWait is how long connections may take to end when their sockets have been
// closed. Only a hook, or a handshake, can take longer.
const cutWait = time.Second

// Config says how a Server behaves. Its zero value serves pages of the same
// host, without limits and without a log.
type Config struct {
	// Origins lists the origins ("https://chat.example.com") whose pages may
	// connect, beside those of the host that the server itself is reached by.
	Origins []string

	// AnyOrigin lets pages of every origin in. For development only: with it,
	// any page that a user visits can act as that user.
	AnyOrigin bool

	// Log gets the server's records; nil discards them.
	Log *slog.Logger

	// Authenticate says who sent r, before the upgrade; nil lets everybody in. An
	// error is answered with 401.
	Authenticate func(r *http.Request) (user string, err error)

	// OnJoin is called for each new client, before its first message.
	// OnMessage is called for each message; nil broadcasts it. The calls for one
	// client come one after the other, those for different clients at the same
	// time. Their context is done when the client's connection has ended. A panic
	// in one ends that connection and no other.
	OnJoin    func(context.Context, *Client)
	OnMessage func(context.Context, *Client, *Message)

	// Limits bounds what peers may ask for. Start from DefaultLimits.
	Limits Limits
}

// Server is an [http.Handler] that upgrades requests to WebSocket connections
// and serves them.
type Server struct {
	cfg      Config
	upgrader websocket.Upgrader
	hub      *Hub
	gate     *gate
	open     atomic.Int64 // connections, from before the upgrade
	hooks    atomic.Int64 // calls of OnJoin and OnMessage that are under way
}

// NewServer returns a server for cfg.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, hub: NewHub(), gate: newGate(cfg.Limits)}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: handshakeTimeout,
		ReadBufferSize:   1024,
		WriteBufferSize:  1024,
		WriteBufferPool:  new(sync.Pool), // a connection borrows a buffer for each write
		CheckOrigin:      s.checkOrigin,
	}
	return s
}

// ServeHTTP upgrades the request and returns; the connection lives on in a
// goroutine of its own, so that net/http can let go of all that the handshake
// needed. Shutdown waits for it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.hub.Enter() {
		refuse(w, http.StatusServiceUnavailable, shutdownRetry)
		return
	}
	served := false
	defer func() {
		if !served {
			s.hub.Leave()
		}
	}()

	addr := clientAddr(r, s.cfg.Limits.TrustedProxies)
	log := s.cfg.Log.With("addr", addr, "remote", r.RemoteAddr)
	host, wait := s.gate.enter(addr)
	if wait > 0 {
		host.logFailed(log, "over the limits of its address")
		refuse(w, http.StatusTooManyRequests, wait)
		return
	}
	s.open.Add(1)
	defer func() {
		if !served {
			s.open.Add(-1)
			s.gate.leave(addr)
		}
	}()
	if most := s.cfg.Limits.MaxConnections; most > 0 && s.open.Load() > int64(most) {
		host.logFailed(log, "over the limit of all connections")
		refuse(w, http.StatusServiceUnavailable, slotRetry)
		return
	}

	user := ""
	if s.cfg.Authenticate != nil {
		var err error
		if user, err = s.cfg.Authenticate(r); err != nil {
			host.logFailed(log, err)
			w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2
			w.Header().Set("Connection", "close")
			http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
			return
		}
		log = log.With("user", user)
	}

	cursor, hello, err := s.hub.log.Begin(r.URL.RawQuery)
	if err != nil {
		host.logFailed(log, err)
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	conn, err := s.upgrader.Upgrade(wiring{w}, r, nil)
	if err != nil {
		// Upgrade has answered the request already.
		host.logFailed(log, err)
		return
	}
	c := newClient(conn, log, cursor)
	c.User, c.hello = user, hello
	c.join, c.handle = s.join, s.handle
	c.pacer = newLimiter(s.cfg.Limits.MessageRate, messageBurst)
	conn.NetConn().(*wire).limit(host.bytes.Burst(), func(n int) { c.pace(host.bytes, n) })
	s.hub.Add(c)
	if s.hub.Closed() {
		c.finish(websocket.CloseGoingAway, shuttingDown) // Close may have come before Add
	}
	served = true
	go func() {
		defer s.hub.Leave()
		defer s.gate.leave(addr)
		defer s.open.Add(-1)
		s.serve(c)
	}()
}

// serve serves c, which is in the hub, from start to end.
func (s *Server) serve(c *Client) {
	defer s.hub.Remove(c)
	c.run()
	c.log.Info("disconnected", "code", c.code, "reason", c.reason)
}

// join is called for each new client.
func (s *Server) join(c *Client) {
	if s.cfg.OnJoin != nil {
		s.hooks.Add(1)
		defer s.hooks.Add(-1)
		s.cfg.OnJoin(c.ctx, c)
	}
}

// handle is called for each message from a client.
func (s *Server) handle(c *Client, m *Message) {
	if s.cfg.OnMessage != nil {
		s.hooks.Add(1)
		defer s.hooks.Add(-1)
		s.cfg.OnMessage(c.ctx, c, m)
		return
	}
	if err := s.hub.Broadcast(m); err != nil && !c.finished() {
		c.log.Error("not broadcast", "err", err)
	}
}

// Online returns the number of connected clients.
func (s *Server) Online() int { return s.hub.Len() }

// Shutdown sends every peer what is queued for it and then a close frame with
// 1001. It returns nil when the last connection has ended. If ctx is done
// earlier it closes the sockets that are left, and returns an error that wraps
// ctx.Err(), at most cutWait later: it does not wait for a hook that does not
// return. From the call on handshakes get 503. It may be called more than once,
// and from several goroutines.
func (s *Server) Shutdown(ctx context.Context) error {
	s.hub.Close(websocket.CloseGoingAway, shuttingDown)

	ended := make(chan struct{})
	go func() {
		s.hub.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	cut := s.hub.Cut()
	select {
	case <-ended:
		if cut == 0 {
			return nil
		}
	case <-time.After(cutWait):
	}
	return fmt.Errorf("shutdown: %d connections cut, %d hooks still running: %w", cut, s.hooks.Load(), ctx.Err())
}

// refuse answers a handshake with status, and says when to try again.
func refuse(w http.ResponseWriter, status int, retry time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(status), status)
}

// checkOrigin reports whether the page that sent r may connect. Browsers do not
// apply the same-origin policy to WebSockets; they only say in Origin where the
// page came from, and the server decides (RFC 6455, section 10.2).
func (s *Server) checkOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || s.cfg.AnyOrigin {
		return true // not a browser, which could send what it likes; or development
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	trim := func(s string) string { return strings.TrimSuffix(s, defaultPorts[u.Scheme]) }
	if slices.ContainsFunc(s.cfg.Origins, func(o string) bool { return strings.EqualFold(o, trim(origin)) }) {
		return true
	}
	return u.Host != "" && strings.EqualFold(trim(u.Host), trim(r.Host))
}
