package main

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// wire is a connection as the library sees it. Each write has writeWait, whatever it
// writes, and one that fails ends the client: the library does not tell of its pings.
type wire struct {
	net.Conn
	failed  func(error)
	lingers atomic.Bool // the library shall not close it
}

// Read ends the client, too: an end within a message is to the library the end of that
// message, when it comes between two frames.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.failed(err)
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.SetWriteDeadline(time.Now().Add(writeWait))
	n, err := w.Conn.Write(p)
	if err != nil {
		w.failed(err)
	}
	return n, err
}

func (w *wire) Close() error {
	if w.lingers.Load() {
		return nil
	}
	return w.Conn.Close()
}

// hangUp closes the socket. It may be called more than once.
func (w *wire) hangUp() { w.Conn.Close() }

// wiring is the answer to a handshake, from which the library gets its wire.
type wiring struct {
	http.ResponseWriter
	wire *wire
}

func (w wiring) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.wire.Conn = conn
	return w.wire, bufio.NewReadWriter(buffers.Reader, bufio.NewWriter(w.wire)), nil
}
