package browsertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. It is generous: a test that passes never waits so
// long, however slow the machine.
const patience = time.Minute

// programs are the solutions, by step. programs[0] is the runner.
var programs = []string{
	"steps",
	"01-upgrade", "02-pumps", "03-hub", "04-broadcast",
	"05-keepalive", "06-shutdown", "07-recover", "08-limits",
	"09-log", "10-resume",
}

// process is a program that runs.
type process struct {
	t   *testing.T
	url string // where a server listens, from its log

	cmd   *exec.Cmd
	ended chan struct{} // closed when the program has ended

	mu   sync.Mutex // guards what follows
	log  strings.Builder
	more chan struct{} // closed, and a new one made, when there is another line
}

var listening = regexp.MustCompile(`msg=listening url=(http://[0-9.:]+)`)

// serve runs the solution of a step on a free port, or on the one that args give.
func serve(t *testing.T, step int, args ...string) *process {
	t.Helper()
	return listen(t, programs[step], args...)
}

// serveChanged builds the solution of a step with one of its files changed, and
// runs that. oldnew is a list of texts, each followed by what replaces it.
func serveChanged(t *testing.T, step int, file string, oldnew ...string) *process {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "..", "solutions", programs[step], file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for old := range slices.Chunk(oldnew, 2) {
		if n := strings.Count(string(source), old[0]); n != 1 {
			t.Fatalf("%s has %q %d times, want 1", file, old[0], n)
		}
	}
	folder := t.TempDir()
	changed, overlay, program := filepath.Join(folder, "changed.go"), filepath.Join(folder, "overlay.json"), filepath.Join(folder, "changed.exe")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(changed, []byte(strings.NewReplacer(oldnew...).Replace(string(source))), 0o644),
		os.WriteFile(overlay, replace, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", program, "./solutions/"+programs[step])
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, output)
	}
	return listen(t, program)
}

// listen runs a server and waits until it listens.
func listen(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := run(t, program, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	p.url = listening.FindStringSubmatch(p.waitFor(listening))[1]
	return p
}

// run runs a program, of those that were built or at an absolute path, until it
// ends or the test does.
func run(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{}), more: make(chan struct{})}
	if !filepath.IsAbs(program) {
		program = filepath.Join(binaries, program)
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = filepath.Join("..", "..") // where the runner finds the steps
	output, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = p.cmd.Stderr // one pipe for both: the runner writes to stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), p.said())
		}
	})
	return p
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// waitFor waits until the program has said something, and returns it.
func (p *process) waitFor(what *regexp.Regexp) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		found, more := what.FindString(p.log.String()), p.more
		p.mu.Unlock()
		if found != "" {
			return found
		}
		select {
		case <-more:
		case <-p.ended:
			p.t.Fatalf("%s has ended and not said %q", p.cmd, what)
		case <-timeout:
			p.t.Fatalf("%s has not said %q in %v", p.cmd, what, patience)
		}
	}
}

// kill ends the program at once.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// terminate asks the program to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended %v after SIGTERM", p.cmd, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// restart runs the solution of a step again, on the port of the one before.
func (p *process) restart(step int) *process {
	p.t.Helper()
	return serve(p.t, step, "-addr", strings.TrimPrefix(p.url, "http://"))
}

// webSocket is the server's /ws.
func (p *process) webSocket() string {
	return "ws" + strings.TrimPrefix(p.url, "http") + "/ws"
}
