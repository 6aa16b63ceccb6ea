package runner

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serve starts the real program with serve, and waits until the server of a folder
// listens.
func (s *session) serve(addr, folder string, args ...string) *running {
	s.Helper()
	p := s.start(append(append([]string{"serve"}, args...), "-addr", addr)...)
	p.until(s.T, "Starting "+folder+". Ctrl-C ends it, and a save restarts it.\n")
	p.until(s.T, listening(addr))
	return p
}

// listening is in the log record of a server that has begun.
func listening(addr string) string { return " msg=listening url=http://" + addr + "\n" }

func TestServeRunsTheServerOfAStepAndRestartsItOnASave(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s, addr := newSession(t), ownAddress(t)
	online := func(want string) {
		t.Helper()
		if got := get(t, "http://"+addr+"/online"); got != want+"\n" {
			t.Fatalf("/online answers %q, want %q", got, want)
		}
	}
	s.solve(3)
	p := s.serve(addr, "steps/03-hub", "3")
	online(`{"online":0}`)
	if page := get(t, "http://"+addr+"/"); !strings.Contains(page, "<title>") {
		t.Errorf("/ answers %q", page)
	}

	// A save restarts it, at the same address.
	s.edit(3, "main.go", `{\"online\":%d}`, `{\"connected\":%d}`)
	p.until(t, "Starting steps/03-hub. Ctrl-C ends it, and a save restarts it.\n")
	p.until(t, listening(addr))
	online(`{"connected":0}`)

	// What does not compile is told with file and line, and the old one runs on.
	s.edit(3, "hub.go", "	h.mu.RLock()\n", "	h.mutex.RLock()\n")
	source, err := os.ReadFile(filepath.Join(s.root, "steps/03-hub/hub.go"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(source), "h.mutex")
	p.until(t, "steps/03-hub does not build:\n")
	p.until(t, fmt.Sprintf("\nsteps/03-hub/hub.go:%d:4: h.mutex undefined", 1+strings.Count(before, "\n")))
	p.until(t, "The server from before goes on.\n")
	online(`{"connected":0}`)

	s.edit(3, "hub.go")
	p.until(t, listening(addr))
	online(`{"connected":0}`)

	p.signal(t, syscall.SIGHUP) // the terminal is closed
	p.end(t, 0)
	s.nothingLeft(addr)
}

func TestServeSaysThatTheServerHasEnded(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	s.solve(1)
	taken, err := net.Listen("tcp", ownAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	addr := taken.Addr().String()

	p := s.start("serve", "01-upgrade", "-addr", addr)
	p.until(t, "bind: address already in use (try -addr 127.0.0.1:0, which picks a free port)\n")
	p.until(t, "The server has ended (exit status 1). A save starts it again, Ctrl-C ends this.\n")
	taken.Close()
	s.edit(1, "server.go", "// echo sends", "// echo is mine: it sends")
	p.until(t, listening(addr))
	p.interrupt(t)
	p.end(t, 0)
	s.nothingLeft(addr)

	help := s.start("serve", "1", "-h") // ends by itself
	help.until(t, "-addr")
	help.end(t, 0)
	s.nothingLeft(addr)
}

// Ctrl-C on a terminal reaches each process of a group. The server must hear of it
// once all the same, since the second time it does not say goodbye.
func TestCtrlCEndsServeWithAGoodbyeAndTwiceAtOnce(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s, addr := newSession(t), ownAddress(t)
	stall := func() *running {
		t.Helper()
		peer := s.start("peer", "-stall", "-url", "ws://"+addr+"/ws")
		peer.until(t, "reading nothing from now on; Ctrl-C ends it\n")
		return peer
	}

	server := s.serve(addr, "solutions/08-limits", "-solution", "8")
	peer := stall()
	server.interrupt(t)
	server.until(t, `code=1001 reason="server is shutting down"`)
	server.end(t, 0)
	s.nothingLeft(addr)
	peer.interrupt(t)
	peer.end(t, 0)

	// A goodbye that takes longer than anybody waits.
	s.solve(8)
	s.edit(8, "client.go", "closeWait = 2 * time.Second", "closeWait = time.Hour")
	s.edit(8, "main.go", "shutdownWait = 15 * time.Second", "shutdownWait = time.Hour")
	server = s.serve(addr, "steps/08-limits", "8")
	peer = stall()
	server.interrupt(t)
	server.until(t, `msg="shutting down"`)
	server.interrupt(t)
	if last := server.end(t, 0); strings.Contains(last, "has not ended") {
		t.Errorf("a second Ctrl-C does not end it at once:\n%s", last)
	}
	s.nothingLeft(addr)
	peer.interrupt(t)
	peer.end(t, 0)
}

// nothingLeft demands that no server listens, and that no program is left behind.
func (s *session) nothingLeft(addr string) {
	s.Helper()
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		s.Errorf("a server still listens on %s", addr)
	}
	cache := filepath.Join(filepath.Dir(s.root), "wsworkshop")
	if left, err := filepath.Glob(cache + "/serve*"); err != nil || len(left) > 0 {
		s.Errorf("left behind: %v (%v)", left, err)
	}
}

// A kill of "go run" alone, as by a tool that has started it, ends the server too.
func TestTheServerEndsWithItsGoRun(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s, addr := newSession(t), ownAddress(t)
	s.solve(6)
	cmd := s.command()
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `"$0" serve 6 -addr ` + addr + "; true", s.program} // in place of go run
	p := start(t, cmd)
	p.until(t, listening(addr))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.until(t, `msg="shutting down"`)
	p.end(t, -1)
	s.nothingLeft(addr)
}
