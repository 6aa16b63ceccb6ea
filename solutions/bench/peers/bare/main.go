// The design of solutions/08-limits with nothing but its bones: the same upgrader,
// handler, map, queue and pumps on gorilla/websocket, without limits, keepalive,
// deadlines, close codes, shutdown, recovery, and log. What 08-limits costs
// more than this program is the price of those; with -deadline, each write has a
// deadline, so that one can see what that alone costs.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

type message struct {
	kind int
	data []byte
}

type client struct {
	id   string
	conn *websocket.Conn
	send chan *message
	done chan struct{} // closed when the read loop has ended
}

type hub struct {
	mu      sync.RWMutex // guards clients
	clients map[string]*client
}

func (h *hub) add(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[c.id] = c
}

func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c.id)
}

func (h *hub) broadcast(m *message) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.clients {
		select {
		case c.send <- m:
		default:
			c.conn.Close()
		}
	}
}

func (h *hub) read(c *client) {
	defer c.conn.Close()
	defer close(c.done)
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		h.broadcast(&message{kind, data})
	}
}

func (c *client) write() {
	for {
		select {
		case m := <-c.send:
			if *deadline {
				c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			}
			if c.conn.WriteMessage(m.kind, m.data) != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

var deadline = flag.Bool("deadline", false, "give each write a deadline")

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	flag.Parse()

	h := &hub{clients: make(map[string]*client)}
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool)}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{id: uuid.NewString(), conn: conn, send: make(chan *message, 256), done: make(chan struct{})}
		h.add(c)
		go c.write()
		go func() {
			defer h.remove(c)
			h.read(c)
		}()
	})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
