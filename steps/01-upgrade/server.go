package main

import (
	"log/slog"
	"net/http"
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
}

// NewServer returns a server for cfg.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	s.upgrader = websocket.Upgrader{
		ReadBufferSize:  1024,
		WriteBufferSize: 1024,
		WriteBufferPool: new(sync.Pool), // a connection borrows a buffer for each write
		// TODO(1.3): let s.checkOrigin decide about origins.
		// TODO(1.4): let a handshake take no longer than handshakeTimeout.
	}
	return s
}

// ServeHTTP upgrades the request and returns when the connection has ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// TODO(1.1): upgrade the request, and hand the connection to echo. If that
	// fails, log why and go no further.
	// TODO(1.5): close the connection, whatever ends the echo.
}

// echo sends each message back, until the connection fails or the peer closes
// it. After an error a connection is of no more use.
func echo(conn *websocket.Conn) {
	// TODO(1.2): give each message back, until reading or writing fails.
}

// checkOrigin reports whether the page that sent r may connect. Browsers do not
// apply the same-origin policy to WebSockets; they only say in Origin where the
// page came from, and the server decides (RFC 6455, section 10.2).
func (s *Server) checkOrigin(r *http.Request) bool {
	// TODO(1.3): let in who sends no Origin, the listed origins, and the host that
	// the request itself asks for. A default port counts as none: see defaultPorts.
	return false
}
