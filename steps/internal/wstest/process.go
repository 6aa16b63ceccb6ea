package wstest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// processVar names, in a child process, what it is to be.
	processVar = "WSWORKSHOP_PROCESS"

	// flagsVar has the program's flags, each in a line of its own.
	flagsVar = "WSWORKSHOP_FLAGS"
)

// realPatience bounds what a real process and a real network may take. Nothing
// comes near it, unless it never comes at all.
const realPatience = 10 * time.Second

// Become makes this process the one that [StartProcess] of the given kind
// started, if it is that one: it calls main and does not return.
func Become(kind string, main func()) {
	if os.Getenv(processVar) != kind {
		return
	}
	go func() { // never outlive the test
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	os.Args = append([]string{"server", "-addr", "127.0.0.1:0"}, strings.Split(os.Getenv(flagsVar), "\n")...)
	if os.Getenv(flagsVar) == "" {
		os.Args = os.Args[:3]
	}
	main()
	os.Exit(0)
}

// Network is a server that is reached over loopback TCP, in real time.
type Network struct {
	*Story
	t    *testing.T
	addr string
	tail func() string // what the server printed last
}

// RunTCP runs a scenario over loopback TCP with a server in this process.
func RunTCP(t *testing.T, about About, server func(*Log) *http.Server, scenario func(*Network)) {
	log := NewLog()
	web := server(log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { web.Serve(listener) })
	defer serving.Wait()
	defer web.Close()
	scenario(&Network{
		Story: &Story{about: about, report: reporter(t), settle: func() {}},
		t:     t,
		addr:  listener.Addr().String(),
		tail:  func() string { return fmt.Sprint(log.Records()) },
	})
}

// Process is a server in a process of its own, reached over loopback TCP.
type Process struct {
	Network
	cmd   *exec.Cmd
	stdin io.Closer

	exited  sync.WaitGroup
	ended   chan struct{} // closed when the process has ended
	mu      sync.Mutex    // guards lines
	lines   []string      // of standard error
	changed chan struct{} // has a token after a change
}

// StartProcess runs the current test's program once more, so that it becomes a
// server with these flags beside its address: the test must call [Become] first of
// all.
func StartProcess(t *testing.T, about About, kind string, flags ...string) *Process {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{
		Network: Network{
			Story: &Story{about: about, report: reporter(t), settle: func() {}},
			t:     t,
		},
		cmd:     exec.Command(program, "-test.run="+exactly(t.Name()), "-test.count=1", "-test.timeout=0"),
		ended:   make(chan struct{}),
		changed: make(chan struct{}, 1),
	}
	p.tail = p.lastLines
	p.cmd.Env = append(childEnv(), processVar+"="+kind, flagsVar+"="+strings.Join(flags, "\n"))
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Did("the program is started, in a process of its own%s", strings.Join(append([]string{""}, flags...), " "))
	p.exited.Go(func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
			p.signal()
		}
		p.cmd.Wait()
		close(p.ended)
	})
	t.Cleanup(func() {
		p.stdin.Close()
		p.cmd.Process.Kill()
		p.exited.Wait()
	})
	p.addr = p.wantLine(regexp.MustCompile(`127\.0\.0\.1:\d+`), "its first log record tells the address that it listens on")
	return p
}

func (p *Process) signal() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// WaitLine waits for a match on standard error, and returns it.
func (p *Process) WaitLine(pattern *regexp.Regexp) string {
	return p.wantLine(pattern, "it should say "+pattern.String())
}

// wantLine demands a line on standard error that matches, and returns the match.
func (p *Process) wantLine(pattern *regexp.Regexp, why string) string {
	timer := time.NewTimer(realPatience)
	defer timer.Stop()
	ended := false
	for {
		p.mu.Lock()
		all := strings.Join(p.lines, "\n")
		p.mu.Unlock()
		if match := pattern.FindString(all); match != "" {
			return match
		}
		if ended {
			p.Fail("the process has ended (%s), although %s. Standard error:\n%s", p.cmd.ProcessState, why, p.tail())
		}
		select {
		case <-p.changed:
		case <-p.ended:
			ended = true // its last lines still count
		case <-timer.C:
			markStuck()
			p.Fail("no line of standard error says so, although %s. Standard error:\n%s", why, p.tail())
		}
	}
}

