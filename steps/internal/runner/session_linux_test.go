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

// In a learner's session with the real program, in a clone of the repository, each
// command does what it should, and says what matters. -update writes down the session
// as docs/a-session.md. Of that page this test compares the commands and the sentences
// between them: what a command prints changes with each title and each message.
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

	s.say("# A session\n\nThis is how the workshop goes, with what the commands print. A test plays it, and has written this page.\n\n" +
		"## A fresh clone")
	s.run(0, "", " =>  1  ", "0 of 5 promises kept", "Read steps/01-upgrade/README.md", "go run ./steps watch")
	s.run(1, "test", "broken       1.1 ", "broken       1.5 ", "The first that is broken: 1.1 ", "Read:     steps/01-upgrade/README.md#task-1.1", "go run ./steps hint 1.1")
	s.say("## A wrong try\n\nAs in many tutorials, the handler answers a failed upgrade itself:")
	s.edit(1, "server.go", "		// Upgrade has answered the request already.\n", "		http.Error(w, \"upgrade failed\", http.StatusBadRequest)\n")
	s.run(1, "test", "broken       1.1 ", "kept         1.2 ", "The first that is broken: 1.1 ", "Upgrade has written one, and ServeHTTP another.")
	s.say("## A hint\n\nIt asks before it shows the next one.")
	s.answer("y\nn\n", 0, "hint", "Another hint? [y/N]", "nearly the code. Show it? [y/N]")
	s.say("## The right code\n\nWithout that line, step 1 is done:")
	s.solve(1)
	s.run(0, "test 1", "kept         1.5 ", "Step 1 keeps all its promises", "steps/02-pumps/README.md")
	s.run(0, "diff 1", "steps/01-upgrade and solutions/01-upgrade are the same.")
	s.run(0, "", " ok  1  ", "5 of 5 promises kept", " =>  2  ", "You are at step 2.")
	s.say("## The next step\n\nThe starter of step 2 has the workshop's step 1 in it. To go on with your own, carry it:")
	s.edit(1, "server.go", "// echo sends each message back", "// echo is mine: it sends each message back")
	s.run(0, "carry 2", "now has your server.go, and the TODOs of step 2.")
	s.grep(2, "server.go", "echo is mine")
	s.say("And to begin a step anew:")
	s.run(0, "reset 2", "Your files are in .saved/", "go run ./steps reset -undo 2", "steps/02-pumps is as it was from the start.")
	s.say("Without a number, `test` runs the step where you are:")
	s.run(1, "test", "You are at step 2.", "broken       2.1 ", "broken       2.4 ", "5 promises of earlier steps are kept", "go run ./steps hint 2.1")
	s.say("What the step is going to change:")
	s.head(12, "what-changed -yes 5", "--- 04-broadcast/client.go", "+++ 05-keepalive/client.go")

	s.say("## Watching\n\n`go run ./steps watch` runs the tests on every save. Here are three saves: one that does not compile, one that is not " +
		"enough, and one that is right, after which it goes on to the next step. (Your terminal shows colours, and clears itself before each run.)")
	s.watch()

	s.say("## When a program panics, hangs, or does not compile\n\nA panic ends the whole program, but only the promise in whose test it happens is told as broken:")
	for n := 2; n <= 4; n++ {
		s.solve(n)
	}
	s.edit(4, "client.go", "	if err := c.conn.WriteMessage(kind, data); err != nil {\n",
		"	if len(data) == 0 {\n		panic(\"an empty message\")\n	}\n	if err := c.conn.WriteMessage(kind, data); err != nil {\n")
	s.run(1, "test 4", "broken       4.1 ", "kept         4.2 ", "Seen:     the whole program died: panic: an empty message")
	s.say("A server that locks a mutex twice waits for ever. After a few seconds that is told, and after the second promise that " +
		"hangs the rest is left alone:")
	s.solve(4)
	s.edit(4, "hub.go", "	h.mu.RLock()\n", "	h.mu.RLock()\n	h.mu.Lock()\n")
	s.run(1, "test 4", "not reached  4.1 ", "The server has hung in 2 promises", "does one goroutine lock it twice")
	s.say("What the compiler says is told once:")
	s.edit(4, "hub.go", "	h.mu.RLock()\n", "	h.mutex.RLock()\n")
	s.run(1, "test 4", "It does not build", "h.mutex undefined")
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
	fmt.Fprintf(&s.told, "```console\n$ %s\n%s\n```\n\n", strings.TrimSpace(command), strings.TrimSpace(output))
}

// run runs a command, and demands its exit code and that it says certain things.
func (s *session) run(code int, args string, says ...string) {
	s.Helper()
	s.tell("go run ./steps "+args, s.output("", code, args, says))
}

// answer is run with what is typed.
func (s *session) answer(typed string, code int, args string, says ...string) {
	s.Helper()
	s.tell("go run ./steps "+args, s.output(typed, code, args, says))
}

// head is run of which the transcript shows only the first lines.
func (s *session) head(n int, args string, says ...string) {
	s.Helper()
	lines := strings.SplitAfter(s.output("", 0, args, says), "\n")
	s.tell(fmt.Sprintf("go run ./steps %s | head -n %d", args, n), strings.Join(lines[:min(n, len(lines))], ""))
}

func (s *session) output(typed string, code int, args string, says []string) string {
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
	s.says(args, output.String(), says...)
	return output.String()
}

// says demands texts in what a command has printed, in this order.
func (s *session) says(command, output string, texts ...string) {
	s.Helper()
	rest := output
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			s.Fatalf("steps %s does not say %q, or not here:\n%s", command, text, output)
		}
		rest = after
	}
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

	watched := func(command, output string, says ...string) {
		s.Helper()
		s.says(command, output, says...)
		s.tell(command, output)
	}
	s.edit(1, "server.go", "	defer conn.Close()\n	echo(conn)\n", "	defer conn.Close()\n	echo(con)\n")
	watched("go run ./steps watch 1", w.run(s.T), "It does not build", "undefined: con", "Watching steps/01-upgrade")
	s.edit(1, "server.go", "	defer conn.Close()\n", "")
	s.say("The second save:")
	watched("(still watching)", w.run(s.T), "kept         1.4 ", "broken       1.5 ", "The first that is broken: 1.5 ")
	s.say("The key `h`:")
	w.press("h")
	watched("(still watching)", w.until(s.T, keysHelp+"\n"), "1.5 ", "h shows another one.")
	s.say("The third save:")
	s.solve(1)
	watched("(still watching)", w.run(s.T), "kept         1.5 ", "Step 1 keeps all its promises.", "On to step 2", "c takes your own code along")
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

// check compares the commands of the session, and the sentences between them, with
// those of the page, or writes it.
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
	path := filepath.Join(root, filepath.FromSlash(transcript))
	if *update {
		text := s.told.String()
		for _, v := range variable {
			text = v.pattern.ReplaceAllString(text, v.instead)
		}
		if err := os.WriteFile(path, []byte(strings.TrimSpace(text)+"\n"), 0o666); err != nil {
			s.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	if got, want := withoutOutputs(s.told.String()), withoutOutputs(string(page)); got != want {
		s.Errorf("%s is of another session. Let it be written anew: go test ./steps/internal/runner -long -run ASession -update\nGot:\n%s\nWant:\n%s", transcript, got, want)
	}
}

// withoutOutputs returns the transcript without what its commands print.
func withoutOutputs(text string) string {
	var kept strings.Builder
	inBlock := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inBlock = !inBlock
		}
		if !inBlock || strings.HasPrefix(line, "$ ") {
			kept.WriteString(line)
		}
	}
	return strings.TrimSpace(kept.String())
}
