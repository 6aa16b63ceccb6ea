package main

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
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

// ServeHTTP upgrades the request and returns when the connection has ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// TODO(3.2): who is served is in the hub. A failed handshake never is.
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		// Upgrade has answered the request already.
		s.cfg.Log.Info("handshake failed", "addr", r.RemoteAddr, "err", err)
		return
	}
	c := newClient(conn, s.cfg.Log.With("addr", r.RemoteAddr))
	c.handle = s.handle
	s.serve(c)
}

// serve serves c, which is in the hub, from start to end.
func (s *Server) serve(c *Client) {
	// TODO(3.2): and who has been served is not, whatever has ended it.
	c.run()
	c.log.Info("disconnected", "code", c.code, "reason", c.reason)
}

// handle is called for each message from a client.
func (s *Server) handle(c *Client, m *Message) {
	c.Send(m)
}

// Online returns the number of connected clients.
func (s *Server) Online() int { return s.hub.Len() }

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
