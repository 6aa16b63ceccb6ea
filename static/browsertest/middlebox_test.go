package browsertest

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// middlebox is what is between the page and a server: it passes on what both say,
// until it forgets a connection. Then it takes what comes, and says nothing more.
type middlebox struct {
	url string

	mu     sync.Mutex // guards what follows
	dead   bool       // new connections are forgotten, too
	closed bool
	conns  []*passage
}

// passage is one connection through the middlebox, to the server and back.
type passage struct {
	page, server net.Conn

	mu        sync.Mutex // guards what follows, and is held while something passes
	said      string     // what the page has said first: its request
	forgotten bool
}

func newMiddlebox(t *testing.T, server *process) *middlebox {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	box := &middlebox{url: "http://" + listener.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			page, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(server.url, "http://"))
			if err != nil {
				page.Close()
				continue
			}
			c := &passage{page: page, server: server}
			box.add(c)
			work.Go(func() { c.pass(page, server) })
			work.Go(func() { c.pass(server, page) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		box.close()
		work.Wait()
	})
	return box
}

func (box *middlebox) add(c *passage) {
	box.mu.Lock()
	defer box.mu.Unlock()
	c.forgotten = box.dead
	box.conns = append(box.conns, c)
	if box.closed {
		c.close()
	}
}

func (box *middlebox) close() {
	box.mu.Lock()
	defer box.mu.Unlock()
	box.closed = true
	for _, c := range box.conns {
		c.close()
	}
}

func (c *passage) close() {
	c.page.Close()
	c.server.Close()
}

// pass hands on what one side says until it ends.
func (c *passage) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		if from == c.page && c.said == "" {
			c.said = string(buf[:n])
		}
		if !c.forgotten {
			to.Write(buf[:n])
			if err != nil {
				to.Close()
			}
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// forget forgets the connections that began with a request for path. Without one it
// forgets all, and those that are still to come.
func (box *middlebox) forget(path string) {
	box.mu.Lock()
	defer box.mu.Unlock()
	box.dead = path == ""
	for _, c := range box.conns {
		c.mu.Lock()
		if strings.HasPrefix(c.said, "GET "+path) {
			c.forgotten = true
		}
		c.mu.Unlock()
	}
}

// repair lets new connections pass again.
func (box *middlebox) repair() {
	box.mu.Lock()
	defer box.mu.Unlock()
	box.dead = false
}
