package contract

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// TestDetached holds a server of a third design to all contracts: nobody waits for
// its connections. The handler returns after the upgrade, two pumps own the
// connection from then on, and the one that ends last cleans up. How a connection
// ends is for the write pump to say; everybody else only reports why.
func TestDetached(t *testing.T) {
	Run(t, 8, func(cfg Config) Server {
		s := newDetachedServer(cfg)
		return Server{
			HTTP: s.web(),
			Main: program(newDetachedServer),
			Send: func(id, text string) error { return s.send(id, chatMessage{websocket.TextMessage, []byte(text)}) },
			Broadcast: func(text []byte) error {
				s.broadcast(chatMessage{websocket.TextMessage, text})
				return nil
			},
			Shutdown: s.Shutdown,
		}
	})
}

// sweepPeriod is how often addresses that have gone are forgotten.
const sweepPeriod = time.Minute

// detachedServer is the [http.Handler] of the WebSocket.
type detachedServer struct {
	cfg       Config
	limits    Limits
	upgrader  websocket.Upgrader
	countsFor func(*http.Request) netip.Prefix

	mu      sync.Mutex                     // guards what follows; under it nothing waits, and nothing is written
	clients map[string]*detachedClient     // by id
	hosts   map[netip.Prefix]*detachedHost // by address; a sweep is to come while there are any
	inside  int                            // who was admitted and has not left: the clients, and handshakes under way
	over    *websocket.CloseError          // why nobody is admitted any more, or nil
	empty   chan struct{}                  // closed when over is set and inside is 0
}

// detachedHost is what the server knows of one address.
type detachedHost struct {
	inside     int
	handshakes *rate.Limiter
}

func newDetachedServer(cfg Config) *detachedServer {
	requests := &chatServer{cfg: cfg} // reads them; it never serves
	return &detachedServer{
		cfg:       cfg,
		limits:    limitsOf(cfg),
		upgrader:  websocket.Upgrader{HandshakeTimeout: handshakeTimeout, CheckOrigin: requests.mayConnect},
		countsFor: requests.countsFor,
		clients:   make(map[string]*detachedClient),
		hosts:     make(map[netip.Prefix]*detachedHost),
		empty:     make(chan struct{}),
	}
}

// ServeHTTP makes a connection and leaves it to its pumps. Shutdown waits for them.
func (s *detachedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := s.countsFor(r)
	if no := s.admit(from); no.status != 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.retry.Seconds()))))
		http.Error(w, http.StatusText(no.status), no.status)
		return
	}
	var c *detachedClient
	defer func() {
		if c == nil { // there are no pumps to do it
			s.leave(from, "")
		}
	}()
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Log.Warn("refused", "from", from, "err", err)
		return
	}

	c = newDetachedClient(conn, from, s)
	c.log.Debug("hello", "from", from)
	s.join(c)
	go c.readPump(s)
	go c.writePump(s)
}

// admit returns zero if a handshake may go on: then leave is owed.
func (s *detachedServer) admit(from netip.Prefix) refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return refusal{http.StatusServiceUnavailable, retryElsewhere}
	}
	host := s.hosts[from]
	if host == nil {
		if len(s.hosts) == 0 {
			time.AfterFunc(sweepPeriod, s.sweep)
		}
		host = &detachedHost{handshakes: limiterFor(s.limits.HandshakeRate, handshakesAtOnce)}
		s.hosts[from] = host
	}
	now := time.Now()
	if s.limits.MaxPerIP > 0 && host.inside >= s.limits.MaxPerIP {
		return refusal{http.StatusTooManyRequests, retrySlot}
	}
	if !host.handshakes.AllowN(now, 1) {
		missing := 1 - host.handshakes.TokensAt(now)
		return refusal{http.StatusTooManyRequests, time.Duration(missing / s.limits.HandshakeRate * float64(time.Second))}
	}
	host.inside++
	s.inside++
	return refusal{}
}

// join makes c a client, between admit and leave.
func (s *detachedServer) join(c *detachedClient) {
	s.mu.Lock()
	s.clients[c.id] = c
	over := s.over
	s.mu.Unlock()
	if over != nil {
		c.end(over)
	}
}

// leave ends what began with admit. id is "" if it did not lead to a client.
func (s *detachedServer) leave(from netip.Prefix, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
	s.hosts[from].inside--
	s.inside--
	if s.inside == 0 && s.over != nil {
		close(s.empty)
	}
}

// sweep forgets the addresses that are as good as new. One with a token missing
// would come back with all of them.
func (s *detachedServer) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.hosts, func(_ netip.Prefix, host *detachedHost) bool {
		return host.inside == 0 && host.handshakes.Tokens() >= float64(host.handshakes.Burst())
	})
	if len(s.hosts) > 0 {
		time.AfterFunc(sweepPeriod, s.sweep)
	}
}

// everybody returns the clients of this moment.
func (s *detachedServer) everybody() []*detachedClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.clients))
}

func (s *detachedServer) broadcast(m chatMessage) {
	for _, c := range s.everybody() {
		c.send(m)
	}
}

func (s *detachedServer) send(id string, m chatMessage) error {
	s.mu.Lock()
	c := s.clients[id]
	s.mu.Unlock()
	if c == nil {
		return errNobody
	}
	return c.send(m)
}

// Shutdown ends all connections in order; those that are left when ctx is done
// without further words.
func (s *detachedServer) Shutdown(ctx context.Context) error {
	s.close(errGoingAway)
	return drained(ctx, s.empty, func() (left int) { return s.close(errCut) })
}

// close admits nobody any more and ends all clients; those that are still in the
// handshake end when they join. It returns how many are left, of both kinds.
func (s *detachedServer) close(why *websocket.CloseError) (left int) {
	s.mu.Lock()
	left = s.inside
	if left == 0 && s.over == nil {
		close(s.empty)
	}
	if s.over != errCut { // which another Shutdown may have come to
		s.over = why
	}
	s.mu.Unlock()
	for _, c := range s.everybody() {
		c.end(why)
	}
	return left
}

// web returns the program's HTTP server.
func (s *detachedServer) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		online := len(s.clients)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"online":%d}`, online)
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeTimeout,
		WriteTimeout:      writeWait,
		IdleTimeout:       pongWait,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError),
	}
}
