package programs

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var soak = flag.Duration("soak", 20*time.Second, "how long new faults come in the soak gate")

const (
	healthy = 2000 // peers that chat through it all

	// window is how many messages may be on their way to somebody: much less than
	// the log keeps, so no healthy peer falls behind, however busy the machine is.
	window = 28
)

// Whatever its peers do, and with no file descriptor left, the server stays up,
// healthy peers lose nothing, and in the end everything is as it was. It needs
// Linux: /proc, and a loopback network with many addresses.
func TestSoak(t *testing.T) {
	if !*long {
		t.Skip("it takes a minute: go test ./solutions/gates/programs -long -v -run Soak")
	}
	program := buildServer(t, last, "-overlay", panicOnText(t))
	t.Run("faults", func(t *testing.T) { testFaults(t, program) })
	t.Run("no file descriptors", func(t *testing.T) { testNoFiles(t, program) })
}

// panicOnText returns an overlay for go build, in which the server has a hook that
// panics for each text message.
func panicOnText(t *testing.T) string {
	t.Helper()
	const main, line = "solutions/" + last + "/main.go", "\tserver := NewServer(cfg)\n"
	code := read(t, main)
	if strings.Count(code, line) != 1 {
		t.Fatalf("%s has not one line %q, behind which this test sets a hook", main, line)
	}
	code = strings.Replace(code, line, line+`
	server.cfg.OnMessage = func(_ context.Context, _ *Client, m *Message) {
		if m.Type == 1 {
			panic("for the soak")
		}
		server.hub.Broadcast(m)
	}
`, 1)
	dir := t.TempDir()
	overlay := fmt.Sprintf(`{"Replace": {%q: %q}}`, main, dir+"/main.go")
	for name, data := range map[string]string{"main.go": code, "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir + "/overlay.json"
}

// testFaults lets peers do all sorts of things for a while.
func testFaults(t *testing.T, program string) {
	shed := make(chan struct{}) // closed when the server has let go of all bad peers
	release := sync.OnceFunc(func() { close(shed) })
	var talkers, attackers, victims sync.WaitGroup
	t.Cleanup(func() { // after the process has ended, should the test fail before
		release()
		attackers.Wait()
		victims.Wait()
		talkers.Wait()
	})
	server := startProcess(t, program, "-addr", "127.0.0.1:0")
	atFirst := server.files(t)
	s := &street{server: server}
	c := s.gather(t, healthy)
	for i := range 120 { // as much as it takes to have all buffers in use
		c.say(t, i%3)
	}
	c.quiet(t)
	files, memory := atFirst+healthy, server.memory(t)

	// Two healthy peers talk, all the time. Then come the faults.
	talk, hush := context.WithCancel(t.Context())
	defer hush()
	for sender := range 2 {
		talkers.Go(func() { every(talk, 400*time.Millisecond, func() { c.say(t, sender) }) })
	}
	// The server gives a peer 6 seconds to answer a ping. A machine that is too busy
	// for that shall not decide: other signs of life count as well.
	talkers.Go(func() { every(talk, 20*time.Second, func() { c.live(t) }) })
	panics := &fault{name: "panics", every: 100 * time.Millisecond, do: s.panic}
	kinds := []*fault{
		{name: "resets", every: 50 * time.Millisecond, do: s.reset},
		{name: "half open", every: 500 * time.Millisecond, lasts: true, do: func() error { return s.vanish(shed) }},
		{name: "stalled", every: time.Second, lasts: true, do: func() error { return s.stall(shed) }},
		{name: "slow handshakes", every: 100 * time.Millisecond, lasts: true, do: s.slowHandshake},
		{name: "too big", every: 100 * time.Millisecond, do: s.tooBig},
		{name: "malformed", every: 50 * time.Millisecond, do: s.malformed},
		panics,
		{name: "comes and goes", every: 50 * time.Millisecond, do: s.comeAndGo},
		{name: "floods", every: 5 * time.Second, do: func() error { return c.flood(t, 2) }},
	}
	attack, stop := context.WithTimeout(t.Context(), *soak)
	defer stop()
	for _, k := range kinds {
		attackers.Go(func() {
			every(attack, k.every, func() {
				once := func() {
					if err := k.do(); err != nil && k.wrong.Add(1) == 1 { // one says enough
						t.Errorf("%s: %v", k.name, err)
					}
					k.done.Add(1)
				}
				if k.lasts {
					victims.Go(once)
				} else {
					once()
				}
			})
		})
	}
	attackers.Wait()
	peak := server.memory(t)
	c.until(t, "only the healthy are left", func() bool { return server.online() == healthy })
	release()
	victims.Wait()
	c.until(t, "all other files are closed", func() bool { return server.files(t) == files })
	const log = 2 * 8 << 20 // the log has filled meanwhile; chunks that it has let go of wait for their collection
	c.until(t, "memory is back, up to a half and the log", func() bool { return server.memory(t) <= memory+memory/2+log })
	after := server.memory(t)
	hush()
	talkers.Wait()
	c.quiet(t)
	c.leave(t)
	eventually(t, "nobody is left", func() bool { return server.online() == 0 && server.files(t) == atFirst })
	if n := server.logged("panic serving") + server.logged("msg=panic "); n != int(panics.done.Load()) {
		t.Errorf("the server has logged %d panics, and %d are from the hook", n, panics.done.Load())
	}
	all, ours := server.goroutines(t)
	if len(ours) > 0 {
		t.Errorf("%d goroutines of connections are left. One is\n%s", len(ours), ours[0])
	}
	var counts []string
	for _, k := range kinds {
		if k.done.Load() == 0 {
			t.Errorf("%s: none", k.name)
		}
		counts = append(counts, fmt.Sprintf("%d %s", k.done.Load(), k.name))
	}
	t.Logf("soak: %v of faults: %s", *soak, strings.Join(counts, ", "))
	t.Logf("soak: %d messages came to all of %d healthy peers, %d deliveries, none lost, the slowest to all in %v",
		c.sent.Load(), healthy, c.delivered.Load(), time.Duration(c.slowest.Load()).Round(time.Millisecond))
	t.Logf("soak: %d handshakes tried again", s.again.Load())
	t.Logf("soak: memory %d MB before, %d MB at the end of the faults, %d MB after; open files %d before and after, %d without peers; %d goroutines in the end, %d of them of connections",
		memory>>20, peak>>20, after>>20, files, atFirst, all, len(ours))
}

// testNoFiles lets the server run out of file descriptors.
func testNoFiles(t *testing.T, program string) {
	server := startProcess(t, "sh", "-c", `ulimit -n 64; exec "$0" -addr 127.0.0.1:0`, program)
	files := server.files(t) + 20 // not counted later, when the last request may still be there
	s := &street{server: server}
	c := s.gather(t, 20)
	var waiting []net.Conn
	for range 100 {
		conn, err := s.connect()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	eventually(t, "the server has no file left", func() bool { return server.logged("too many open files") > 0 })
	for range 50 {
		c.say(t, 0)
	}
	c.quiet(t)
	for _, conn := range waiting {
		conn.Close()
	}
	eventually(t, "the files are back", func() bool { return server.files(t) == files })
	if err := s.comeAndGo(); err != nil {
		t.Errorf("once there are files again: %v", err)
	}
	c.leave(t)
	t.Logf("soak: without a file descriptor left, %d messages came to all of 20 peers; then a new one came in", c.sent.Load())
}

// fault is one way to behave badly, again and again.
type fault struct {
	name  string
	every time.Duration
	lasts bool         // the next does not wait for its end
	do    func() error // returns what the server has done wrong
	done  atomic.Int64
	wrong atomic.Int64
}

// every calls f in intervals until ctx is done.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// street is where peers come from: each has an address of its own, so that the
// limits of every day hold.
type street struct {
	server *process
	peers  atomic.Uint32
	again  atomic.Int64 // handshakes that were tried again
}

// connect opens a TCP connection.
func (s *street) connect() (net.Conn, error) {
	n := s.peers.Add(1)
	from := &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}
	dialer := net.Dialer{LocalAddr: from, Control: func(_, _ string, raw syscall.RawConn) error {
		// Segments as on a real network. With those of loopback, 64 KiB each, the
		// server's kernel would take megabytes for a peer that reads nothing.
		return raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1460)
		})
	}}
	return dialer.Dial("tcp", s.server.addr)
}

