// A chat without any library, and no server to put anywhere: it answers every
// handshake with the same bytes and expects whole masked frames of the smaller
// two sizes. It shows what TCP itself costs, with one write for each message or,
// with -batch, with one write for all that is queued.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"log"
	"net"
	"sync"
)

// answer accepts the key that the load generator always sends.
const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

const (
	queueSize  = 64       // messages
	batchBytes = 64 << 10 // with -batch
)

type client interface {
	send(frame []byte) // does not block: a client that is too slow is closed
	write()            // writes what is sent until the connection ends
	close()
}

// A single is written one frame at a time.
type single struct {
	conn  net.Conn
	queue chan []byte
	done  chan struct{}
}

func (c *single) send(frame []byte) {
	select {
	case c.queue <- frame:
	default:
		c.conn.Close()
	}
}

func (c *single) write() {
	for {
		select {
		case frame := <-c.queue:
			if _, err := c.conn.Write(frame); err != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *single) close() {
	close(c.done)
	c.conn.Close()
}

// A batch is written all at once, whatever is queued.
type batch struct {
	conn net.Conn
	mu   sync.Mutex // guards what follows
	some sync.Cond  // queued is not empty, or it has ended
	// queued is what the next write takes.
	queued []byte
	ended  bool
}

func (c *batch) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queued)+len(frame) > batchBytes {
		c.conn.Close()
		return
	}
	c.queued = append(c.queued, frame...)
	c.some.Signal()
}

func (c *batch) write() {
	var buf []byte
	for {
		c.mu.Lock()
		for len(c.queued) == 0 && !c.ended {
			c.some.Wait()
		}
		if c.ended {
			c.mu.Unlock()
			return
		}
		buf, c.queued = c.queued, buf[:0]
		c.mu.Unlock()
		if _, err := c.conn.Write(buf); err != nil {
			return
		}
	}
}

func (c *batch) close() {
	c.mu.Lock()
	c.ended = true
	c.some.Signal()
	c.mu.Unlock()
	c.conn.Close()
}

type room struct {
	mu      sync.RWMutex // guards clients
	clients map[client]struct{}
}

func (r *room) serve(conn net.Conn, c client) {
	in := bufio.NewReaderSize(conn, 1024)
	for line := []byte(nil); !bytes.Equal(line, []byte("\r\n")); {
		var err error
		if line, err = in.ReadSlice('\n'); err != nil {
			conn.Close()
			return
		}
	}
	if _, err := io.WriteString(conn, answer); err != nil {
		conn.Close()
		return
	}
	r.mu.Lock()
	r.clients[c] = struct{}{}
	r.mu.Unlock()
	go c.write()
	for {
		frame, err := readFrame(in)
		if err != nil {
			break
		}
		r.mu.RLock()
		for c := range r.clients {
			c.send(frame)
		}
		r.mu.RUnlock()
	}
	r.mu.Lock()
	delete(r.clients, c)
	r.mu.Unlock()
	c.close()
}

// readFrame reads a masked frame and returns it as a server sends it on. A close
// frame is io.EOF.
func readFrame(in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 {
		return nil, io.EOF
	}
	size, header := int(head[1]&0x7f), 2
	if size == 126 {
		if _, err := io.ReadFull(in, head[2:4]); err != nil {
			return nil, err
		}
		size, header = int(binary.BigEndian.Uint16(head[2:4])), 4
	}
	var mask [4]byte
	if _, err := io.ReadFull(in, mask[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, header+size)
	copy(frame, head[:header])
	frame[1] &= 0x7f
	payload := frame[header:]
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return frame, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen here")
	batched := flag.Bool("batch", false, "write all that is queued at once")
	flag.Parse()

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	r := &room{clients: make(map[client]struct{})}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		var c client
		if *batched {
			b := &batch{conn: conn}
			b.some.L = &b.mu
			c = b
		} else {
			c = &single{conn: conn, queue: make(chan []byte, queueSize), done: make(chan struct{})}
		}
		go r.serve(conn, c)
	}
}
