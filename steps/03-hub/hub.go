package main

import (
	"errors"
	"sync"
)

// ErrUnknownClient says that no connected client has the given ID.
var ErrUnknownClient = errors.New("unknown client")

// Hub holds the connected clients. All its methods may be called from any
// goroutine. Under its lock nothing is written to a socket and nothing waits.
type Hub struct {
	mu      sync.RWMutex       // guards what follows
	clients map[string]*Client // by ID
}

// NewHub returns an empty hub.
func NewHub() *Hub {
	return &Hub{clients: make(map[string]*Client)}
}

// Add puts c into the map.
func (h *Hub) Add(c *Client) {
	// TODO(3.2)
}

// Remove takes c out of the map.
func (h *Hub) Remove(c *Client) {
	// TODO(3.2)
}

// Len returns the number of connected clients.
func (h *Hub) Len() int {
	// TODO(3.2)
	return 0
}

// Send queues m for the client with the given ID. The error is
// ErrUnknownClient, or what [Client.Send] returns.
func (h *Hub) Send(id string, m *Message) error {
	// TODO(3.3): and let nobody else wait for that client.
	return nil
}
