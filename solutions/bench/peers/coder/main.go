// A chat on coder/websocket, after the chat example of its repository: a queue
// for each client, one write at a time with a timeout, and a client whose queue
// is full is closed. The example's queue holds 16 messages; this one holds 64, as
// many as that of solutions/08-limits.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

type server struct {
	mu          sync.Mutex // guards what follows
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	msgs      chan []byte
	closeSlow func()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()

	sub := &subscriber{
		msgs: make(chan []byte, 64),
		closeSlow: func() {
			c.Close(websocket.StatusPolicyViolation, "connection too slow to keep up with messages")
		},
	}
	s.mu.Lock()
	s.subscribers[sub] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.subscribers, sub)
		s.mu.Unlock()
	}()

	go func() {
		defer cancel()
		for {
			_, msg, err := c.Read(ctx)
			if err != nil {
				return
			}
			s.publish(msg)
		}
	}()
	for {
		select {
		case msg := <-sub.msgs:
			if writeTimeout(ctx, 5*time.Second, c, msg) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) publish(msg []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subscribers {
		select {
		case sub.msgs <- msg:
		default:
			go sub.closeSlow()
		}
	}
}

func writeTimeout(ctx context.Context, timeout time.Duration, c *websocket.Conn, msg []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, msg)
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	flag.Parse()
	http.Handle("/ws", &server{subscribers: make(map[*subscriber]struct{})})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