// dial opens a WebSocket. The server gives a handshake 5 seconds, and a machine that
// is too busy for that shall not decide: it is tried for minutes.
func (s *street) dial() (*websocket.Conn, error) {
	const patience = 3 * time.Minute
	dialer := websocket.Dialer{
		NetDial:          func(string, string) (net.Conn, error) { return s.connect() },
		HandshakeTimeout: patience,
	}
	for begin := time.Now(); ; s.again.Add(1) {
		conn, _, err := dialer.Dial("ws://"+s.server.addr+"/ws", nil)
		if err == nil || time.Since(begin) > patience {
			return conn, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.server.ended:
			return nil, errors.New("the server has ended")
		}
	}
}

// reset hangs up in the middle of a message, with a TCP reset.
func (s *street) reset() error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	conn.NetConn().Write([]byte{0x82, 0xff, 0})
	conn.NetConn().(*net.TCPConn).SetLinger(0)
	return conn.Close()
}

// vanish is half open: the network drops all that comes for it, so that not even an
// acknowledgment goes back. It stays so until the server has let go of it.
func (s *street) vanish(shed <-chan struct{}) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	tcp := conn.NetConn().(*net.TCPConn)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var dropAll error
	raw.Control(func(fd uintptr) {
		//lint:ignore SA1019 golang.org/x/net, which should take its place, is not a requirement here
		dropAll = syscall.AttachLsf(int(fd), []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K}})
	})
	<-shed
	tcp.SetLinger(0) // as nobody would answer its goodbye
	return errors.Join(dropAll, conn.Close())
}

