package programs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Whatever is done to the process, and whatever one address does, the last servers
// serve the others. It needs Linux: /proc, and a loopback network with many addresses.
func TestAttacks(t *testing.T) {
	attacks := []struct {
		name string
		long bool // it takes a while
		run  func(t *testing.T, program string)
	}{
		{"nobody reads the log any more", false, testLogClosed},
		{"the log blocks", false, testLogBlocks},
		{"the terminal hangs up", false, testHangup},
		{"one address takes all sockets", false, testSockets},
		{"all connections are taken", false, testMaxConnections},
		{"a slow peer at the end", false, testSlowPeer},
		{"peers that take nothing", true, testKernelMemory},
		{"an address that floods", true, testFlood},
	}
	for _, folder := range []string{"08-limits", last} {
		t.Run(folder, func(t *testing.T) {
			program := buildServer(t, folder)
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) {
					if !a.long {
						t.Parallel() // it waits more than it works
					} else if !*long {
						t.Skip("it takes a while: go test ./solutions/gates/programs -long -v -run Attacks")
					}
					a.run(t, program)
				})
			}
		})
	}
}

// A log that nobody reads any more is no reason to end.
func testLogClosed(t *testing.T, program string) {
	server, log := startUnread(t, program)
	a, b := server.join(t, "127.0.0.2"), server.join(t, "127.0.0.3")
	server.has(t, 2)
	said(t, "before", a, b)
	log.Close() // from here on a write to it is answered with SIGPIPE
	server.comeAndGo(t, 20)
	said(t, "after", b, a)
	server.Process.Signal(syscall.SIGTERM)
	took := server.leaves(t, a, b)
	if code := server.ProcessState.ExitCode(); code != 0 && code != 1 {
		t.Errorf("SIGTERM has ended the process with %v; it should exit with 0 or 1", server.err)
	}
	t.Logf("attacks: the log's reader gone: 20 came and went, two talked on; SIGTERM ended it in %v, %v", took, server.ProcessState)
}

// A log that blocks costs its own records.
func testLogBlocks(t *testing.T, program string) {
	const strangers = 1000 // two records each: more than the pipe and the server keep
	server, log := startUnread(t, program)
	a, b := server.join(t, "127.0.0.2"), server.join(t, "127.0.0.3")
	server.has(t, 2)
	server.comeAndGo(t, strangers)
	said(t, "still here", a, b)
	c := server.join(t, "127.0.0.4")
	said(t, "a new one", c, a, b)
	said(t, "and it hears", a, b, c)
	server.Process.Signal(syscall.SIGTERM)
	took := server.leaves(t, a, b, c)
	if took > 20*time.Second {
		t.Errorf("SIGTERM has ended the process after %v; 20s should do", took)
	}
	if code := server.ProcessState.ExitCode(); code != 0 && code != 1 {
		t.Errorf("SIGTERM has ended the process with %v; it should exit with 0 or 1", server.err)
	}
	// What was in the pipe is all that came out. If the end is among it, the pipe was
	// not full, and the attack none.
	records, err := io.ReadAll(log)
	if err != nil || bytes.Contains(records, []byte("shutting down")) {
		t.Errorf("the pipe has not blocked: %v, and at its end\n%s", err, tail(string(records), 2))
	}
	t.Logf("attacks: a log that blocks: %d came and went, a new one was heard; of the records %d KiB fitted into the pipe; SIGTERM ended it in %v",
		strangers, len(records)>>10, took)
}

// A terminal that hangs up ends the server as SIGTERM does, unless nohup says not to.
func testHangup(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0")
	a, b := server.join(t, "127.0.0.2"), server.join(t, "127.0.0.3")
	server.has(t, 2)
	said(t, "before", a, b)
	server.Process.Signal(syscall.SIGHUP)
	took := server.leaves(t, a, b)
	if server.err != nil {
		t.Errorf("SIGHUP has ended the process with %v; it should exit with 0", server.err)
	}

	server = startProcess(t, "sh", "-c", `trap "" HUP; exec "$0" -addr 127.0.0.1:0`, program)
	a, b = server.join(t, "127.0.0.2"), server.join(t, "127.0.0.3")
	server.has(t, 2)
	if !server.ignores(t, syscall.SIGHUP) {
		t.Errorf("SIGHUP was ignored when the server started, and is not any more")
	}
	server.Process.Signal(syscall.SIGHUP)
	for i := range 10 {
		said(t, fmt.Sprint("after ", i), a, b)
	}
	server.Process.Signal(syscall.SIGTERM)
	server.leaves(t, a, b)
	if server.err != nil {
		t.Errorf("SIGTERM has ended the process with %v; it should exit with 0", server.err)
	}
	t.Logf("attacks: SIGHUP: peers told 1001, exit code 0 in %v; where it was ignored, two talked on", took)
}

