package main

import (
	"testing"

	"example.com/wsworkshop/steps/contract"
	"github.com/coder/websocket"
)

// TestServer holds a server on another library than the workshop's to all contracts. A
// contract that fails it asks for gorilla/websocket, and not for a behaviour.
func TestServer(t *testing.T) {
	contract.Run(t, 8, start)
}

// start tells the contracts how to reach the server.
func start(cfg contract.Config) contract.Server {
	c := config{
		log:       cfg.Log,
		origins:   cfg.Origins,
		anyOrigin: cfg.AnyOrigin,
		trusted:   cfg.TrustedProxies,
		limits:    defaultLimits,
		onJoin:    cfg.OnJoin,
		onMessage: cfg.OnMessage,
	}
	if l := cfg.Limits; l != nil {
		c.limits = limits{perIP: l.MaxPerIP, handshakes: l.HandshakeRate, messages: l.MessageRate}
	}
	s := newServer(c)
	return contract.Server{
		HTTP: s.web(),
		Main: main,
		Send: func(id, text string) error { return s.send(id, message{websocket.MessageText, []byte(text)}) },
		Broadcast: func(text []byte) error {
			s.broadcast(message{websocket.MessageText, text})
			return nil
		},
		Unknown:  errUnknown,
		TooSlow:  errTooSlow,
		Shutdown: s.Shutdown,
	}
}
