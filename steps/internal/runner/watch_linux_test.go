package runner

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watching is the real program with watch, on a terminal.
type watching struct {
	*seen
	cmd              *exec.Cmd
	person, terminal *os.File
	before           syscall.Termios // how the terminal was set
}

// watchOn starts watch with arguments on a terminal.
func (s *session) watchOn(args ...string) watching {
	s.Helper()
	person, terminal := newTerminal(s.T)
	before := modes(s.T, terminal)
	cmd := s.command(append([]string{"watch"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that Ctrl-C reaches it
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { cmd.Process.Kill() })
	return watching{newSeen(person), cmd, person, terminal, before}
}

// press presses a key.
func (w watching) press(key string) { fmt.Fprint(w.person, key) }

// end demands that watch ends in good order, and leaves the terminal as it was.
func (w watching) end(t *testing.T, why string) {
	t.Helper()
	if err := w.cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	if after := modes(t, w.terminal); after != w.before {
		t.Errorf("%s does not leave the terminal as it was: %+v, and it was %+v", why, after, w.before)
	}
}

func TestKeysOfWatch(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	w := s.watchOn("1")
	w.run(t)

	// The solution is not shown to somebody who presses a wrong key.
	w.press("d")
	if got := w.until(t, "q quit.\n"); !strings.Contains(got, "Step 1 is not done yet (0 of 5 promises kept). Press d once more") || strings.Contains(got, "+++") {
		t.Errorf("the first d shows\n%s", got)
	}
	w.press("h")
	w.until(t, "q quit.\n")
	w.press("d")
	if got := w.until(t, "q quit.\n"); strings.Contains(got, "+++") {
		t.Errorf("d after another key shows\n%s", got)
	}
	w.press("d")
	if got := w.until(t, "q quit.\n"); !strings.Contains(got, "+++ solution/server.go") {
		t.Errorf("the second d shows\n%s", got)
	}

	w.press("\n")
	if got := w.run(t); !strings.Contains(got, "broken       1.1") {
		t.Errorf("enter shows\n%s", got)
	}

	s.edit(1, "server.go", "echo(conn)\n", "echo(con)\n")
	w.run(t)
	w.press("h")
	if got := w.until(t, "q quit.\n"); !strings.Contains(got, "It does not build") {
		t.Errorf("h shows, for what does not build,\n%s", got)
	}

	// A step that was done from the start is watched on.
	s.solve(1)
	w.until(t, "Watching steps/02-pumps")
	w.until(t, "q quit.\n")
	w.press("q")
	w.end(t, "q")
	w = s.watchOn("1")
	if got := w.run(t); !strings.Contains(got, "Step 1 keeps all its promises.") || !strings.Contains(got, "Watching steps/01-upgrade") {
		t.Errorf("a step that is done shows\n%s", got)
	}

	// q does not wait for a server that hangs.
	s.hang()
	w.press("\nq") // the first key, or the save, starts the run
	w.end(t, "q during a run")
}

// hang gives step 1 a server that runs in circles.
func (s *session) hang() {
	s.Helper()
	s.edit(1, "server.go", "	for {\n", "	for {\n		for len(os.Args) > 0 {\n		}\n", "	\"net/url\"\n", "	\"net/url\"\n	\"os\"\n")
}

// Who ends the runner alone, and not its terminal, ends the tests with it.
func TestATestThatIsEndedLeavesNoProgram(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	s.hang()
	folder := filepath.Join(s.root, "steps", "01-upgrade")
	p := s.start("test", "1")
	runIn(t, folder, true, 30*time.Second) // it has to be built
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.end(t, 1)
	runIn(t, folder, false, 4*time.Second) // before it finds out itself that it hangs
}

// runIn waits until programs run with folder as their working folder, or none does,
// and no longer than limit.
func runIn(t *testing.T, folder string, some bool, limit time.Duration) {
	t.Helper()
	const period = 50 * time.Millisecond
	tick := time.NewTicker(period)
	defer tick.Stop()
	for range limit / period {
		processes, err := filepath.Glob("/proc/[0-9]*/cwd")
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(processes, func(cwd string) bool {
			at, err := os.Readlink(cwd)
			return err == nil && at == folder
		})
		if found == some {
			return
		}
		<-tick.C
	}
	t.Errorf("in %s something runs: %t, want %t", folder, !some, some)
}
