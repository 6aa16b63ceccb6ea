// Package wrong has servers that make one mistake each, so that the tests of the
// bench can show what it says about them.
//
// What returns a closure is not inlined, because the closure would then have the
// name of a test.
package wrong

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// Server returns a server that upgrades each connection, hands it to serve, and
// closes it.
//
//go:noinline
func Server(serve func(*websocket.Conn)) *http.Server {
	var upgrader websocket.Upgrader
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	})}
}

// Echo makes no mistake.
func Echo(conn *websocket.Conn) {
	for {
		kind, text, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, text) != nil {
			return
		}
	}
}

// LeavesReceiver leaves a goroutine that waits for ever.
func LeavesReceiver(conn *websocket.Conn) {
	never := make(chan bool)
	go receive(never)
	Echo(conn)
}

// Waits starts a goroutine that waits for ever.
func Waits() { go receive(make(chan bool)) }

func receive(never chan bool) { <-never }

// KeepsOpen does not close its connections.
//
//go:noinline
func KeepsOpen() *http.Server {
	var upgrader websocket.Upgrader
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err == nil {
			Echo(conn)
		}
	})}
}

// Mute accepts connections and says nothing.
//
//go:noinline
func Mute() *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})}
}

// LocksWrites returns the serve function of a server that holds a mutex while it
// writes.
//
//go:noinline
func LocksWrites() func(*websocket.Conn) {
	var mu sync.Mutex
	return func(conn *websocket.Conn) {
		for {
			kind, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			mu.Lock()
			err = conn.WriteMessage(kind, text)
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

// LocksTwice locks a mutex that it has locked.
func LocksTwice(conn *websocket.Conn) {
	var mu sync.Mutex
	mu.Lock()
	mu.Lock()
}

// LocksAndSelects holds a mutex in a select, while another goroutine waits for it.
func LocksAndSelects(conn *websocket.Conn) {
	var mu sync.Mutex
	mu.Lock()
	defer mu.Unlock()
	var other sync.WaitGroup
	other.Go(func() {
		mu.Lock()
		defer mu.Unlock()
		conn.Close()
	})
	never := make(chan bool)
	select {
	case <-never:
	case never <- true:
	}
	other.Wait()
}

// LocksBelow returns the serve function of a server that sends to a queue that nobody
// empties, and holds a read lock meanwhile. To "echo" it answers.
//
//go:noinline
func LocksBelow() func(*websocket.Conn) {
	var r room
	return func(conn *websocket.Conn) {
		r.add()
		for {
			kind, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if string(text) != "echo" {
				r.broadcast(text)
			} else if conn.WriteMessage(kind, text) != nil {
				return
			}
		}
	}
}

type room struct {
	mu      sync.RWMutex
	members int
}

func (r *room) add() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members++
}

func (r *room) broadcast(text []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	enqueue(text)
}

//go:noinline
func enqueue(text []byte) {
	queue, done := make(chan []byte), make(chan bool)
	select {
	case queue <- text:
	case <-done:
	}
}

// NeverMade is a constructor that does not return.
func NeverMade() { select {} }

// Spins runs in circles.
func Spins(conn *websocket.Conn) {
	var done atomic.Bool
	for !done.Load() {
	}
}

var outside = make(chan bool) // not made in a bubble

// WaitsOutside waits for something that is not part of the scenario.
func WaitsOutside(conn *websocket.Conn) { <-outside }

// InPump runs serve in a goroutine of its own, where net/http recovers nothing.
//
//go:noinline
func InPump(serve func(*websocket.Conn)) func(*websocket.Conn) {
	return func(conn *websocket.Conn) {
		var pump sync.WaitGroup
		pump.Go(func() { serve(conn) })
		pump.Wait()
	}
}

// SendsOnClosed sends on a channel that it has closed.
func SendsOnClosed(conn *websocket.Conn) {
	queue := make(chan string, 1)
	close(queue)
	queue <- "hello"
}

// Dereferences uses a nil pointer.
func Dereferences(conn *websocket.Conn) {
	var nobody *http.Server
	nobody.Addr = ""
}

// ReadsOn goes on reading after an error.
func ReadsOn(conn *websocket.Conn) {
	for {
		conn.ReadMessage()
	}
}

// WritesTwice writes messages from two goroutines, once it has read one.
func WritesTwice(conn *websocket.Conn) {
	conn.ReadMessage()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { conn.WriteMessage(websocket.TextMessage, []byte("hello")) })
	}
	both.Wait()
}

// RawWritesTwice is WritesTwice behind gorilla's back.
func RawWritesTwice(conn *websocket.Conn) {
	conn.ReadMessage()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { conn.NetConn().Write([]byte("\x81\x02hi")) })
	}
	both.Wait()
}

// RawReadsTwice reads in two goroutines behind gorilla's back.
func RawReadsTwice(conn *websocket.Conn) {
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { conn.NetConn().Read(make([]byte, 100)) })
	}
	both.Wait()
}

// Races counts in two goroutines without a lock.
func Races(conn *websocket.Conn) {
	var count int
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { count++ })
	}
	both.Wait()
}

// WritesMaps writes a map in two goroutines without a lock, until the runtime
// finds it.
func WritesMaps(conn *websocket.Conn) {
	m := make(map[int]int)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for i := 0; ; i = (i + 1) % 100 {
				m[i] = i
			}
		})
	}
	both.Wait()
}

// Exits ends the program as if all were well.
func Exits(conn *websocket.Conn) { os.Exit(0) }

// ScribblesOver sends what is no frame of a server.
func ScribblesOver(conn *websocket.Conn) { conn.NetConn().Write([]byte("\xffhello")) }

// AnswersTwice sends two HTTP answers to one request.
//
//go:noinline
func AnswersTwice() *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
		w.WriteHeader(http.StatusForbidden)
	})}
}
