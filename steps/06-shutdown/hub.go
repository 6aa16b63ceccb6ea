package main

import (
	"errors"
	"fmt"
	"sync"
)

// ErrUnknownClient says that no connected client has the given ID.
var ErrUnknownClient = errors.New("unknown client")

// Hub holds the connected clients. All its methods may be called from any
// goroutine. Under its lock nothing is written to a socket and nothing waits.
type Hub struct {
	mu      sync.RWMutex       // guards what follows
	clients map[string]*Client // by ID
	closed  bool               // nobody comes in any more
	inside  sync.WaitGroup     // counts Enter against Leave; Add happens under mu
}

// NewHub returns an empty hub.
func NewHub() *Hub {
	return &Hub{clients: make(map[string]*Client)}
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

// Broadcast queues m for every client. It does not wait for any of them: one
// that is too slow is cut off.
func (h *Hub) Broadcast(m *Message) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.clients {
		c.Send(m)
	}
}

// Enter counts a connection that is about to be made. It reports false if the hub
// is closed. Otherwise Leave must be called when the connection has ended, or was
// not made after all.
func (h *Hub) Enter() bool {
	// TODO(6.1): let nobody in when the hub is closed.
	// TODO(6.3): count who enters, in h.inside.
	return true
}

// Leave is the end of what began with Enter.
func (h *Hub) Leave() {
	// TODO(6.3)
}

// Close lets nobody enter from now on, and finishes every client in the map. It
// may be called more than once.
func (h *Hub) Close(code int, reason string) {
	// TODO(6.1): close the hub.
	// TODO(6.2): finish every client.
}

// Closed reports whether Close has been called.
func (h *Hub) Closed() bool {
	// TODO(6.4)
	return false
}

// Wait waits until all who have entered have left. Call Close first.
func (h *Hub) Wait() {
	// TODO(6.3)
}

// Cut closes the sockets of all clients and returns how many there were.
func (h *Hub) Cut() int {
	// TODO(6.6): close the sockets, but not under the lock.
	return 0
}
