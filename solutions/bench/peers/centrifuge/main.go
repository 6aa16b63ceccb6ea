// A chat on centrifuge, after the tutorial in its README, without its log records.
// On SIGTERM it shuts its node down.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

func auth(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := centrifuge.SetCredentials(r.Context(), &centrifuge.Credentials{UserID: ""})
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	flag.Parse()

	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(e centrifuge.SubscribeEvent, cb centrifuge.SubscribeCallback) {
			cb(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(e centrifuge.PublishEvent, cb centrifuge.PublishCallback) {
			cb(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", auth(centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{})))

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if node.Shutdown(ctx) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}()
	log.Fatal(http.ListenAndServe(*addr, nil))
}
