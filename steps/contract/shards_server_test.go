package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// shardServer is the [http.Handler] of the WebSocket.
type shardServer struct {
	cfg       Config
	limits    Limits
	rules     *chatServer // reads origins and addresses; nothing else of it is used
	upgrader  websocket.Upgrader
	sessions  *directory
	addresses *addressBook
	door      *door         // everybody is inside from before the upgrade to the very end
	cut       chan struct{} // closed by cutOff: nothing waits for a peer any more
	cutOff    func()
}

func newShardServer(cfg Config) *shardServer {
	s := &shardServer{
		cfg:       cfg,
		limits:    limitsOf(cfg),
		rules:     &chatServer{cfg: cfg},
		sessions:  &directory{byID: newShards[string, *session]()},
		addresses: &addressBook{limitsOf(cfg), newShards[netip.Prefix, *address]()},
		door:      &door{empty: make(chan struct{})},
		cut:       make(chan struct{}),
	}
	s.cutOff = sync.OnceFunc(func() { close(s.cut) })
	s.upgrader = websocket.Upgrader{HandshakeTimeout: handshakeTimeout, CheckOrigin: s.rules.mayConnect}
	return s
}

// ServeHTTP serves a connection from its handshake to its end.
func (s *shardServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		s.cfg.Log.Debug("handshake failed", "from", from, "err", err)
		return
	}

	c := newSession(conn, s.cfg.Log, newBucket(s.limits.MessageRate, messagesAtOnce))
	s.sessions.add(c)
	defer s.sessions.remove(c)
	if s.door.isShut() { // Shutdown may have looked at the shards already
		c.end(errGoingAway)
	}
	c.log.Debug("session began", "from", from)
	s.serve(c)
	c.log.Debug("session ended", "why", c.why)
}

// refuse answers a handshake that may be tried again after wait.
func refuse(w http.ResponseWriter, status int, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	http.Error(w, http.StatusText(status), status)
}

// serve runs the two pumps. When it returns, both have returned and the socket is
// closed.
func (s *shardServer) serve(c *session) {
	read, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		c.readPump(s)
	}()
	go func() {
		defer close(written)
		c.writePump()
	}()
	<-c.ctx.Done()
	if c.peerIsTold() {
		select {
		case <-written:
		case <-s.cut:
		}
		select {
		case <-read:
		case <-time.After(closeWait):
		case <-s.cut:
		}
	}
	c.conn.Close()
	<-read
	<-written
}

// Shutdown ends all sessions in order; those that are left when ctx is done
// without further words.
func (s *shardServer) Shutdown(ctx context.Context) error {
	s.door.shut()
	s.sessions.each(func(c *session) { c.end(errGoingAway) })
	return drained(ctx, s.door.empty, func() (left int) {
		left = int(s.sessions.online.Load())
		s.cutOff()
		return left
	})
}

// session is one connection, from the end of its handshake on.
type session struct {
	id     string
	conn   *websocket.Conn
	log    *slog.Logger
	frames bucket          // how fast the read pump reads; belongs to it
	wake   chan struct{}   // has a token when the write pump has to look at what mu guards
	ctx    context.Context // done when the session has ended
	stop   context.CancelFunc

	mu     sync.Mutex // guards what follows
	queued []*chatMessage
	why    *websocket.CloseError // why it has ended; set once, and read freely when ctx is done
}

func newSession(conn *websocket.Conn, log *slog.Logger, frames bucket) *session {
	id := uuid.NewString()
	ctx, stop := context.WithCancel(context.Background())
	return &session{
		id:     id,
		conn:   conn,
		log:    log.With("session", id),
		frames: frames,
		wake:   make(chan struct{}, 1),
		ctx:    ctx,
		stop:   stop,
	}
}

// queue queues m for the peer. It does not wait: a peer whose queue is full is too
// slow, and is cut off.
func (c *session) queue(m *chatMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queued) == sendQueueSize {
		c.finish(errTooSlow)
	}
	if c.why != nil {
		return c.why
	}
	c.queued = append(c.queued, m)
	c.wakeWriter()
	return nil
}

// next takes the first message from the queue. It returns nil if there is none;
// then more says whether there may be one later.
func (c *session) next() (m *chatMessage, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queued) == 0 {
		return nil, c.why == nil
	}
	m = c.queued[0]
	c.queued = slices.Delete(c.queued, 0, 1)
	c.wakeWriter() // for the next one, or the end
	return m, true
}

