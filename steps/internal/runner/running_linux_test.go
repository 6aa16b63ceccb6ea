package runner

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// build builds a program of the repository at root.
func build(t *testing.T, root, folder, program string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", program, folder)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

// running is a program that runs until it is stopped.
type running struct {
	*seen // its output, with that of the programs it starts
	cmd   *exec.Cmd
}

// start starts the real program as a terminal does: as the first of a group of
// processes, to all of which Ctrl-C goes.
func (s *session) start(args ...string) *running {
	s.Helper()
	return start(s.T, s.command(args...))
}

// start starts a program.
func start(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	cmd.Stdout, cmd.Stderr = theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &running{newSeen(ours), cmd}
	t.Cleanup(func() { // of a test that has failed before end
		if cmd.ProcessState == nil {
			p.interrupt(t)
			cmd.Wait()
		}
	})
	return p
}

// interrupt is Ctrl-C.
func (p *running) interrupt(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGINT)
}

// signal sends what a terminal sends to all processes of the group.
func (p *running) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		t.Fatal(err)
	}
}

// end waits until the program and all that it has started have ended, demands its
// exit code, and returns what was shown last.
func (p *running) end(t *testing.T, code int) string {
	t.Helper()
	p.cmd.Wait()   // its exit code says how
	<-p.seen.ended // when nobody holds the pipe any more
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%s ends with exit code %d, want %d:\n%s", p.cmd, got, code, p.text)
	}
	return p.text
}

// ownAddress returns an address that is free, and stays so: Linux has all of
// 127.0.0.0/8, and others use 127.0.0.1.
func ownAddress(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+pid>>16%100, pid>>8%256, pid%256))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get returns what a server answers.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %q (%v)", url, answer.Status, body, err)
	}
	return string(body)
}