// lastLines returns the end of standard error, or what a crash there means.
func (p *Process) lastLines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := strings.Join(p.lines, "\n")
	if crashLine.MatchString(all) {
		said, _, _ := translate(all, 0)
		return said
	}
	return strings.Join(p.lines[max(0, len(p.lines)-5):], "\n")
}

// Dial opens a TCP connection and does nothing with it. It lasts for half a minute:
// what has not come by then never comes.
func (n *Network) Dial(name string) *net.TCPConn {
	n.Did("%s opens a TCP connection", name)
	conn, err := net.DialTimeout("tcp", n.addr, realPatience)
	if err != nil {
		n.Fail("%s could not connect: %v. The server's log:\n%s", name, err, n.tail())
	}
	n.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// Handshake sends a handshake and returns the status of the answer, 0 if there is
// none. What it has opened stays open until the end of the test.
func (n *Network) Handshake(r Request) (status int) {
	n.Did("%s", describe("a peer", r))
	conn, err := net.DialTimeout("tcp", n.addr, realPatience)
	if err != nil {
		return 0
	}
	n.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(realPatience))
	if r.Host == "" {
		r.Host = n.addr
	}
	conn.Write(r.Bytes("/ws"))
	answer, _, _, err := readAnswer(conn)
	if err != nil {
		return 0
	}
	return answer.StatusCode
}

// Connect lets a peer connect, and demands that it succeeds.
func (n *Network) Connect(name string) *Peer {
	n.Did("%s connects", name)
	conn, err := net.DialTimeout("tcp", n.addr, realPatience)
	if err != nil {
		n.Fail("%s could not connect: %v. The server's log:\n%s", name, err, n.tail())
	}
	conn.SetDeadline(time.Now().Add(realPatience))
	if _, err := conn.Write(Request{Host: n.addr}.Bytes("/ws")); err != nil {
		n.Fail("%s could not connect: %v.", name, err)
	}
	answer, _, early, err := readAnswer(conn)
	if err != nil {
		n.Fail("%s could not connect: %v.", name, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		n.Fail("%s could not connect: the server answered %s.", name, answer.Status)
	}
	conn.SetDeadline(time.Time{})
	peer := newPeer(name, n.Story, conn, nil, early)
	n.t.Cleanup(peer.reset)
	// After its answer to the handshake the server may still be busy with it.
	peer.SendQuietly(name + " is here")
	peer.WaitText(name + " is here")
	return peer
}

// Signal sends the process a signal.
func (p *Process) Signal(s os.Signal) {
	p.Did("the program gets the signal %q", s)
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fail("the program could not be signalled: %v. Standard error:\n%s", err, p.tail())
	}
}

// SignalUntilExit sends the signal again and again until the process ends, as an
// impatient person does. It reports whether the process ended.
func (p *Process) SignalUntilExit(s os.Signal) bool {
	p.Did("the program gets the signal %q, again and again", s)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(realPatience)
	defer limit.Stop()
	for {
		p.cmd.Process.Signal(s) // fails when the process has just ended
		select {
		case <-p.ended:
			return true
		case <-again.C:
		case <-limit.C:
			markStuck()
			return false
		}
	}
}

// State says how the process has ended.
func (p *Process) State() string { return p.cmd.ProcessState.String() }

// WantExit demands that the process ends, and returns how.
func (p *Process) WantExit(why string) *os.ProcessState {
	timer := time.NewTimer(realPatience)
	defer timer.Stop()
	select {
	case <-p.ended:
		p.Did("the program ends: %s", p.cmd.ProcessState)
		return p.cmd.ProcessState
	case <-timer.C:
		markStuck()
		p.Fail("the program is still running after %v, although %s. Standard error:\n%s", realPatience, why, p.tail())
		return nil
	}
}

// Tail returns the last lines of standard error, for a failure.
func (p *Process) Tail() string { return fmt.Sprintf("Standard error:\n%s", p.tail()) }