// end ends the session; the first reason counts.
func (c *session) end(why *websocket.CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(why)
}

// finish is end for those who hold c.mu.
func (c *session) finish(why *websocket.CloseError) {
	if c.why != nil {
		return
	}
	c.why = why
	if why.Code == websocket.CloseAbnormalClosure {
		c.queued = nil // nobody will read it
	}
	c.stop()
	c.wakeWriter()
}

func (c *session) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default: // there is a token already
	}
}

// isOver reports whether the session has ended.
func (c *session) isOver() bool { return c.ctx.Err() != nil }

// peerIsTold reports whether the peer gets a close frame. It may be called when
// the session is over.
func (c *session) peerIsTold() bool { return c.why.Code != websocket.CloseAbnormalClosure }

// readPump alone reads from the connection.
func (c *session) readPump(s *shardServer) {
	err := c.contain(func() error { return c.readMessages(s) })
	c.end(closeErrorOf(err))
	if _, closed := errors.AsType[*websocket.CloseError](err); !closed {
		c.contain(c.readAway)
	}
}

func (c *session) readMessages(s *shardServer) error {
	c.conn.SetReadLimit(maxMessageSize)
	c.conn.SetPongHandler(func(string) error {
		c.pace()
		return c.expectLife()
	})
	c.conn.SetPingHandler(func(payload string) error {
		c.pace()
		err := c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeWait))
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return err
		}
		return c.expectLife()
	})

	if s.cfg.OnJoin != nil {
		s.cfg.OnJoin(c.ctx, c.id)
	}
	for {
		if err := c.expectLife(); err != nil {
			return err
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return err
		}
		if kind == websocket.TextMessage && !utf8.Valid(data) {
			return errNotUTF8
		}
		c.pace()
		switch {
		case c.isOver(): // only the peer's close frame is of interest
		case s.cfg.OnMessage != nil:
			s.cfg.OnMessage(c.ctx, c.id, string(data))
		default:
			s.sessions.broadcast(&chatMessage{kind, data})
		}
	}
}

// expectLife gives the peer pongWait to send its next frame. It comes after pace,
// so that a peer that is slowed is not taken for dead.
func (c *session) expectLife() error {
	return c.conn.SetReadDeadline(time.Now().Add(pongWait))
}

// pace waits until the peer may send another frame, or the session is over.
func (c *session) pace() {
	for {
		wait := c.frames.take(time.Now())
		if wait == 0 {
			return
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
	}
}

// readAway reads what the peer still sends after readMessages has failed: bytes
// unread would reset the connection, and the close frame could be lost.
func (c *session) readAway() error {
	_, err := io.Copy(io.Discard, c.conn.NetConn())
	return err
}

// writePump alone writes messages and pings, and in the end the close frame.
func (c *session) writePump() {
	written := inWriteWait(c.ctx, c.conn)
	err := c.contain(c.writeMessages)
	written()
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.end(closeErrorOf(err))
	}
	<-c.ctx.Done() // after ErrCloseSent the read pump is about to say why
	if err := c.contain(c.writeClose); err != nil {
		c.conn.Close() // there will be no answer to wait for
	}
}

// writeMessages writes one frame at a time, so that pings keep their period, until
// the session is over and its queue empty.
func (c *session) writeMessages() error {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	for more := true; more; {
		var m *chatMessage
		select {
		case <-c.wake:
			m, more = c.next()
		case <-ping.C:
			m = &chatMessage{kind: websocket.PingMessage}
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

func (c *session) writeClose() error {
	if !c.peerIsTold() {
		return nil
	}
	frame := websocket.FormatCloseMessage(c.why.Code, c.why.Text)
	err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// contain turns a panic in f into an error of this session.
func (c *session) contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error(fmt.Sprint("recovered from: ", v), "trace", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// web returns the program's HTTP server.
func (s *shardServer) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]int64{"online": s.sessions.online.Load()})
	})
	return &http.Server{
		Handler:      mux,
		ReadTimeout:  handshakeTimeout, // with the upgrade both timeouts end
		WriteTimeout: writeWait,
		ErrorLog:     slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError),
	}
}
