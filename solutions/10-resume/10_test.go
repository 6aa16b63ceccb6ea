package main

import (
	"context"
	"testing"

	"example.com/wsworkshop/steps/contract"
	"github.com/gorilla/websocket"
)

// TestServer holds this step's server to the contracts of steps 1 to 10.
func TestServer(t *testing.T) {
	contract.Run(t, 10, start)
}

// BenchmarkFanOut measures what it takes to bring a message to 100 receivers.
func BenchmarkFanOut(b *testing.B) {
	contract.BenchmarkFanOut(b, start)
}

// start tells the contracts how to reach this step's server.
func start(cfg contract.Config) contract.Server {
	c := Config{Log: cfg.Log, Origins: cfg.Origins, AnyOrigin: cfg.AnyOrigin, Authenticate: cfg.Authenticate}
	c.Limits = DefaultLimits()
	if l := cfg.Limits; l != nil {
		c.Limits = Limits{
			MaxPerIP:       l.MaxPerIP,
			MaxConnections: l.MaxConnections,
			HandshakeRate:  l.HandshakeRate,
			MessageRate:    l.MessageRate,
			ByteRate:       l.ByteRate,
		}
	}
	c.Limits.TrustedProxies = cfg.TrustedProxies
	if cfg.OnJoin != nil {
		c.OnJoin = func(ctx context.Context, c *Client) { cfg.OnJoin(ctx, c.ID) }
	}
	if cfg.OnMessage != nil {
		c.OnMessage = func(ctx context.Context, c *Client, m *Message) { cfg.OnMessage(ctx, c.ID, string(m.Data)) }
	}
	server := NewServer(c)
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
			return server.hub.Broadcast(&Message{Type: websocket.TextMessage, Data: text})
		},
		Shutdown: server.Shutdown,
	}
}