// stall reads nothing and sends pings as fast as it can, until it is cut off.
func (s *street) stall(shed <-chan struct{}) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	go func() {
		<-shed // its kernel may be the last to know: no more gets through to it
		conn.Close()
	}()
	conn.NetConn().(*net.TCPConn).SetReadBuffer(16 << 10) // or the kernel lets it grow
	ping := append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, make([]byte, 125)...)
	for err == nil {
		_, err = conn.NetConn().Write(ping)
	}
	return nil
}

// slowHandshake never ends its request. The server must hang up.
func (s *street) slowHandshake() error {
	conn, err := s.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Minute))
	conn.Write([]byte("GET /ws HTTP/1.1\r\nHost: a\r\n"))
	if answer, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the server has answered %q and not hung up", answer)
	}
	return nil
}

// tooBig begins a message over the limit.
func (s *street) tooBig() error {
	return s.provoke(websocket.CloseMessageTooBig, []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0})
}

// malformed breaks the protocol in one of several ways.
func (s *street) malformed() error {
	frames := [][]byte{
		{0x81, 0x01, 'a'},                         // without a mask
		{0xf1, 0x80, 0, 0, 0, 0},                  // with reserved bits
		{0x83, 0x80, 0, 0, 0, 0},                  // an unknown opcode
		{0x80, 0x80, 0, 0, 0, 0},                  // goes on with what has not begun
		{0x09, 0x80, 0, 0, 0, 0},                  // a ping in fragments
		{0x89, 0xfe, 0, 126, 0, 0, 0, 0},          // a ping of 126 bytes
		{0x81, 0x82, 0, 0, 0, 0, 0xc3, '('},       // not UTF-8
		{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed, 0x0}, // a close code that is never sent
	}
	i := int(s.peers.Load()) % len(frames)
	code := websocket.CloseProtocolError
	if i == 6 {
		code = websocket.CloseInvalidFramePayloadData
	}
	return s.provoke(code, frames[i])
}

// panic sends what the hook panics for.
func (s *street) panic() error {
	return s.provoke(websocket.CloseInternalServerErr, []byte{0x81, 0x80, 0, 0, 0, 0})
}

// comeAndGo says goodbye and waits for the answer.
func (s *street) comeAndGo() error {
	return s.provoke(websocket.CloseNormalClosure, []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
}

// provoke sends bytes after a handshake and demands a close code.
func (s *street) provoke(code int, data []byte) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.NetConn().Write(data); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(3 * time.Minute))
	for err == nil {
		_, _, err = conn.ReadMessage() // others are talking
	}
	if !websocket.IsCloseError(err, code) {
		return fmt.Errorf("after % x the connection ended with %v; it should be told %d", data, err, code)
	}
	return nil
}

// crowd is the healthy peers. A message has the number of its slot, its sender,
// and its number among the sender's.
type crowd struct {
	server  *process
	conns   []*websocket.Conn
	readers sync.WaitGroup
	failure sync.Once     // the first says enough
	failed  chan struct{} // closed with it

	slots     chan int             // those that are free
	missing   [window]atomic.Int32 // how many peers have not yet got the message in a slot
	began     [window]time.Time
	next      [3]uint32 // by sender; each belongs to the goroutine that sends
	sent      atomic.Int64
	delivered atomic.Int64
	slowest   atomic.Int64
}

// gather lets healthy peers join.
func (s *street) gather(t *testing.T, peers int) *crowd {
	t.Helper()
	c := &crowd{server: s.server, slots: make(chan int, window), failed: make(chan struct{})}
	for slot := range window {
		c.slots <- slot
	}
	for range peers {
		conn, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c.conns = append(c.conns, conn)
		// Room for a whole window, so that the server never waits for a healthy peer.
		if err := conn.NetConn().(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		// gorilla's own handler gives up after a second, which a busy machine may take.
		conn.SetPingHandler(func(payload string) error {
			return conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Minute))
		})
		c.readers.Go(func() {
			err := c.listen(conn)
			if !websocket.IsCloseError(err, websocket.CloseNormalClosure) && t.Context().Err() == nil {
				c.fail(t, fmt.Errorf("a healthy peer: %w", err))
			}
		})
	}
	t.Cleanup(c.readers.Wait)
	t.Cleanup(func() {
		for _, conn := range c.conns {
			conn.Close()
		}
	})
	eventually(t, "all are online", func() bool { return s.server.online() == peers })
	return c
}

