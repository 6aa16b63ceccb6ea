package main

import (
	"context"
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
// closed. Only a handshake can take longer.
const cutWait = time.Second

// Config says how a Server behaves. Its zero value serves pages of the same
// host and logs nothing.
type Config struct {
	// Origins lists the origins ("https://chat.example.com") whose pages may
	// connect, beside those of the host that the server itself is reached by.
	Origins []string

	// AnyOrigin lets pages of every origin in. For development only: with it,
	// any page that a user visits can act as that user.
	AnyOrigin bool

	// Log gets the server's records; nil discards them.
	Log *slog.Logger
}

// Server is an [http.Handler] that upgrades requests to WebSocket connections
// and serves them.
type Server struct {
	cfg      Config
	upgrader websocket.Upgrader
	hub      *Hub
}

// NewServer returns a server for cfg.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, hub: NewHub()}
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
	// TODO(6.1): enter the hub. If it is closed, refuse.
	// TODO(6.3): who has entered leaves the hub, once, whatever happens.
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		// Upgrade has answered the request already.
		s.cfg.Log.Info("handshake failed", "addr", r.RemoteAddr, "err", err)
		return
	}
	c := newClient(conn, s.cfg.Log.With("addr", r.RemoteAddr))
	c.handle = s.handle
	s.hub.Add(c)
	// TODO(6.4): Close may have come before Add.
	// TODO(6.3): serve c in a goroutine of its own.
	s.serve(c)
}

// serve serves c, which is in the hub, from start to end.
func (s *Server) serve(c *Client) {
	defer s.hub.Remove(c)
	c.run()
	c.log.Info("disconnected", "code", c.code, "reason", c.reason)
}

// handle is called for each message from a client.
func (s *Server) handle(_ *Client, m *Message) {
	s.hub.Broadcast(m)
}

// Online returns the number of connected clients.
func (s *Server) Online() int { return s.hub.Len() }

// Shutdown sends every peer what is queued for it and then a close frame with
// 1001. It returns nil when the last connection has ended. If ctx is done
// earlier it closes the sockets that are left, and returns an error that wraps
// ctx.Err(), at most cutWait later. From the call on handshakes get 503. It may be
// called more than once, and from several goroutines.
func (s *Server) Shutdown(ctx context.Context) error {
	// TODO(6.1): close the hub, with websocket.CloseGoingAway and shuttingDown.
	// TODO(6.3): wait until all have left it.
	// TODO(6.6): but no longer than ctx: then cut the connections that are left.
	return nil
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
