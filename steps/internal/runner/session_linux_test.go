package runner

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/screen"
	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/workshop"
)

var (
	long   = flag.Bool("long", false, "run the tests that take a while, too")
	update = flag.Bool("update", false, "write the transcript of the session into docs")
)

const transcript = "docs/a-session.md"

// A learner's session with the real program in a clone of the repository goes as
// docs/a-session.md tells it.
func TestASessionGoesAsTheDocsTellIt(t *testing.T) {
	if !*long {
		t.Skip("it takes a minute: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	defer func() {
		if !t.Failed() {
			s.check()
		}
	}()

	s.say("# A session\n\nThis is how the workshop goes, with what the commands print. A test plays it and compares the output.\n\n" +
		"## A fresh clone")
	s.run(0, "")
	s.run(1, "test")
	s.say("## A wrong try\n\nAs in many tutorials, the handler answers a failed upgrade itself:")
	s.edit(1, "server.go", "		// Upgrade has answered the request already.\n", "		http.Error(w, \"upgrade failed\", http.StatusBadRequest)\n")
	s.run(1, "test")
	s.say("## A hint\n\nIt asks before it shows the next one.")
	s.answer("y\nn\n", 0, "hint")
	s.say("## The right code\n\nWithout that line, step 1 is done:")
	s.solve(1)
	s.run(0, "test 1")
	s.run(0, "diff 1")
	s.run(0, "")
	s.say("## The next step\n\nThe starter of step 2 has the workshop's step 1 in it. To go on with your own, carry it:")
	s.edit(1, "server.go", "// echo sends each message back", "// echo is mine: it sends each message back")
	s.run(0, "carry 2")
	s.grep(2, "server.go", "echo is mine")
	s.say("And to begin a step anew:")
	s.run(0, "reset 2")
	s.say("Without a number, `test` runs the step where you are:")
	s.run(1, "test")
	s.say("What the step is going to change:")
	s.run(0, "what-changed -yes 5", "| head -n 12")

	s.say("## Watching\n\n`go run ./steps watch` runs the tests on every save. Here are three saves: one that does not compile, one that is not " +
		"enough, and one that is right, after which it goes on to the next step. (Your terminal shows colours, and clears itself before each run.)")
	s.watch()

	s.say("## When a program panics, hangs, or does not compile\n\nA panic ends the whole program, but only the promise in whose test it happens is told as broken:")
	for n := 2; n <= 4; n++ {
		s.solve(n)
	}
	s.edit(4, "client.go", "	if err := c.conn.WriteMessage(kind, data); err != nil {\n",
		"	if len(data) == 0 {\n		panic(\"an empty message\")\n	}\n	if err := c.conn.WriteMessage(kind, data); err != nil {\n")
	s.run(1, "test 4")
	s.say("A server that locks a mutex twice waits for ever. After a few seconds that is told, and after the second promise that " +
		"hangs the rest is left alone:")
	s.solve(4)
	s.edit(4, "hub.go", "	h.mu.RLock()\n", "	h.mu.RLock()\n	h.mu.Lock()\n")
	s.run(1, "test 4")
	s.say("What the compiler says is told once:")
	s.edit(4, "hub.go", "	h.mu.RLock()\n", "	h.mutex.RLock()\n")
	s.run(1, "test 4")
}

// session is a learner's session.
type session struct {
	*testing.T
	root    string // of the clone
	program string
	goCache string
	told    strings.Builder
}

// newSession makes a clone, in a folder with a space in its name, in which no step
// has been begun.
func newSession(t *testing.T) *session {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := workshop.Root(here)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &session{T: t, root: filepath.Join(dir, "a clone"), program: filepath.Join(dir, "steps")}
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.goCache = strings.TrimSpace(string(goCache))
	for _, folder := range []string{"steps", "solutions", "static"} {
		s.copy(root, folder)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		s.copy(root, name)
	}
	for _, step := range contract.Folders {
		files, err := starters.Files(step)
		if err == nil {
			err = writeFiles(filepath.Join(s.root, "steps", step), files)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build(t, s.root, "./steps", s.program)
	return s
}

// copy copies a file or a folder into the clone.
func (s *session) copy(root, name string) {
	err := filepath.WalkDir(filepath.Join(root, name), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(s.root, rel)
		if entry.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o666)
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *session) say(text string) { fmt.Fprintf(&s.told, "%s\n\n", text) }

// tell writes a command and its output into the transcript.
func (s *session) tell(command, output string) {
	fmt.Fprintf(&s.told, "```console\n$ %s\n%s\n```\n\n", command, strings.TrimSpace(output))
}

// run runs a command and demands its exit code. filter may name a command that the
// transcript shows only the beginning of.
func (s *session) run(code int, args string, filter ...string) { s.runWith("", code, args, filter...) }

// answer is run with what is typed.
func (s *session) answer(typed string, code int, args string) { s.runWith(typed, code, args) }

func (s *session) runWith(typed string, code int, args string, filter ...string) {
	s.Helper()
	cmd := s.command(strings.Fields(args)...)
	cmd.Stdin = strings.NewReader(typed)
	var output, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() != code {
		s.Fatalf("steps %s: exit code %d, want %d:\n%s%s", args, cmd.ProcessState.ExitCode(), code, output.Bytes(), complaints.Bytes())
	}
	text := output.String()
	if len(filter) > 0 {
		lines := strings.SplitAfter(text, "\n")
		text = strings.Join(lines[:min(12, len(lines))], "")
	}
	s.tell(strings.TrimSpace("go run ./steps "+args+" "+strings.Join(filter, "")), text)
}

// command returns a command of the real program.
func (s *session) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, args...)
	cmd.Dir = filepath.Join(s.root, "steps") // any folder will do
	cmd.Env = s.env()
	return cmd
}

// env is the learner's environment: nothing of it may change what is printed.
func (s *session) env() []string {
	return append(os.Environ(), "NO_COLOR=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GOFLAGS=",
		"GOCACHE="+s.goCache, "XDG_CACHE_HOME="+filepath.Dir(s.root)) // the runner's own goes with the clone
}

// solve gives a step the files of its solution.
func (s *session) solve(n int) {
	s.Helper()
	folder := contract.Folders[n-1]
	files, err := starters.Read(filepath.Join(s.root, "solutions", folder))
	if err == nil {
		for name := range files {
			if strings.HasSuffix(name, "_test.go") {
				delete(files, name)
			}
		}
		err = writeFiles(filepath.Join(s.root, "steps", folder), files)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// edit writes a file of the solution into a step, with changes: old text, and what
// stands there instead.
func (s *session) edit(n int, name string, changes ...string) {
	s.Helper()
	folder := contract.Folders[n-1]
	data, err := os.ReadFile(filepath.Join(s.root, "solutions", folder, name))
	if err != nil {
		s.Fatal(err)
	}
	text := string(data)
	for change := range slices.Chunk(changes, 2) {
		if !strings.Contains(text, change[0]) {
			s.Fatalf("solutions/%s/%s has no %q", folder, name, change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	if err := writeFiles(filepath.Join(s.root, "steps", folder), map[string]string{name: text}); err != nil {
		s.Fatal(err)
	}
}

// grep demands that a file of a step has a text.
func (s *session) grep(n int, name, text string) {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "steps", contract.Folders[n-1], name))
	if err != nil || !strings.Contains(string(data), text) {
		s.Fatalf("step %d has no %q in %s (%v)", n, text, name, err)
	}
}

// watch plays the session with watch on a terminal.
func (s *session) watch() {
	w := s.watchOn("1")

	s.edit(1, "server.go", "	defer conn.Close()\n	echo(conn)\n", "	defer conn.Close()\n	echo(con)\n")
	s.tell("go run ./steps watch 1", w.run(s.T))
	s.edit(1, "server.go", "	defer conn.Close()\n", "")
	s.say("The second save:")
	s.tell("(still watching)", w.run(s.T))
	s.say("The key `h`:")
	w.press("h")
	s.tell("(still watching)", w.until(s.T, keysHelp+"\n"))
	s.say("The third save:")
	s.solve(1)
	s.tell("(still watching)", w.run(s.T))
	w.press("\x03") // Ctrl-C
	w.end(s.T, "Ctrl-C")
}

// seen is what a terminal or a pipe has shown.
type seen struct {
	mu      sync.Mutex // guards text
	text    string
	changed chan struct{} // has a token after a change
	ended   chan struct{} // closed when nothing more can come
}

func newSeen(person *os.File) *seen {
	s := &seen{changed: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() { // ends when the terminal or the other end of the pipe is closed
		defer close(s.ended)
		for b := make([]byte, 4096); ; {
			n, err := person.Read(b)
			s.mu.Lock()
			s.text += string(b[:n])
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// run returns what is shown when the next run of the tests is over.
func (s *seen) run(t *testing.T) string {
	t.Helper()
	text := s.until(t, keysHelp+"\n")
	return text[strings.LastIndex(text, cleared)+len(cleared):]
}

// cleared stands where the terminal was cleared.
const cleared = "\f"

// until returns what is shown until a text comes, and takes it off the screen.
func (s *seen) until(t *testing.T, end string) string {
	t.Helper()
	text := s.match(t, regexp.MustCompile(regexp.QuoteMeta(end)))
	return text[0]
}

// match is until for a text that matches a pattern. Behind what is shown it returns
// what the parts of the pattern have matched.
func (s *seen) match(t *testing.T, end *regexp.Regexp) []string {
	t.Helper()
	limit := time.NewTimer(5 * time.Minute)
	defer limit.Stop()
	for over := false; ; {
		if shown := s.take(end); shown != nil {
			return shown
		}
		if over {
			t.Fatalf("no %s came before the end:\n%s", end, s.text)
		}
		select {
		case <-s.changed:
		case <-s.ended:
			over = true
		case <-limit.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Fatalf("no %s comes:\n%s", end, unpainted(s.text))
		}
	}
}

// take is match without a wait: it returns nil if the text has not come yet.
func (s *seen) take(end *regexp.Regexp) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain := unpainted(s.text)
	at := end.FindStringSubmatchIndex(plain)
	if at == nil {
		return nil
	}
	s.text = plain[at[1]:]
	return append([]string{plain[:at[1]]}, end.FindStringSubmatch(plain)[1:]...)
}

var (
	painting = regexp.MustCompile(`\x1b\[[0-9;]*[mJHK]`)
	erased   = regexp.MustCompile(`[^\n]*\r\x1b\[K`)
	returned = regexp.MustCompile(`\r([^\x1b])`) // an erasure may have come only in part
)

// unpainted returns what a terminal shows without what moves, erases or paints.
func unpainted(text string) string {
	text = strings.ReplaceAll(text, screen.Screen{Width: 100}.Clear(), cleared)
	text = erased.ReplaceAllString(text, "")
	return returned.ReplaceAllString(painting.ReplaceAllString(text, ""), "$1")
}

// What differs from run to run.
var variable = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+`), "2026-01-31T10-00-00.000"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "10:00:00"},
	{regexp.MustCompile(`(\.go:)\d+\)`), "${1}47)"},
}

// check compares the transcript with the one in docs.
func (s *session) check() {
	s.Helper()
	here, err := os.Getwd()
	if err != nil {
		s.Fatal(err)
	}
	root, err := workshop.Root(here)
	if err != nil {
		s.Fatal(err)
	}
	got := s.told.String()
	for _, v := range variable {
		got = v.pattern.ReplaceAllString(got, v.instead)
	}
	got = strings.TrimSpace(got) + "\n"
	path := filepath.Join(root, filepath.FromSlash(transcript))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			s.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	if got != string(want) {
		s.Errorf("the session goes otherwise than %s tells it. If that is better now, take it over: go test ./steps/internal/runner -long -update\nGot:\n%s", transcript, got)
	}
}
