package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	senders   = 4  // of the clients send, if nothing else is said
	inFlight  = 32 // handshakes at a time
	ringSize  = 1 << 12
	minSize   = 1 + 4 + 6 // of a message: a mark, the sender, its count
	request   = "GET /ws%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	handshake = 20 * time.Second // for all clients together
	patience  = time.Second      // without any delivery: then no more will come
)

// A dialect is what a peer speaks inside WebSocket messages.
type dialect struct {
	query          string // of the handshake
	hello, welcome string // sent after the handshake, and what the answer to it has in it
	before, after  string // what a message goes between
	ping           string // a message that is to be answered with itself
}

// counting is spoken by peers that count, with 10-resume.
var counting = dialect{query: "?after=", welcome: `"alone"`}

var centrifugeJSON = dialect{
	hello:   `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"bench"}}`,
	welcome: `"id":2`,
	before:  `{"id":3,"publish":{"channel":"bench","data":"`,
	after:   `"}}`,
	ping:    "{}",
}

// A load is many WebSocket clients, all driven by the goroutine that calls its
// methods. It reads whatever a socket has, finds the messages in it, and counts
// them by sender. In steady state it allocates nothing.
type load struct {
	port    int
	dialect dialect
	size    int // of a message, in bytes
	epoll   int
	clients []*client
	joined  int // clients that have joined and are not gone

	sent   []int32                    // by sender
	sentAt []*[ringSize]time.Duration // by sender, and then by count
	start  time.Time

	greeting  []byte // the last welcome
	delivered int
	timed     int // how many of the clients have their latency measured; 0 for all
	latency   histogram
	joinTime  histogram // from connect to the server's welcome

	events []unix.EpollEvent
	buf    []byte
}

type state int

const (
	waiting state = iota // for the answer to the handshake
	joining              // waiting for the welcome
	joined
	gone
)

// A client is one connection.
type client struct {
	fd        int
	index     int32
	state     state
	begun     time.Duration
	unparsed  []byte // the beginning of a frame
	message   []byte // the fragments so far of a message that comes in several
	unsent    []byte
	next      []int32 // the count that comes next, by sender
	delivered int
	disorder  int // messages that came again or too late
	closeCode int // that the server told
	toldAt    time.Duration
	goneAt    time.Duration
	closing   bool // we have sent a close frame
	stalled   bool // does not read
}

func newLoad(port int, d dialect, size int) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &load{
		port: port, dialect: d, size: max(size, minSize), epoll: epoll, start: time.Now(),
		events: make([]unix.EpollEvent, 512), buf: make([]byte, 256<<10),
	}
	l.setSenders(senders)
	return l, nil
}

// setSenders lets the first n clients send. Call it before connect.
func (l *load) setSenders(n int) {
	l.sent = make([]int32, n)
	l.sentAt = make([]*[ringSize]time.Duration, n)
	for i := range l.sentAt {
		l.sentAt[i] = new([ringSize]time.Duration)
	}
}

func (l *load) now() time.Duration { return time.Since(l.start) }

// close closes all that is open.
func (l *load) close() {
	for _, c := range l.clients {
		l.drop(c)
	}
	unix.Close(l.epoll)
}

// connect adds n clients and waits until they have joined.
func (l *load) connect(n int, options ...func(fd int) error) error {
	deadline := l.now() + handshake
	for begun := 0; ; {
		open := 0
		for _, c := range l.clients {
			if c.state == waiting || c.state == joining {
				open++
			}
		}
		if begun == n && open == 0 {
			break
		}
		for ; begun < n && open < inFlight; begun, open = begun+1, open+1 {
			c := &client{index: int32(len(l.clients))}
			l.clients = append(l.clients, c)
			if err := l.dial(c, options...); err != nil {
				return err
			}
		}
		if l.now() > deadline {
			return fmt.Errorf("%d of %d clients have not joined in time", open+n-begun, n)
		}
		if err := l.poll(10 * time.Millisecond); err != nil {
			return err
		}
	}
	if l.joined < len(l.clients) {
		return errors.New("a client was turned away")
	}
	return nil
}

// untilAllHear sends messages until one has reached every client, and counts
// none of them: a server may answer a handshake before it knows the client.
func (l *load) untilAllHear() error {
	for range 20 {
		l.queue(0, l.now())
		l.flush(l.clients[0])
		if err := l.settle(); err != nil {
			return err
		}
		if l.joined < len(l.clients) {
			return errors.New("a client was cut off")
		}
		if l.slowest(0) == l.sent[0] {
			clear(l.sent)
			l.delivered = 0
			for _, c := range l.clients {
				clear(c.next)
				c.delivered, c.disorder = 0, 0
			}
			return nil
		}
	}
	return errors.New("not all clients hear a message")
}

