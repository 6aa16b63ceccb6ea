// A chat on melody, as its README has it. On SIGTERM it closes the connections.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/olahol/melody"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	flag.Parse()

	m := melody.New()
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		m.HandleRequest(w, r)
	})
	m.HandleMessage(func(s *melody.Session, msg []byte) {
		m.Broadcast(msg)
	})

	var open sync.WaitGroup
	m.HandleConnect(func(*melody.Session) { open.Add(1) })
	m.HandleDisconnect(func(*melody.Session) { open.Done() })

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		m.Close()
		open.Wait() // Close does not
		os.Exit(0)
	}()
	log.Fatal(http.ListenAndServe(*addr, nil))
}
