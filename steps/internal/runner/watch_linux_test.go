package runner

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/wsworkshop/steps/contract"
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

// An afternoon with watch: two steps, and every key.
func TestKeysOfWatch(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	if l, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil { // else it is taken already
		defer l.Close()
	}
	s := newSession(t)
	w := s.watchOn("1")
	w.run(t)
	shows := func(key string, wants ...string) string {
		t.Helper()
		w.press(key)
		got := w.until(t, keysHelp+"\n")
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%q does not show %q, but\n%s", key, want, got)
			}
		}
		return got
	}
	const none = "\nWatching steps/01-upgrade: 0 of 5 promises kept; broken first, since "

	// The solution is not shown to somebody who presses a wrong key.
	if got := shows("dn", "Step 1 is not done yet (0 of 5 promises kept), and this shows its solution. Show it? [y/N] n\n", none); strings.Contains(got, "+++") {
		t.Errorf("d and n show\n%s", got)
	}
	shows("dy", "+++ solution/server.go")
	if got := shows("a", "broken       1.1"); strings.Count(got, "Promised: ") != 5 {
		t.Errorf("a does not show the message of each promise, but\n%s", got)
	}
	shows("h", "1.1 Upgrade the request")
	shows("b", fmt.Sprintf("the steps are 1 to %d", contract.Steps))
	shows("c", "before step 1 there is none")
	shows("\n", "broken       1.1", none)

	s.edit(1, "server.go", "echo(conn)\n", "echo(con)\n")
	w.run(t)
	shows("h", "It does not build", "\nWatching steps/01-upgrade: does not build\n")

	// When a step is done, the next one is tested at once, and the keys speak of it.
	second := fmt.Sprintf("\nWatching steps/02-pumps: 0 of %d promises kept; broken first, since ", len(contract.Promises(2)))
	s.edit(1, "server.go", "// echo sends", "// echo is mine: it sends")
	if got := w.until(t, keysHelp+"\n"); !strings.Contains(got, "Step 1 keeps all its promises.") ||
		!strings.Contains(got, "\nOn to step 2: read steps/02-pumps/README.md first.") || !strings.Contains(got, second) {
		t.Errorf("what is done shows\n%s", got)
	}
	shows("h", "2.1 ", second)
	shows("l", " ok  1  ", " =>  2  ")
	shows("dn", "Step 2 is not done yet")
	shows("c", "steps/02-pumps now has your server.go", "\nStep 2 has your code now.\n", second)
	s.grep(2, "server.go", "echo is mine")
	shows("b", "Step 1 keeps all its promises.", "\nWatching steps/01-upgrade: 5 of 5 promises kept\n")
	shows("n", second)
	shows("r", second)

	w.press("s")
	addr := w.match(t, regexp.MustCompile(`msg=listening url=http://(\S+)\n`))[1]
	if strings.HasSuffix(addr, ":8080") {
		t.Errorf("the server is at %s, which another program has", addr)
	}
	get(t, "http://"+addr+"/")
	shows(" ", second)
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the server goes on after a key")
	}

	s.solve(2)
	if got := w.until(t, keysHelp+"\n"); !strings.Contains(got, "Step 2 keeps all its promises") || !strings.Contains(got, "\nWatching steps/03-hub: 0 of 5 promises kept; broken first, since ") {
		t.Errorf("the second step that is done shows\n%s", got)
	}
	w.press("q")
	w.end(t, "q")

	// A step that was done from the start is watched on.
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
