package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

const (
	handshakeTimeout = 5 * time.Second
	cutWait          = time.Second // for what has been cut off by Shutdown: a hook may never end
	sweepPeriod      = time.Minute // addresses that have gone are forgotten that often
)

// config says how a server behaves.
type config struct {
	log       *slog.Logger
	origins   []string // beside that of the server's own host
	anyOrigin bool
	trusted   []netip.Prefix // proxies whose X-Forwarded-For is believed
	limits    limits

	onJoin    func(ctx context.Context, id string)
	onMessage func(ctx context.Context, id, text string) // nil broadcasts
}

// limits are rates a second, but for the first. Zero lifts a limit.
type limits struct {
	perIP                int     // connections at a time
	handshakes, messages float64 // of one address, and of one connection
}

var defaultLimits = limits{perIP: 20, handshakes: 5, messages: 20}

// newLimiter returns a limiter for perSecond events a second, of which as many
// seconds' worth may come at once.
func newLimiter(perSecond, seconds float64) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond*seconds)))
}

// server is the [http.Handler] of the WebSocket.
type server struct {
	cfg   config
	wired context.Context // until a Shutdown runs out of time
	cut   context.CancelFunc

	mu      sync.Mutex // guards what follows
	clients map[string]*client
	hosts   map[netip.Prefix]*host
	swept   time.Time
	inside  int           // clients, and handshakes under way
	closed  bool          // nobody comes in any more
	empty   chan struct{} // closed when closed is set and inside is 0
}

// host is what the server knows of one address.
type host struct {
	inside     int
	handshakes *rate.Limiter
}

func newServer(cfg config) *server {
	s := &server{cfg: cfg, clients: make(map[string]*client), hosts: make(map[netip.Prefix]*host), empty: make(chan struct{})}
	s.wired, s.cut = context.WithCancel(context.Background())
	return s
}

// ServeHTTP serves a connection from its handshake to its end.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := s.countsFor(r)
	if status, retry := s.enter(from); status != 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
		http.Error(w, http.StatusText(status), status)
		return
	}
	defer s.leave(from)
	if !s.mayConnect(r) {
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		return
	}
	c := newClient(s)
	conn, err := websocket.Accept(wiring{w, c.wire}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // mayConnect has verified the origin
		OnPingReceived:     func(ctx context.Context, _ []byte) bool { return c.heard(ctx) },
		OnPongReceived:     func(ctx context.Context, _ []byte) { c.heard(ctx) },
	})
	if err != nil {
		s.cfg.log.Info("not accepted", "from", from, "err", err)
		return
	}
	c.conn = conn
	if r.Context().Err() != nil { // net/http could not write the answer, and does not tell Accept
		c.wire.hangUp()
		conn.CloseNow()
		return
	}
	s.join(c)
	defer s.remove(c)
	c.log.Info("connected", "from", from)
	c.serve()
	c.log.Info("disconnected", "why", context.Cause(c.ctx))
}

// enter returns 0 if a handshake may go on: then leave is owed.
func (s *server) enter(from netip.Prefix) (status int, retry time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.swept) >= sweepPeriod {
		s.swept = now
		for addr, h := range s.hosts {
			// With a token missing it would come back with all of them.
			if h.inside == 0 && h.handshakes.TokensAt(now) >= float64(h.handshakes.Burst()) {
				delete(s.hosts, addr)
			}
		}
	}
	h := s.hosts[from]
	if h == nil {
		h = &host{handshakes: newLimiter(s.cfg.limits.handshakes, 4)}
		s.hosts[from] = h
	}
	switch {
	case s.closed:
		return http.StatusServiceUnavailable, 5 * time.Second
	case s.cfg.limits.perIP > 0 && h.inside >= s.cfg.limits.perIP:
		return http.StatusTooManyRequests, 5 * time.Second
	case !h.handshakes.AllowN(now, 1):
		missing := 1 - h.handshakes.TokensAt(now)
		return http.StatusTooManyRequests, time.Duration(missing / s.cfg.limits.handshakes * float64(time.Second))
	}
	h.inside++
	s.inside++
	return 0, 0
}

func (s *server) leave(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[from].inside--
	s.inside--
	if s.closed && s.inside == 0 {
		close(s.empty)
	}
}

func (s *server) join(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.id] = c
	if s.closed {
		c.end(errGoingAway)
	}
}

func (s *server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c.id)
}

func (s *server) online() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// send queues m for one client.
func (s *server) send(id string, m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		return errUnknown
	}
	return c.send(m)
}

// broadcast queues m for every client.
func (s *server) broadcast(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		c.send(m) // an error concerns that client alone
	}
}

// Shutdown ends all connections in order; those that are left when ctx is done
// without further words.
func (s *server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed && s.inside == 0 {
		close(s.empty)
	}
	s.closed = true
	for _, c := range s.clients {
		c.end(errGoingAway)
	}
	s.mu.Unlock()

	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	left := s.online()
	s.cut()
	select {
	case <-s.empty:
		if left == 0 {
			return nil
		}
	case <-time.After(cutWait):
	}
	return fmt.Errorf("%d connections were cut off: %w", left, ctx.Err())
}

// mayConnect reports whether the page that sent r may connect. Accept would compare
// ports as they are written.
func (s *server) mayConnect(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || s.cfg.anyOrigin {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme] // which counts as none
	if slices.Contains(s.cfg.origins, strings.TrimSuffix(origin, port)) {
		return true
	}
	return u.Host != "" && strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port))
}

// countsFor returns the address that r counts for.
func (s *server) countsFor(r *http.Request) netip.Prefix {
	addr, _ := parseAddr(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(s.cfg.trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			break
		}
		next, err := parseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next
	}
	from, _ := addr.Prefix(min(addr.BitLen(), 64))
	return from
}

func parseAddr(s string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap(), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap(), err
}

var errUnknown = errors.New("nobody has this id")
