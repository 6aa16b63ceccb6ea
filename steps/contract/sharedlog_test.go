package contract

import (
	"context"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// TestSharedLog holds a server of one more design to all contracts: nobody has a send
// queue. What is broadcast stands once, in a ring that all clients share, and each has
// its place in it. A contract that fails it asks for queues, and not for a behaviour.
func TestSharedLog(t *testing.T) {
	Run(t, 8, func(cfg Config) Server {
		s := newLogServer(cfg)
		return Server{
			HTTP: s.web(),
			Main: program(newLogServer),
			Send: func(id, text string) error { return s.log.send(id, chatMessage{websocket.TextMessage, []byte(text)}) },
			Broadcast: func(text []byte) error {
				s.log.add(chatMessage{websocket.TextMessage, text})
				return nil
			},
			Unknown:  errNobody,
			TooSlow:  errTooSlow,
			Shutdown: s.Shutdown,
		}
	})
}

// sharedLog has the last messages, and knows who is connected. Its methods may be
// called from any goroutine, and do not wait.
type sharedLog struct {
	mu      sync.Mutex // guards what follows, and where each client is
	ring    [sendQueueSize]chatMessage
	head    int // how many messages there have been; number n is at n % len(ring)
	clients map[string]*logClient
	over    bool          // everybody goes away: nothing is added any more
	more    chan struct{} // closed, and replaced, when there is more for somebody
}

// letter is a message to one client.
type letter struct {
	chatMessage
	before int // the number of the message that comes after it
}

// now is closed.
var now = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newSharedLog() *sharedLog {
	return &sharedLog{clients: make(map[string]*logClient), more: make(chan struct{})}
}

// add gives a message to everybody. A client whose next message it overwrites is too
// slow, and is cut off.
func (l *sharedLog) add(m chatMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.ring[l.head%len(l.ring)] = m
	l.head++
	for _, c := range l.clients {
		if l.waiting(c) > len(l.ring) {
			c.end(errTooSlow)
		}
	}
	l.wake()
}

// send gives a message to one client.
func (l *sharedLog) send(id string, m chatMessage) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[id]
	if c == nil {
		return errNobody
	}
	if l.waiting(c) == len(l.ring) {
		c.end(errTooSlow) // unless it has ended before
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.letters = append(c.letters, letter{m, l.head})
	l.wake()
	return nil
}

// ready returns a channel that is closed when there may be something for c.
func (l *sharedLog) ready(c *logClient) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting(c) > 0 {
		return now
	}
	return l.more
}

// take returns the next message for c. If there is none, m is nil, and more says
// whether there may be one later.
func (l *sharedLog) take(c *logClient) (m *chatMessage, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch why := context.Cause(c.ctx); {
	case why != nil && why != errGoingAway && why != errPanic: // its messages may be gone already
		return nil, false
	case len(c.letters) > 0 && c.letters[0].before == c.next:
		m = &c.letters[0].chatMessage
		c.letters = c.letters[1:]
		return m, true
	case c.next < l.head:
		m := l.ring[c.next%len(l.ring)]
		c.next++
		return &m, true
	default:
		return nil, why == nil
	}
}

// waiting returns how much waits for c. l.mu is held.
func (l *sharedLog) waiting(c *logClient) int { return l.head - c.next + len(c.letters) }

// wake lets those who wait for more look again. l.mu is held.
func (l *sharedLog) wake() {
	close(l.more)
	l.more = make(chan struct{})
}

// join lets c in. It gets what is added from now on.
func (l *sharedLog) join(c *logClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.next = l.head
	l.clients[c.id] = c
	if l.over {
		c.end(errGoingAway)
	}
}

func (l *sharedLog) leave(c *logClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.clients, c.id)
}

// close ends all clients, and those that join later.
func (l *sharedLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, c := range l.clients {
		c.end(errGoingAway)
	}
}

func (l *sharedLog) online() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.clients)
}
