package wstest_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
	"github.com/gorilla/websocket"
)

// TestTour is the scenario that the comment of the package explains.
func TestTour(t *testing.T) {
	about := wstest.About{Promise: "0.1 who does not read is gone after 10 s", Cause: "a write without a deadline.", Read: "README.md#task-0.1"}
	wstest.Run(t, about, func(b *wstest.Bench) {
		b.Serve(newEcho(), nil) // 1. it starts the server,

		ann, bob := b.Connect("ann"), b.Connect("bob") // 2. lets peers connect

		bob.StopReading() // 3. and do something,
		bob.Send("hello")
		ann.Send("hello")

		b.Pass(11 * time.Second) // 4. lets time pass,

		ann.WantText("hello") // 5. and demands what should have come of it.
		bob.WantGone("he has not read for 10 s")
	})
}

// newEcho returns a server that sends each message back.
func newEcho() *http.Server {
	var upgrader websocket.Upgrader
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer conn.Close()
		for {
			kind, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if err := conn.WriteMessage(kind, text); err != nil {
				return
			}
		}
	})}
}