// batchReads makes epoll report a socket only when it has a quarter of the window:
// a read then takes several messages. sweep reads what is less.
func (l *load) batchReads(window int) error {
	bytes := window / 4 * messageSize
	for _, c := range l.clients {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes); err != nil {
			return fmt.Errorf("SO_RCVLOWAT: %w", err)
		}
	}
	return nil
}

// sweep waits as long as given and then reads once from each client that reads.
func (l *load) sweep(wait time.Duration) error {
	if err := l.poll(wait); err != nil {
		return err
	}
	for _, c := range l.clients {
		if !c.stalled {
			l.read(c)
		}
	}
	return nil
}

// dial connects c anew.
func (l *load) dial(c *client, options ...func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	*c = client{fd: fd, index: c.index, begun: l.now(), unparsed: c.unparsed[:0], message: c.message[:0], unsent: c.unsent[:0], next: make([]int32, len(l.sent))}
	options = append(options, func(fd int) error {
		return unix.Connect(fd, &unix.SockaddrInet4{Port: l.port, Addr: [4]byte{127, 0, 0, 1}})
	}, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}, func(fd int) error {
		return unix.SetNonblock(fd, true)
	}, func(fd int) error {
		return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.index})
	})
	for _, option := range options {
		if err := option(fd); err != nil {
			unix.Close(fd)
			c.state = gone
			return fmt.Errorf("connect: %w", err)
		}
	}
	c.unsent = fmt.Appendf(c.unsent, request, l.dialect.query)
	l.flush(c)
	return nil
}

// drop closes c's socket.
func (l *load) drop(c *client) {
	if c.state == gone {
		return
	}
	if c.state == joined {
		l.joined--
	}
	c.state, c.goneAt = gone, l.now()
	unix.Close(c.fd) // takes it out of epoll, too
}

// stall makes c stop reading, or read again.
func (l *load) stall(c *client, stalled bool) error {
	c.stalled = stalled
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.index}
	if stalled {
		return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
	}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &event)
}

// poll waits until a socket has something to read, or for the time given, and
// reads once from each socket that has.
func (l *load) poll(wait time.Duration) error {
	timeout := unix.NsecToTimespec(int64(max(wait, 0)))
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_pwait2: %w", errno)
	}
	if errno == 0 {
		for _, event := range l.events[:n] {
			l.read(l.clients[event.Fd])
		}
	}
	return nil
}

// read takes what c's socket has.
func (l *load) read(c *client) {
	if c.state == gone {
		return
	}
	kept := copy(l.buf, c.unparsed)
	n, err := unix.Read(c.fd, l.buf[kept:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil || n == 0:
		l.drop(c)
		return
	}
	rest := l.parse(c, l.buf[:kept+n], l.now())
	c.unparsed = append(c.unparsed[:0], rest...)
}

// parse handles all that data holds whole, and returns the rest.
func (l *load) parse(c *client, data []byte, now time.Duration) (rest []byte) {
	if c.state == waiting {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			return data
		}
		if !bytes.HasPrefix(data, []byte("HTTP/1.1 101 ")) {
			l.drop(c)
			return nil
		}
		data = data[end+4:]
		c.state = joining
		if l.dialect.welcome == "" {
			l.welcome(c, now)
		} else if l.dialect.hello != "" {
			l.write(c, 1, l.dialect.hello)
		}
	}
	for len(data) >= 2 && c.state != gone {
		header, size := 2, int(data[1]&0x7f)
		switch {
		case size == 126 && len(data) >= 4:
			header, size = 4, int(binary.BigEndian.Uint16(data[2:]))
		case size == 127 && len(data) >= 10:
			header, size = 10, int(binary.BigEndian.Uint64(data[2:]))
		case size >= 126:
			return data
		}
		if len(data) < header+size {
			return data
		}
		payload := data[header : header+size]
		switch final, opcode := data[0]&0x80 != 0, data[0]&0x0f; opcode {
		case 0, 1, 2:
			if !final || opcode == 0 {
				c.message = append(c.message, payload...)
				payload = c.message
			}
			if final {
				l.scan(c, payload, now)
				c.message = c.message[:0]
			}
		case 8:
			if c.closeCode = 1005; size >= 2 {
				c.closeCode = int(binary.BigEndian.Uint16(payload))
			}
			c.toldAt = now
			if !c.closing {
				c.closing = true
				l.write(c, 8, string(payload))
			}
		case 9:
			l.write(c, 10, string(payload))
		}
		data = data[header+size:]
	}
	return data
}

func (l *load) welcome(c *client, now time.Duration) {
	c.state = joined
	l.joined++
	l.joinTime.add(now - c.begun)
}

