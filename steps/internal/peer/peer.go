// Package peer is a client of a step's server that behaves badly, in ways that a
// page in a browser cannot: it stops reading, vanishes, or floods.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Peer is a client.
type Peer struct {
	URL string    // of the WebSocket
	Out io.Writer // gets a line for what happens

	conn  *websocket.Conn
	began time.Time
}

// connect connects with a receive buffer that is soon full.
func (p *Peer) connect(ctx context.Context) error {
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4 << 10)
		}
		return conn, err
	}
	conn, answer, err := dialer.DialContext(ctx, p.URL, nil)
	switch {
	case answer != nil && err != nil:
		return fmt.Errorf("the server refused the handshake with %s", answer.Status)
	case err != nil:
		return fmt.Errorf("no connection to %s (is the server running?): %w", p.URL, err)
	}
	p.conn, p.began = conn, time.Now()
	p.say("connected from %s", conn.LocalAddr())
	return nil
}

func (p *Peer) say(format string, args ...any) {
	fmt.Fprintf(p.Out, "%6.1f s  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// Stall connects and reads nothing, until ctx ends.
func (p *Peer) Stall(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.conn.Close()
	p.say("reading nothing from now on; Ctrl-C ends it")
	<-ctx.Done()
	return nil
}

// Vanish connects and answers no ping, like a peer whose network is gone. It
// returns when the server has given it up, or ctx ends.
func (p *Peer) Vanish(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.conn.Close()
	p.say("answering nothing from now on; Ctrl-C ends it")
	p.conn.SetPingHandler(func(string) error {
		p.say("a ping, which gets no pong")
		return nil
	})
	p.conn.SetCloseHandler(func(int, string) error { return nil })
	return p.read(ctx, func() {})
}

// Flood connects and sends rate messages a second, 1 to a million, until ctx ends or the server
// ends the connection. Each second it says how many have come back.
func (p *Peer) Flood(ctx context.Context, rate int) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.conn.Close()
	p.say("sending %d messages a second from now on; Ctrl-C ends it", rate)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sent, back atomic.Int64
	written := make(chan struct{})
	go func() {
		defer close(written)
		each := time.NewTicker(time.Second / time.Duration(rate))
		defer each.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-each.C:
			}
			n := sent.Add(1)
			if err := p.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "flood %d", n)); err != nil {
				return // read tells why
			}
		}
	}()
	go func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-second.C:
				p.say("%d sent, %d came back", sent.Load(), back.Load())
			}
		}
	}()
	err := p.read(ctx, func() { back.Add(1) })
	cancel()
	p.conn.Close()
	<-written
	return err
}

// read reads until the connection or ctx ends, and says how it has ended.
func (p *Peer) read(ctx context.Context, message func()) error {
	stop := context.AfterFunc(ctx, func() { p.conn.SetReadDeadline(time.Now()) })
	defer stop()
	for {
		_, _, err := p.conn.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case err == nil:
			message()
			continue
		case ctx.Err() != nil:
		case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
			p.say("the server closed the connection: %d %s", closed.Code, closed.Text)
		default:
			p.say("the server cut the connection, without a close frame")
		}
		return nil
	}
}
