package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
	"github.com/gorilla/websocket"
)

// TestServer holds this step's server to the contracts of steps 1 to 6.
func TestServer(t *testing.T) {
	contract.Run(t, 6, start)
}

// start tells the contracts how to reach this step's server.
func start(cfg contract.Config) contract.Server {
	server := NewServer(Config{Log: cfg.Log, Origins: cfg.Origins, AnyOrigin: cfg.AnyOrigin})
	return contract.Server{
		HTTP: newHTTPServer(server, cfg.Log),
		Main: main,
		Send: func(id, text string) error {
			return server.hub.Send(id, &Message{Type: websocket.TextMessage, Data: []byte(text)})
		},
		Unknown:  ErrUnknownClient,
		Finished: ErrFinished,
		TooSlow:  ErrTooSlow,
		Broadcast: func(text []byte) error {
			server.hub.Broadcast(&Message{Type: websocket.TextMessage, Data: text})
			return nil
		},
		Shutdown: server.Shutdown,
	}
}
