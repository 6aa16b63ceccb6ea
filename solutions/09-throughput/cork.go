package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"sync"
	"time"
)

// corkedConn is a connection that can hold frames back, to write them together
// with the next. gorilla writes through it, from one goroutine at a time;
// hold may run beside that.
type corkedConn struct {
	net.Conn

	mu   sync.Mutex    // guards held
	held *bytes.Buffer // what waits for the next Write; nil if nothing does
}

// buffers are for what connections hold back.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// hold holds frames back, until the next Write. It belongs to the write pump.
func (c *corkedConn) hold(frames []*frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = buffers.Get().(*bytes.Buffer)
	}
	for _, f := range frames {
		c.held.Write(f.wire)
	}
}

// Write writes what is held back and then p, in one go.
func (c *corkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	if held == nil {
		return c.Conn.Write(p)
	}
	held.Write(p)
	// A pong's deadline may be near: it has waited for the write before this one.
	c.Conn.SetWriteDeadline(time.Now().Add(writeWait))
	_, err := held.WriteTo(c.Conn)
	held.Reset() // after an error the rest is still in it
	buffers.Put(held)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// corker makes the connection that an upgrade takes over a corkedConn.
type corker struct{ http.ResponseWriter }

// Hijack lets gorilla take the connection over ([http.Hijacker]).
func (w corker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &corkedConn{Conn: conn}, rw, nil
}
