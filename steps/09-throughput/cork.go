package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"sync"
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
	// TODO(9.2): get a buffer from the pool, unless there is one, and write the frames'
	// wire bytes to it.
}

// Write writes what is held back and then p, in one go.
func (c *corkedConn) Write(p []byte) (int, error) {
	// TODO(9.2): take held away, under the lock; if there was some, write p to it, and all
	// of it to the connection, in one call, with the lock released and writeWait anew.
	return c.Conn.Write(p)
}

// corker makes the connection that an upgrade takes over a corkedConn.
type corker struct{ http.ResponseWriter }

// Hijack lets gorilla take the connection over ([http.Hijacker]).
func (w corker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	// TODO(9.2): return a corkedConn around the connection.
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
