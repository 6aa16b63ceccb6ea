package main

import (
	"errors"
	"fmt"
	"sync"
)

var (
	// ErrUnknownClient says that no connected client has the given ID.
	ErrUnknownClient = errors.New("unknown client")

	// ErrClosed says that a message was not broadcast: the hub is closed.
	ErrClosed = errors.New("hub is closed")
)

// Hub holds the connected clients. All its methods may be called from any
// goroutine. Under its lock nothing is written to a socket and nothing waits.
type Hub struct {
	log *Log // all broadcasts, for all clients

	mu      sync.RWMutex       // guards what follows
	clients map[string]*Client // by ID
	closed  bool               // nobody comes in any more
	inside  sync.WaitGroup     // counts Enter against Leave; Add happens under mu
}

// NewHub returns an empty hub.
func NewHub() *Hub {
	return &Hub{log: NewLog(), clients: make(map[string]*Client)}
}

// Add puts c into the map.
func (h *Hub) Add(c *Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[c.ID] = c
}

// Remove takes c out of the map.
func (h *Hub) Remove(c *Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c.ID)
}

// Len returns the number of connected clients.
func (h *Hub) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.clients)
}

// Send queues m for the client with the given ID. The error is
// ErrUnknownClient, or what [Client.Send] returns.
func (h *Hub) Send(id string, m *Message) error {
	h.mu.RLock()
	c := h.clients[id]
	h.mu.RUnlock()
	if c == nil {
		return fmt.Errorf("send to %q: %w", id, ErrUnknownClient)
	}
	return c.Send(m)
}

// Broadcast sends m to every client, to all in the same order. It does not wait for
// any of them: one that has fallen behind the log is cut off. The error is ErrTooBig,
// or ErrClosed: then nobody gets m.
func (h *Hub) Broadcast(m *Message) error {
	// TODO(9.1): put it into the log instead.
	// TODO(9.4): after Close nobody gets it.
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.clients {
		c.Send(m)
	}
	return nil
}

// Enter counts a connection that is about to be made. It reports false if the hub
// is closed. Otherwise Leave must be called when the connection has ended, or was
// not made after all.
func (h *Hub) Enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.inside.Add(1)
	return true
}

// Leave is the end of what began with Enter.
func (h *Hub) Leave() {
	h.inside.Done()
}

// Close lets nobody enter from now on, and finishes every client in the map. It
// may be called more than once.
func (h *Hub) Close(code int, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, c := range h.clients {
		c.finish(code, reason)
	}
}

// Closed reports whether Close has been called.
func (h *Hub) Closed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closed
}

// Wait waits until all who have entered have left. Call Close first.
func (h *Hub) Wait() {
	h.inside.Wait()
}

// Cut closes the sockets of all clients and returns how many there were.
func (h *Hub) Cut() int {
	h.mu.RLock()
	clients := make([]*Client, 0, len(h.clients))
	for _, c := range h.clients {
		clients = append(clients, c)
	}
	h.mu.RUnlock()
	for _, c := range clients {
		c.conn.Close()
	}
	return len(clients)
}
