// A chat on gws, after "Best Practice" and "Broadcast" of its README, but for two
// settings: messages are handled one after the other (ParallelEnabled would mix
// up a sender's order), and without compression, which no client asks for.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/lxzan/gws"
)

const (
	pingInterval = 5 * time.Second
	pingWait     = 10 * time.Second
)

type handler struct {
	gws.BuiltinEventHandler
	conns *gws.ConcurrentMap[*gws.Conn, struct{}]
}

func (h *handler) OnOpen(socket *gws.Conn) {
	socket.SetDeadline(time.Now().Add(pingInterval + pingWait))
	h.conns.Store(socket, struct{}{})
}

func (h *handler) OnClose(socket *gws.Conn, err error) {
	h.conns.Delete(socket)
}

func (h *handler) OnPing(socket *gws.Conn, payload []byte) {
	socket.SetDeadline(time.Now().Add(pingInterval + pingWait))
	socket.WritePong(nil)
}

func (h *handler) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	b := gws.NewBroadcaster(message.Opcode, message.Bytes())
	defer b.Close()
	h.conns.Range(func(conn *gws.Conn, _ struct{}) bool {
		b.Broadcast(conn)
		return true
	})
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	flag.Parse()

	upgrader := gws.NewUpgrader(&handler{conns: gws.NewConcurrentMap[*gws.Conn, struct{}]()}, &gws.ServerOption{
		Recovery: gws.Recovery,
	})
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go socket.ReadLoop() // blocking here would keep the request's context from being freed
	})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
