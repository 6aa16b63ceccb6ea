package programs

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// narrow dials with a receive buffer of a few KB.
func (p *process) narrow(ip string) (net.Conn, error) {
	dialer := from(ip)
	dialer.Control = func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}
	return dialer.Dial("tcp", p.addr)
}

// slow opens a WebSocket that takes a few KB at a time.
func (p *process) slow(ip string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{
		NetDial:          func(string, string) (net.Conn, error) { return p.narrow(ip) },
		HandshakeTimeout: patience,
		ReadBufferSize:   4 << 10,
	}
	conn, _, err := dialer.Dial("ws://"+p.addr+"/ws", nil)
	return conn, err
}

// kernel returns for how many sockets of the server towards an address the kernel keeps
// what the peer has not taken, and how many bytes.
func (p *process) kernel(t *testing.T, ip string) (sockets, queued int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(p.addr)
	number, _ := strconv.Atoi(port)
	remote := binary.NativeEndian.Uint32(net.ParseIP(ip).To4())
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // number, local and remote address, state, queues
		if strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && strings.HasPrefix(f[2], fmt.Sprintf("%08X:", remote)) {
			send, _, _ := strings.Cut(f[4], ":")
			n, _ := strconv.ParseInt(send, 16, 64)
			if n > 0 {
				sockets, queued = sockets+1, queued+int(n)
			}
		}
	}
	return sockets, queued
}

// silent is a kind of peer that takes next to nothing of what it is sent.
type silent struct {
	how, ip string
	early   func(net.Conn) // what it does when it has 1 MB to take; or nil
	late    func(net.Conn) // and when it has 14
}

// What the kernel keeps for peers that take nothing is bounded for each address, and goes
// soon after they have gone, however they go.
func testKernelMemory(t *testing.T, program string) {
	const (
		connections = 18 // WebSockets of one address
		sockets     = 32 // all sockets that one may have
		rounds      = 3
		pages       = "127.0.2.6" // from here they ask for pages
		messages    = 14 << 5     // 14 MB
	)
	kinds := []silent{
		{"stay", "127.0.2.1", nil, nil},
		{"take a little", "127.0.2.2", nil, func(conn net.Conn) {
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.CopyN(io.Discard, conn, 3<<19)
		}},
		{"say goodbye", "127.0.2.3", func(conn net.Conn) { conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}) }, nil},
		{"break the protocol", "127.0.2.4", func(conn net.Conn) { conn.Write([]byte{0xf1, 0x80, 0, 0, 0, 0}) }, nil},
		{"hang up for their part", "127.0.2.5", func(conn net.Conn) { conn.(*net.TCPConn).CloseWrite() }, nil},
		{"ask for pages", pages, nil, nil},
	}
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-message-rate", "0", "-byte-rate", "0", "-handshake-rate", "0")
	speaker := server.join(t, "127.0.0.2")
	message := strings.Repeat("0123456789abcdef", 2<<10)
	largest := make([]int, len(kinds)) // how much the kernel kept for each at a time, in bytes
	measure := func() {
		for i, kind := range kinds {
			n, queued := server.kernel(t, kind.ip)
			if largest[i] = max(largest[i], queued); n > sockets {
				t.Errorf("those that %s: the kernel keeps something for %d sockets of one address, which may have %d, hung up or not", kind.how, n, sockets)
			}
		}
	}

	for range rounds {
		all := make([][]net.Conn, len(kinds))
		for i, kind := range kinds {
			for range connections {
				if kind.ip == pages {
					break
				}
				// An error says that those of the round before still count.
				if conn, err := server.slow(kind.ip); err == nil {
					defer conn.Close()
					all[i] = append(all[i], conn.NetConn())
				}
			}
		}
		for n := range 100 { // each asks for 2 MB, and wants no more
			conn, err := server.narrow(pages)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200))
			conn.(*net.TCPConn).CloseWrite()
			if n%10 == 0 {
				measure()
			}
		}
		var busy sync.WaitGroup
		act := func(act func(silent) func(net.Conn)) {
			measure()
			for i, kind := range kinds {
				if do := act(kind); do != nil {
					for _, conn := range all[i] {
						busy.Go(func() { do(conn) })
					}
				}
			}
		}
		for n := range messages {
			said(t, message, speaker)
			if n == 1<<5 {
				act(func(s silent) func(net.Conn) { return s.early })
			}
		}
		act(func(s silent) func(net.Conn) { return s.late })
		busy.Wait()
		eventually(t, "they are cut off", func() bool { return server.online() == 1 })
		measure()
	}

	// The kernel would give up by itself, after six minutes.
	began := time.Now()
	limit := began.Add(time.Minute)
	for i, kind := range kinds {
		if !within(time.Until(limit), func() bool { n, _ := server.kernel(t, kind.ip); return n == 0 }) {
			n, queued := server.kernel(t, kind.ip)
			t.Errorf("those that %s have gone for a minute, and the kernel keeps %d KiB for %d sockets", kind.how, queued>>10, n)
		}
		t.Logf("attacks: kernel memory: for those that %s at most %d KiB in %d rounds", kind.how, largest[i]>>10, rounds)
	}
	if !t.Failed() {
		t.Logf("attacks: kernel memory: nothing is kept %v after the last was cut off", time.Since(began).Round(time.Second))
	}
}

// A slow peer gets all that was said, and then the goodbye, even if the server has ended by
// then.
func testSlowPeer(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-byte-rate", "0")
	speaker := server.join(t, "127.0.0.2")
	slow, err := server.slow("127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	server.has(t, 2)
	const messages = 32
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("%16d", i), 2<<10) }
	for i := range messages {
		said(t, text(i), speaker)
	}
	server.Process.Signal(syscall.SIGTERM)
	took := server.leaves(t, speaker)
	if server.err != nil {
		t.Errorf("SIGTERM has ended the process with %v; it should exit with 0", server.err)
	}
	_, queued := server.kernel(t, "127.0.0.3")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	slow.SetReadDeadline(time.Now().Add(patience))
	for i := range messages {
		<-tick.C
		if _, got, err := slow.ReadMessage(); err != nil || string(got) != text(i) {
			t.Fatalf("of message %d, %d bytes came, and %v", i, len(got), err)
		}
	}
	if _, _, err := slow.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("then the connection ended with %v; it should be told 1001", err)
	}
	t.Logf("attacks: a slow peer: the server ended in %v, with %d KiB still on their way; they all came, and 1001", took, queued>>10)
}
