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
	"time"

	"github.com/gorilla/websocket"
)

// handshakeTimeout is how long a handshake may take.
const handshakeTimeout = 5 * time.Second

// shutdownRetry is what a handshake during shutdown is told to wait: by then
// another process should answer.
const shutdownRetry = 5 * time.Second

// shuttingDown is the reason that peers are told during shutdown.
const shuttingDown = "server is shutting down"

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

	// OnJoin is called for each new client, before its first message.
	// OnMessage is called for each message; nil broadcasts it, and calls CatchUp if
	// write pumps are behind, as a hook that broadcasts should. The calls for one
	// client come one after the other, those for different clients at the same time.
	// A panic in one ends that client's connection and no other.
	OnJoin    func(*Client)
	OnMessage func(*Client, *Message)

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
		WriteBufferSize:  maxMessageSize, // so that gorilla makes one Write of a frame
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
	if wait := s.gate.enter(addr); wait > 0 {
		refuse(w, http.StatusTooManyRequests, wait)
		return
	}
	defer func() {
		if !served {
			s.gate.leave(addr)
		}
	}()

	// TODO(9.2): let the upgrade take its connection over from a corker around w.
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		// Upgrade has answered the request already.
		s.cfg.Log.Info("handshake failed", "addr", addr, "err", err)
		return
	}
	c := newClient(conn, s.cfg.Log)
	c.join, c.handle = s.join, s.handle
	c.pacer = newLimiter(s.cfg.Limits.MessageRate, messageBurst)
	s.hub.Add(c)
	if s.hub.Closed() {
		c.finish(websocket.CloseGoingAway, shuttingDown) // Close may have come before Add
	}
	c.log.Info("connected", "addr", addr)
	served = true
	go func() {
		defer s.hub.Leave()
		defer s.gate.leave(addr)
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
		s.cfg.OnJoin(c)
	}
}

// handle is called for each message from a client.
func (s *Server) handle(c *Client, m *Message) {
	if s.cfg.OnMessage != nil {
		s.cfg.OnMessage(c, m)
		return
	}
	if s.hub.Broadcast(m) {
		s.hub.CatchUp()
	}
}

// Online returns the number of connected clients.
func (s *Server) Online() int { return s.hub.Len() }

// Shutdown sends every peer what is queued for it and then a close frame with
// 1001. It returns nil when the last connection has ended. If ctx is done
// earlier it closes the sockets that are left, waits for their goroutines (and so
// for hooks that are still running, and handshakes that are under way), and
// returns an error that wraps ctx.Err().
// From the call on handshakes get 503. It may be called more than once, and from
// several goroutines.
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
	<-ended
	if cut == 0 {
		return nil
	}
	return fmt.Errorf("shutdown: %d connections cut: %w", cut, ctx.Err())
}

// refuse answers a handshake with status, and says when to try again.
func refuse(w http.ResponseWriter, status int, retry time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
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
	if slices.ContainsFunc(s.cfg.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
