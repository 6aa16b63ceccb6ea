package wstest

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listener hands the server the other ends of the peers' connections. All is in
// memory and made of channels, so that time in a bubble can stand still and jump.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	alive *atomic.Int64 // changes when bytes move
}

func newListener(alive *atomic.Int64) *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{}), alive: alive}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
}

// dial connects to the listener from the given address. The connection has no
// buffer: each byte that one side writes waits until the other side reads it.
func (l *listener) dial(from net.Addr) (client net.Conn, server *serverConn, err error) {
	client, inner := net.Pipe()
	server = &serverConn{Conn: inner, local: l.Addr(), remote: from, alive: l.alive, turn: make(chan struct{}, 1), released: make(chan struct{})}
	select {
	case l.conns <- server:
		return client, server, nil
	case <-l.done:
		client.Close()
		return nil, nil, syscall.ECONNREFUSED
	}
}

// serverConn is the server's end of a connection. It has the addresses of a TCP
// connection, fails as one fails, and notes how the server treats it.
type serverConn struct {
	net.Conn
	local, remote net.Addr
	alive         *atomic.Int64 // changes when bytes move

	// turn has a token while a Write is under way: net.Pipe has a mutex for that,
	// which would stop the time of the bubble.
	turn chan struct{}

	mu         sync.Mutex // guards what follows
	readers    int
	writers    int
	writes     int  // calls of Write
	gathered   bool // the last one was part of a net.Buffers
	twoReaders bool // two goroutines were in Read at once
	twoWriters bool // two goroutines were in Write at once
	reset      bool // the peer has reset the connection
	panicRead  bool // the next Read panics
	panicWrite bool // the next Write panics
	failWrite  bool // the next Write fails
	holdWrites bool // a Write that fails does not return before released is closed
	closedAt   time.Time

	released chan struct{}
}

func (c *serverConn) LocalAddr() net.Addr  { return c.local }
func (c *serverConn) RemoteAddr() net.Addr { return c.remote }

func (c *serverConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.panicRead {
		c.panicRead = false
		c.mu.Unlock()
		panic("the test lets the socket's Read panic")
	}
	c.readers++
	c.twoReaders = c.twoReaders || c.readers > 1
	c.mu.Unlock()

	n, err := c.Conn.Read(p)
	c.alive.Add(int64(n))

	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers--
	if err == io.EOF && c.reset {
		err = c.opError("read", syscall.ECONNRESET)
	}
	return n, c.asTCP("read", err)
}

func (c *serverConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.panicWrite {
		c.panicWrite = false
		c.mu.Unlock()
		panic("the test lets the socket's Write panic")
	}
	if c.failWrite {
		c.failWrite = false
		c.mu.Unlock()
		return 0, c.opError("write", syscall.ECONNRESET)
	}
	c.writers++
	gathered := fromBuffers()
	if !gathered || !c.gathered {
		c.writes++
	}
	c.gathered = gathered
	c.twoWriters = c.twoWriters || c.writers > 1
	c.mu.Unlock()

	c.turn <- struct{}{}
	n, err := c.Conn.Write(p)
	<-c.turn
	c.alive.Add(int64(n))

	c.mu.Lock()
	hold := err != nil && c.holdWrites
	c.mu.Unlock()
	if hold {
		<-c.released
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.writers--
	return n, c.asTCP("write", err)
}

// fromBuffers reports whether it was a [net.Buffers] that called Write. To a TCP
// connection it writes all that it has with one call of the operating system, and
// to any other one slice after the other.
func fromBuffers() bool {
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	frame, _ := runtime.CallersFrames(caller[:]).Next()
	return frame.Function == "net.(*Buffers).WriteTo"
}

// asTCP turns an error of [net.Pipe] into what a TCP connection returns. c.mu is
// held.
func (c *serverConn) asTCP(op string, err error) error {
	switch {
	case err == io.ErrClosedPipe && !c.closedAt.IsZero():
		return c.opError(op, net.ErrClosed)
	case err == io.ErrClosedPipe:
		return c.opError(op, syscall.EPIPE)
	case err == os.ErrDeadlineExceeded:
		return c.opError(op, err)
	}
	return err
}

func (c *serverConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *serverConn) Close() error {
	c.mu.Lock()
	first := c.closedAt.IsZero()
	if first {
		c.closedAt = time.Now()
	}
	c.mu.Unlock()
	if !first {
		return c.opError("close", net.ErrClosed)
	}
	return c.Conn.Close()
}

// closed returns when the server closed its end, or the zero Time.
func (c *serverConn) closed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closedAt
}

// A deadline can be set on a TCP connection that the peer has closed, so the
// error of net.Pipe is dropped, unless the server has closed its own end.

func (c *serverConn) SetDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetDeadline(t)) }
func (c *serverConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(c.Conn.SetReadDeadline(t))
}
func (c *serverConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(c.Conn.SetWriteDeadline(t))
}

func (c *serverConn) setDeadline(err error) error {
	c.mu.Lock()
	c.gathered = false // what is written next is another write
	c.mu.Unlock()
	if err != nil && !c.closed().IsZero() {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}