var ignored = regexp.MustCompile(`SigIgn:\s*([0-9a-f]+)`)

// ignores reports whether the process ignores a signal.
func (p *process) ignores(t *testing.T, signal syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	m := ignored.FindSubmatch(status)
	if err != nil || m == nil {
		t.Fatalf("no ignored signals in %s: %v", status, err)
	}
	mask, err := strconv.ParseUint(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask>>(signal-1)&1 == 1
}

// One address has as many sockets as it may, and no more: the others get in.
func testSockets(t *testing.T, program string) {
	const tried, allowed = 400, 32
	server := startProcess(t, "sh", "-c", `ulimit -n 300; exec "$0" -addr 127.0.0.1:0 -trusted-proxy 127.0.0.9/32`, program)

	held := server.visit(t, "127.0.0.2", tried)
	if len(held) == 0 || len(held) > allowed {
		t.Errorf("%d connections of one address were answered; it may have %d", len(held), allowed)
	}
	proxied := server.visit(t, "127.0.0.9", 100)
	if len(proxied) < 100 {
		t.Errorf("%d of 100 connections of the trusted proxy were answered; all should be", len(proxied))
	}
	files := server.files(t)

	get := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: from("127.0.0.3").DialContext}}
	began := time.Now()
	page, err := get.Get("http://" + server.addr)
	if err != nil {
		t.Fatalf("a newcomer has not got the page: %v", err)
	}
	page.Body.Close()
	if page.StatusCode != http.StatusOK {
		t.Errorf("a newcomer has got %s, and not the page", page.Status)
	}
	conn := server.join(t, "127.0.0.3")
	said(t, "in spite of all", conn)
	took := time.Since(began)

	var idle time.Duration
	for _, v := range held {
		took, err := v.idle()
		if err != nil {
			t.Fatalf("an idle connection is still open: %v", err)
		}
		idle = max(idle, took)
	}
	if idle < 4*time.Second || idle > time.Minute {
		t.Errorf("idle connections were closed after %v; 5s is right", idle)
	}
	said(t, "still here", conn)
	t.Logf("attacks: sockets: with 300 files %d of %d connections of one address stayed open, and 100 of 100 of a trusted proxy, %d files in all; a newcomer got page and WebSocket in %v; the idle were closed after %v",
		len(held), tried, files, took.Round(time.Millisecond), idle.Round(time.Second/10))
}

// Over the limit of all connections a handshake is told to come again.
func testMaxConnections(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-max-connections", "3")
	conns := []*websocket.Conn{server.join(t, "127.0.0.2"), server.join(t, "127.0.0.3"), server.join(t, "127.0.0.4")}
	server.has(t, 3)
	server.answers(t, http.StatusServiceUnavailable, "127.0.0.5", nil)
	said(t, "undisturbed", conns[0], conns[1:]...)
	conns[0].Close()
	eventually(t, "one has gone", func() bool { return server.online() == 2 })
	eventually(t, "another may come", func() bool {
		conn, _, err := server.dial("127.0.0.5", nil)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	t.Logf("attacks: -max-connections 3: the fourth got 503 with Retry-After, and came in when one had gone")
}

// startUnread runs the server, and reads its log until it listens and no further.
func startUnread(t *testing.T, program string) (*process, *os.File) {
	t.Helper()
	log, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p := &process{Cmd: exec.Command(program, "-addr", "127.0.0.1:0"), ended: make(chan struct{})}
	p.Stderr = stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.ended
		log.Close()
	})
	log.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(log).ReadString('\n')
	m := listening.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("%s has begun with %q, %v", p, line, err)
	}
	p.addr = m[1]
	return p, log
}