// scan finds the messages in a payload: one, or several that the server has
// joined, each in whatever the dialect puts around it.
func (l *load) scan(c *client, payload []byte, now time.Duration) {
	if c.state == joining {
		if bytes.Contains(payload, []byte(l.dialect.welcome)) {
			l.welcome(c, now)
			l.greeting = append(l.greeting[:0], payload...)
		}
		return
	}
	for found := payload; ; {
		at := bytes.IndexByte(found, '#')
		if at < 0 || len(found)-at < l.size {
			break
		}
		sender, count := number(found[at+1:at+5]), number(found[at+5:at+minSize])
		if sender < len(l.sent) {
			l.count(c, sender, int32(count), now)
		}
		found = found[at+l.size:]
	}
	if l.dialect.ping != "" && string(payload) == l.dialect.ping {
		l.write(c, 1, l.dialect.ping)
	}
}

func (l *load) count(c *client, sender int, count int32, now time.Duration) {
	if count < c.next[sender] {
		c.disorder++
		return
	}
	c.next[sender] = count + 1
	c.delivered++
	l.delivered++
	if l.timed == 0 || int(c.index) < l.timed {
		l.latency.add(now - l.sentAt[sender][count%ringSize])
	}
}

// number reads decimal digits.
func number(digits []byte) (n int) {
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	return n
}

// write sends one frame, masked with zeros.
func (l *load) write(c *client, opcode byte, payload string) {
	c.unsent = appendHeader(c.unsent, opcode, len(payload))
	c.unsent = append(c.unsent, payload...)
	l.flush(c)
}

// queue adds the next message of a sender to what its socket is to take, and
// remembers when.
func (l *load) queue(sender int, at time.Duration) {
	c, count := l.clients[sender], l.sent[sender]
	l.sent[sender]++
	l.sentAt[sender][count%ringSize] = at
	c.unsent = appendHeader(c.unsent, 1, len(l.dialect.before)+l.size+len(l.dialect.after))
	c.unsent = append(c.unsent, l.dialect.before...)
	c.unsent = append(c.unsent, '#')
	c.unsent = appendNumber(c.unsent, 4, sender)
	c.unsent = appendNumber(c.unsent, 6, int(count))
	for range l.size - minSize {
		c.unsent = append(c.unsent, '.')
	}
	c.unsent = append(c.unsent, l.dialect.after...)
}

// appendNumber appends n in so many decimal digits.
func appendNumber(b []byte, digits, n int) []byte {
	var buf [20]byte
	text := strconv.AppendInt(buf[:0], int64(n), 10)
	for range digits - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

func appendHeader(b []byte, opcode byte, size int) []byte {
	b = append(b, 0x80|opcode)
	if size < 126 {
		b = append(b, 0x80|byte(size))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(size))
	}
	return append(b, 0, 0, 0, 0) // the mask
}

// flush gives c's socket what it takes without waiting.
func (l *load) flush(c *client) {
	if c.state == gone || len(c.unsent) == 0 {
		return
	}
	n, err := unix.Write(c.fd, c.unsent)
	switch {
	case err == nil:
		c.unsent = c.unsent[:copy(c.unsent, c.unsent[n:])]
	case err != unix.EAGAIN && err != unix.EINTR:
		c.unsent = c.unsent[:0] // the reader will see why
	}
}

// slowest returns how many messages of a sender all readers have.
func (l *load) slowest(sender int) int32 {
	slowest := l.sent[sender]
	for _, c := range l.clients {
		if c.state == joined && !c.stalled {
			slowest = min(slowest, c.next[sender])
		}
	}
	return slowest
}

// settle reads until all that was sent has reached all who read, or nothing more
// comes.
func (l *load) settle() error {
	last, count := l.now(), l.delivered
	for {
		done := true
		for s := range l.sent {
			done = done && l.slowest(s) == l.sent[s] && len(l.clients[s].unsent) == 0
		}
		if done || l.joined == 0 || l.now()-last > patience {
			return nil
		}
		if err := l.sweep(5 * time.Millisecond); err != nil {
			return err
		}
		if l.delivered != count {
			last, count = l.now(), l.delivered
		}
		for s := range l.sent {
			l.flush(l.clients[s])
		}
	}
}

// A histogram counts durations, each to within 2 %.
type histogram struct {
	counts [40 << 6]uint32
	total  int
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// bucket is the upper six bits of n below the first, and how many follow.
func bucket(n uint64) int {
	shift := max(bits.Len64(n)-7, 0)
	return min(shift<<6+int(n>>shift), 40<<6-1)
}

// quantile returns the duration that the share q of all is not above.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.total))
	for i, count := range h.counts {
		if left -= int(count); left < 0 {
			shift := max(i>>6-1, 0)
			return time.Duration(i-shift<<6) << shift
		}
	}
	return 0
}