// listen reads until the connection ends. Each sender's messages must come in
// order, once, and none may be missing.
func (c *crowd) listen(conn *websocket.Conn) error {
	var next [len(c.next)]uint32
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		slot, sender, number := binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint32(data[4:])
		if number != next[sender] {
			return fmt.Errorf("message %d of sender %d came where %d should", number, sender, next[sender])
		}
		next[sender]++
		c.delivered.Add(1)
		if c.missing[slot].Add(-1) == 0 {
			took := int64(time.Since(c.began[slot]))
			for was := c.slowest.Load(); took > was && !c.slowest.CompareAndSwap(was, took); was = c.slowest.Load() {
			}
			c.slots <- int(slot)
		}
	}
}

// say sends the next message of one of the peers, as soon as there is a slot for it. Each
// fourth is 16 KiB, so that who does not read is soon noticed.
func (c *crowd) say(t *testing.T, sender int) {
	var slot int
	select {
	case slot = <-c.slots:
	case <-c.failed:
		return
	case <-t.Context().Done():
		return
	}
	data := make([]byte, 64)
	if c.next[sender]%4 == 0 {
		data = make([]byte, 16<<10)
	}
	binary.BigEndian.PutUint16(data, uint16(slot))
	binary.BigEndian.PutUint16(data[2:], uint16(sender))
	binary.BigEndian.PutUint32(data[4:], c.next[sender])
	c.next[sender]++
	c.began[slot] = time.Now()
	c.missing[slot].Store(int32(len(c.conns)))
	if err := c.conns[sender].WriteMessage(websocket.BinaryMessage, data); err != nil {
		c.fail(t, fmt.Errorf("sender %d: %w", sender, err))
	}
	c.sent.Add(1)
}

// fail says that a healthy peer has lost something.
func (c *crowd) fail(t *testing.T, err error) {
	c.failure.Do(func() {
		t.Errorf("%v. The server's log ends with\n%s", err, tail(c.server.records(), 10))
		close(c.failed)
	})
}

// until waits for a condition, as long as no healthy peer has lost anything.
func (c *crowd) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		select {
		case <-c.failed:
			t.FailNow()
		default:
		}
		return condition()
	})
}

// flood lets a healthy peer send 100 messages as fast as there are slots. The server
// reads it slowly; nothing of it may be lost.
func (c *crowd) flood(t *testing.T, sender int) error {
	for range 100 {
		c.say(t, sender)
	}
	return nil
}

// live sends a sign of life for each peer.
func (c *crowd) live(t *testing.T) {
	for _, conn := range c.conns {
		if err := conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute)); err != nil {
			c.fail(t, fmt.Errorf("a sign of life: %w", err))
		}
	}
}

// quiet waits until all messages have come to all.
func (c *crowd) quiet(t *testing.T) {
	t.Helper()
	c.until(t, "all messages have come to all", func() bool { return len(c.slots) == window })
}

// leave says goodbye for all and waits for the answers.
func (c *crowd) leave(t *testing.T) {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	for _, conn := range c.conns {
		if err := conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Minute)); err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			t.Error(err)
		}
	}
	c.readers.Wait()
}

// files returns how many files the process has open.
func (p *process) files(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

var resident = regexp.MustCompile(`VmRSS:\s*(\d+) kB`)

// memory returns how much memory the process has, in bytes.
func (p *process) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	m := resident.FindSubmatch(status)
	if err != nil || m == nil {
		t.Fatalf("no memory in %s: %v", status, err)
	}
	kB, _ := strconv.Atoi(string(m[1]))
	return kB << 10
}

// goroutines ends the process with SIGQUIT, upon which Go prints the stacks of all
// goroutines. It returns their number, and the stacks of those that serve a
// connection.
func (p *process) goroutines(t *testing.T) (all int, ours []string) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	for stack := range strings.SplitSeq(p.records(), "\n\n") {
		if strings.HasPrefix(stack, "goroutine ") {
			all++
			if strings.Contains(stack, "main.(*") && !strings.Contains(stack, "main.(*listener).Accept(") {
				ours = append(ours, stack)
			}
		}
	}
	return all, ours
}
