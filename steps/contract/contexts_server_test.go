package contract

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// ctxServer is the [http.Handler] of the WebSocket. Three contexts tell how far
// its end has come.
type ctxServer struct {
	cfg      Config
	limits   Limits
	rules    *chatServer // tells which origin may connect, and which address counts
	upgrader websocket.Upgrader
	clients  sync.Map // of *ctxClient, by id

	open  context.Context // until Shutdown is called; all clients derive from it
	drain context.CancelCauseFunc

	wired context.Context // until a Shutdown runs out of time, which may never happen
	cut   context.CancelCauseFunc

	occupied context.Context // until all have left and nobody can enter, or who is left will not end
	vacate   context.CancelFunc

	mu     sync.Mutex // guards what follows
	inside int        // how many have entered and not left
	hosts  map[netip.Prefix]*ctxHost
}

func newCtxServer(cfg Config) *ctxServer {
	s := &ctxServer{cfg: cfg, limits: limitsOf(cfg), rules: &chatServer{cfg: cfg}, hosts: make(map[netip.Prefix]*ctxHost)}
	s.upgrader = websocket.Upgrader{HandshakeTimeout: handshakeTimeout, CheckOrigin: s.rules.mayConnect}
	s.open, s.drain = context.WithCancelCause(context.Background())
	s.wired, s.cut = context.WithCancelCause(context.Background())
	s.occupied, s.vacate = context.WithCancel(context.Background())
	return s
}

// ServeHTTP serves a connection from its handshake to its end.
func (s *ctxServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := s.rules.countsFor(r)
	if no := s.enter(from); no.status != 0 {
		again := time.Now().Add(no.retry + time.Second - 1) // a date has whole seconds
		w.Header().Set("Retry-After", again.UTC().Format(http.TimeFormat))
		http.Error(w, http.StatusText(no.status), no.status)
		return
	}
	defer s.leave(from)
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Log.Debug("turned away", "from", from, "why", err)
		return
	}

	id := uuid.NewString()
	c := &ctxClient{
		id:     id,
		server: s,
		conn:   conn,
		log:    s.cfg.Log.With("session", id),
		talk:   newCtxGroup(s.open), // which has ended if Shutdown came first
		queue:  make(chan *websocket.PreparedMessage, sendQueueSize),
		pace:   limiterFor(s.limits.MessageRate, messagesAtOnce),
	}
	s.clients.Store(id, c)
	defer s.clients.Delete(id)
	c.log.Debug("begun", "from", from)
	why := c.run()
	c.log.Debug("over", "why", why)
}

// Shutdown begins the drain, and returns nil when the last connection has ended. If
// ctx is done first it cuts the sockets that are left, and waits for what may still
// be running, such as a hook, for cutWait at most; then it returns an error, as does
// everyone who waits for the same drain.
func (s *ctxServer) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.drain(errDraining)
	s.vacateIfLast()
	s.mu.Unlock()

	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.inside > 0 {
			s.cut(fmt.Errorf("%d connections were cut off: %w", s.inside, ctx.Err()))
			time.AfterFunc(cutWait, s.vacate)
		}
	})
	defer stop()
	<-s.occupied.Done()
	return context.Cause(s.wired)
}

// vacateIfLast is called with s.mu held.
func (s *ctxServer) vacateIfLast() {
	if s.inside == 0 && s.open.Err() != nil {
		s.vacate()
	}
}

// enter returns zero if a handshake may go on: then leave is owed.
func (s *ctxServer) enter(from netip.Prefix) refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.Err() != nil {
		return refusal{http.StatusServiceUnavailable, retryElsewhere}
	}
	host := s.hosts[from]
	if host == nil {
		host = new(ctxHost)
		s.hosts[from] = host
	}
	if wait := host.enter(s.limits, time.Now()); wait > 0 {
		return refusal{http.StatusTooManyRequests, wait}
	}
	s.inside++
	return refusal{}
}

func (s *ctxServer) leave(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inside--
	s.vacateIfLast()
	host := s.hosts[from]
	host.inside--
	if host.inside == 0 {
		time.AfterFunc(time.Until(host.paid), func() { s.forget(from) })
	}
}

// forget deletes an address that is as good as new. If it has come back since, it
// is forgotten after it has left again.
func (s *ctxServer) forget(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host := s.hosts[from]; host != nil && host.inside == 0 && !host.paid.After(time.Now()) {
		delete(s.hosts, from)
	}
}

// ctxHost is what the server knows of one address. It is guarded by ctxServer.mu.
type ctxHost struct {
	inside int
	paid   time.Time // when all its handshakes will be paid for
}

// enter returns 0 if there is room for one more, or when to try again.
func (h *ctxHost) enter(limits Limits, now time.Time) time.Duration {
	if limits.MaxPerIP > 0 && h.inside >= limits.MaxPerIP {
		return retrySlot
	}
	if h.paid.Before(now) {
		h.paid = now
	}
	if limits.HandshakeRate > 0 {
		cost := time.Duration(float64(time.Second) / limits.HandshakeRate) // of one handshake
		credit := time.Duration(burstOf(limits.HandshakeRate, handshakesAtOnce)-1) * cost
		if wait := h.paid.Sub(now) - credit; wait > 0 {
			return wait
		}
		h.paid = h.paid.Add(cost)
	}
	h.inside++
	return 0
}

// send queues a message for one client.
func (s *ctxServer) send(id string, kind int, data []byte) error {
	c, ok := s.clients.Load(id)
	if !ok {
		return errNobody
	}
	m, err := websocket.NewPreparedMessage(kind, data)
	if err != nil {
		return err
	}
	return c.(*ctxClient).send(m)
}

// broadcast queues a message for every client.
func (s *ctxServer) broadcast(kind int, data []byte) error {
	m, err := websocket.NewPreparedMessage(kind, data)
	if err != nil {
		return err
	}
	s.clients.Range(func(_, c any) bool {
		c.(*ctxClient).send(m) // an error concerns that client alone
		return true
	})
	return nil
}

func (s *ctxServer) online() (n int) {
	s.clients.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// web returns the program's HTTP server.
func (s *ctxServer) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprintf(w, `{"online": %d}`, s.online())
	})
	return &http.Server{
		Handler:      mux,
		ReadTimeout:  handshakeTimeout,
		WriteTimeout: handshakeTimeout,
		IdleTimeout:  pongWait,
		ErrorLog:     slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError),
	}
}
