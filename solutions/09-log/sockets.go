package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// This file is about what lies below WebSockets: the sockets of the listener, and
// the connection that gorilla reads and writes.

const (
	// spareSockets is how many sockets one address may have beside those of its
	// connections: for the page, and for handshakes that are refused.
	spareSockets = 12

	// lingerWait is how long a peer may take for what was written to it before its
	// socket was closed. A shutdown is over before. Meanwhile it may send no more than
	// lingerBytes.
	lingerWait  = shutdownWait + 2*cutWait
	lingerBytes = 64 << 10

	// stoppedFor is how late a deadline is noticed only if the process, or its
	// machine, has been stopped meanwhile.
	stoppedFor = time.Second
)

// wire is the connection below gorilla's. It is read as fast as the address of the
// peer may send, and knows whether the peer takes what is written.
type wire struct {
	net.Conn
	most int         // bytes in one Read
	pace func(n int) // called after each Read, with the number of bytes; it may wait

	frames   []byte      // from the log, for the next Write of a message; belongs to the write pump
	deadline time.Time   // for Read; belongs to the read pump
	stuck    atomic.Bool // the peer does not take a write, or has been silent for too long
}

// limit says how many bytes one Read may take, and what to call after it.
func (w *wire) limit(most int, pace func(n int)) { w.most, w.pace = most, pace }

// Read reads at most most bytes. It counts all of them: messages, but also their
// headers, empty fragments and control frames.
func (w *wire) Read(p []byte) (int, error) {
	p = p[:min(len(p), w.most)]
	n, err := w.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(w.deadline) > stoppedFor {
		// It was not the peer who was silent: what it has sent meanwhile is in the
		// socket, or its pong comes as soon as it has our ping.
		w.SetReadDeadline(time.Now().Add(pongWait - pingPeriod))
		n, err = w.Conn.Read(p)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.stuck.Store(true)
	}
	if n > 0 {
		w.pace(n)
	}
	return n, err
}

// SetReadDeadline is called by the read pump alone.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.deadline = t
	return w.Conn.SetReadDeadline(t)
}

// Write writes a frame of gorilla's, or a part of one, or in place of a message the
// frames that come next in the log. So they go out in one write, and only when gorilla
// would write a message: not during another write, and not after a close frame. gorilla
// calls Write from one goroutine at a time, for a control frame from any.
func (w *wire) Write(p []byte) (int, error) {
	const control = 0x08 // this bit of the first byte is set in all of them (RFC 6455, section 5.5)
	out := p
	if p[0]&control == 0 && w.frames != nil {
		out, w.frames = w.frames, nil
	}
	w.stuck.Store(true)
	if n, err := w.Conn.Write(out); err != nil {
		return min(n, len(p)), err
	}
	w.stuck.Store(false)
	return len(p), nil
}

// Close closes the socket. If the peer does not take what it is sent, that is
// thrown away and the peer's TCP is told so: otherwise the kernel would keep up to
// megabytes for it, for minutes. Every other peer still gets all that was written.
func (w *wire) Close() error {
	if tcp, ok := w.Conn.(interface{ SetLinger(seconds int) error }); ok && w.stuck.Load() {
		tcp.SetLinger(0)
	}
	return w.Conn.Close()
}

// wiring makes the connection that an upgrade takes over a wire.
type wiring struct{ http.ResponseWriter }

// Hijack lets gorilla take the connection over ([http.Hijacker]).
func (w wiring) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &wire{Conn: conn}, rw, nil
}

// listener is a TCP listener that holds each address to a number of open sockets.
// Those over it are closed as they come. Without that, one address could open more
// than the process may have, and nobody else would get in.
type listener struct {
	*net.TCPListener
	limits Limits

	mu   sync.Mutex           // guards open
	open map[netip.Prefix]int // sockets by address
}

func newListener(tcp net.Listener, limits Limits) *listener {
	return &listener{TCPListener: tcp.(*net.TCPListener), limits: limits, open: make(map[netip.Prefix]int)}
}

// Accept waits for a socket that may stay open ([net.Listener]).
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		addr := clientAddr(&http.Request{RemoteAddr: conn.RemoteAddr().String()}, nil)
		if !addr.IsValid() { // no IP address: there is nothing to count by
			return conn, nil
		}
		if l.take(addr) {
			return &socket{TCPConn: conn, done: func() { l.give(addr) }}, nil
		}
		conn.Close()
	}
}

// take counts one more socket of addr. It reports false if there are enough.
func (l *listener) take(addr netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	proxy := slices.ContainsFunc(l.limits.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr.Addr()) })
	if l.limits.MaxPerIP > 0 && l.open[addr]-spareSockets >= l.limits.MaxPerIP && !proxy {
		return false
	}
	l.open[addr]++
	return true
}

// give counts one socket of addr less.
func (l *listener) give(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[addr]--; l.open[addr] == 0 {
		delete(l.open, addr)
	}
}

// socket is one that the listener counts until it is closed, and its peer has hung up
// as well.
type socket struct {
	*net.TCPConn
	done    func() // counts it no more
	reset   atomic.Bool
	closing atomic.Bool
}

// SetLinger with 0 makes Close throw away what the peer has not taken.
func (s *socket) SetLinger(seconds int) error {
	s.reset.Store(seconds == 0)
	return s.TCPConn.SetLinger(seconds)
}

// Close hangs up. If the peer takes nothing, the kernel would keep what was written, up
// to megabytes, for minutes, and the peer could come again for more. So the socket counts
// for its address until the peer has hung up, too, or lingerWait has passed.
func (s *socket) Close() error {
	if s.closing.Swap(true) {
		return net.ErrClosed
	}
	var same net.Conn // the same socket, for linger alone
	if !s.reset.Load() {
		if file, err := s.File(); err == nil {
			same, _ = net.FileConn(file)
			file.Close()
		}
	}
	err := s.TCPConn.Close() // ends reads and writes
	if tcp, ok := same.(*net.TCPConn); ok {
		go s.linger(tcp) // if the program ends first, the kernel goes on alone
	} else {
		s.done()
	}
	return err
}

// linger gives the peer lingerWait to take what was written and to hang up, and throws
// the rest away.
func (s *socket) linger(tcp *net.TCPConn) {
	defer s.done()
	tcp.CloseWrite()
	tcp.SetReadDeadline(time.Now().Add(lingerWait))
	io.CopyN(io.Discard, tcp, lingerBytes)
	tcp.SetLinger(0) // does nothing once all is taken
	tcp.Close()
}
