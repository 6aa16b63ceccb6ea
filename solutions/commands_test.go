package solutions

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// played is the page whose commands are run, and their output compared, by the
// tests of steps/internal/runner.
const played = "docs/a-session.md"

// notRun are the commands that no gate runs as the page has them, each with its
// reason.
var notRun = []struct {
	command *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`^go test \./solutions/\.\.\.`), "runs this test, too"},
	{regexp.MustCompile(`^go test \./solutions .*-long`), "takes minutes; go run ./steps verify runs it"},
	{regexp.MustCompile(`^go test .* -fuzz `), "takes ten minutes; go run ./steps verify fuzzes for a shorter time"},
	{regexp.MustCompile(`^go test \./steps/internal/runner`), "takes minutes; .ci/run has it"},
	{regexp.MustCompile(`^go run \./steps verify$`), "runs this test, too"},
	{regexp.MustCompile(`^go run \./steps (watch|serve)$`), "runs until it is stopped; docs/a-session.md plays watch"},
	{regexp.MustCompile(`^go run \./steps peer`), "runs until it is stopped"},
	{regexp.MustCompile(`^go run \./steps doctor$`), "tells what this machine has"},
	{regexp.MustCompile(`^go run stall\.go `), "a file of the reader's own, and 30 seconds"},
	{regexp.MustCompile(`^go mod download$`), "needs a network"},
	{regexp.MustCompile(`^grep .* server\.log `), "counts in a log of the reader's own"},
	{regexp.MustCompile(`^curl -iN .*/ws$`), "runs until the server is stopped by hand"},
	{regexp.MustCompile(`^curl .*\| xxd$`), "takes a minute, and xxd is not everywhere"},
}

// own are names in commands that the reader makes.
var own = []string{"_crash", "stall.go", "TestBreak"}

// unsolved are commands that say that there is something left to do, and say it
// with an exit code of 1: the starters are not done.
var unsolved = regexp.MustCompile(`^(go test (-race )?\./steps/\d|diff steps/|go run \./steps test$)`)

// server is a command that starts one, with its folder and its flags.
var server = regexp.MustCompile(`^go run \./(_crash|(?:steps|solutions)/\d\d-[\w-]+)( .*)?$`)

// command is a line that the reader types.
type command struct {
	block
	text   string
	prints string // what the page says that it prints
}

// commands returns the commands on a page, in order. In a block sh each line is
// one; in a block console those behind a $, and what follows is printed. A block
// text directly below a block sh is printed by its last command.
func commands(t *testing.T, page string) []command {
	var all []command
	before := ""
	for _, b := range blocks(t, page) {
		for _, line := range b.lines {
			switch text, typed := strings.CutPrefix(line, "$ "); {
			case b.info == "console" && !typed:
				all[len(all)-1].prints += line + "\n"
			case b.info == "sh" || b.info == "console" && text != "(still watching)":
				text, _, _ = strings.Cut(text, "  ")
				all = append(all, command{block: b, text: strings.TrimSpace(text)})
			case b.info == "text" && b.under && before == "sh":
				all[len(all)-1].prints += line + "\n"
			}
		}
		before = b.info
	}
	return all
}

// What each command names is there: files, packages, tests, flags, and the
// commands of the runner. That holds for those in a sentence, too.
func TestCommandsNameWhatIsThere(t *testing.T) {
	help := output(t, "go", "run", "./steps", "help")
	inSentence := regexp.MustCompile("`(go (?:run|test|build|vet) [^`\n]*\\./[^`\n]*)`")
	used := make([]bool, len(notRun))
	n := 0
	for _, page := range pages(t) {
		for _, c := range commands(t, page) {
			n++
			checkCommand(t, c.page, c.text, help)
			if i := left(c.text); i >= 0 && page != played {
				used[i] = true
			}
		}
		for _, m := range inSentence.FindAllStringSubmatch(prose(read(t, page)), -1) {
			n++
			checkCommand(t, page, m[1], help)
		}
	}
	for i, c := range notRun {
		if !used[i] {
			t.Errorf("no page has a command like %s any more. Take it out of the table %q in solutions/commands_test.go.", c.command, "notRun")
		}
	}
	t.Logf("commands: %d looked at", n)
}

// left returns where in notRun a command is, or -1.
func left(text string) int {
	for i, c := range notRun {
		if c.command.MatchString(text) {
			return i
		}
	}
	return -1
}

var (
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	aPath       = regexp.MustCompile(`^\./|^(steps|solutions|static)/|^_`)
	aFlag       = regexp.MustCompile(`^-[\w-]+`)
	localURL    = regexp.MustCompile(`http://127\.0\.0\.1:8080(/\w*)`)
	flagsOfTest = []string{"-v", "-race", "-run", "-fuzz", "-fuzztime", "-count"}
)

// checkCommand demands that what a command names is there.
func checkCommand(t *testing.T, page, text, help string) {
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: the command %s: "+format, append([]any{page, text}, args...)...)
	}
	words := strings.Fields(strings.ReplaceAll(text, "'", ""))
	folder := ""
	for _, word := range words {
		if !aPath.MatchString(word) || slices.Contains(own, strings.TrimPrefix(word, "./")) {
			continue
		}
		path := strings.TrimPrefix(strings.TrimSuffix(word, "/..."), "./")
		if found, err := filepath.Glob(inRoot(strings.ReplaceAll(path, "...", "*"))); err != nil || len(found) == 0 {
			wrong("there is no %s.", path)
			continue
		}
		folder = path
	}
	for _, m := range localURL.FindAllStringSubmatch(text, -1) {
		if !slices.Contains([]string{"/", "/ws", "/online"}, m[1]) {
			wrong("the server has no %s.", m[1])
		}
	}
	switch {
	case strings.HasPrefix(text, "go run ./steps ") || text == "go run ./steps":
		if len(words) > 3 && !strings.Contains(help, "\n  "+words[3]+" ") && !strings.Contains(help, "\n  "+words[3]+"\n") {
			wrong("the runner has no command %s.", words[3])
		}
		for _, word := range words[min(3, len(words)):] {
			if word == "|" {
				break
			}
			if strings.HasPrefix(word, "-") && !strings.Contains(help, word) {
				wrong("the runner's help knows no %s.", word)
			}
		}
	case server.MatchString(text) && folder != "":
		for _, word := range words {
			if aFlag.MatchString(word) && word != "-h" && !strings.Contains(read(t, folder+"/main.go"), `"`+word[1:]+`"`) {
				wrong("the server in %s has no flag %s.", folder, word)
			}
		}
	case strings.HasPrefix(text, "go test ") && folder != "" && filepath.Base(folder)[0] != '0':
		checkTestFlags(t, wrong, words, folder)
	}
	if i := slices.Index(words, "-run"); i > 0 && strings.HasPrefix(words[i+1], "/^") {
		n := slices.Index(contract.Folders[:], filepath.Base(folder)) + 1
		if !slices.ContainsFunc(contract.Promises(n), func(p contract.Promise) bool { return strings.HasPrefix(p.Task, words[i+1][2:]) }) {
			wrong("no promise of step %d begins with %s.", n, words[i+1][2:])
		}
	}
}

// checkTestFlags demands that a package has the flags and the tests that a
// go test names.
func checkTestFlags(t *testing.T, wrong func(string, ...any), words []string, folder string) {
	var source strings.Builder
	if found, _ := filepath.Glob(inRoot(folder) + "/*_test.go"); len(found) > 0 {
		for _, name := range found {
			source.WriteString(read(t, folder+"/"+filepath.Base(name)))
		}
	}
	for i, word := range words {
		if aFlag.MatchString(word) && !slices.Contains(flagsOfTest, word) && !strings.Contains(source.String(), `("`+word[1:]+`",`) {
			wrong("the tests in %s have no flag %s.", folder, word)
		}
		if word != "-run" || words[i+1] == "^$" || slices.Contains(own, words[i+1]) {
			continue
		}
		for pattern := range strings.SplitSeq(words[i+1], "|") {
			test, err := regexp.Compile(strings.Split(pattern, "/")[0])
			if err != nil || !slices.ContainsFunc(testFunc.FindAllStringSubmatch(source.String(), -1), func(m []string) bool { return test.MatchString(m[1]) }) {
				wrong("no test in %s is called %s.", folder, pattern)
			}
		}
	}
}

// output returns what a command prints that is run in the root.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
	return string(text)
}

// Each command does what the page says: it is run in a copy of the repository,
// page by page, and what it prints is as it stands there.
func TestCommandsDoWhatThePagesSay(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: go test ./solutions -long -run CommandsDo")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no shell")
	}
	var r reader
	fresh := filepath.Join(t.TempDir(), "wsworkshop") // always the same, for the build cache
	for _, page := range without(pages(t), []string{played}) {
		t.Run(page, func(t *testing.T) {
			if err := os.RemoveAll(fresh); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"docs", "static", "steps", "solutions", "README.md", "go.mod", "go.sum"} {
				copyTo(t, name, filepath.Join(fresh, name))
			}
			r.dir = fresh
			for _, c := range commands(t, page) {
				r.follow(t, c)
			}
			r.stop()
		})
	}
	t.Logf("commands: %d run, the output of %d compared, %d left out with a reason", r.ran, r.compared, r.left)
}

// reader follows a page.
type reader struct {
	dir                 string    // where the commands are run
	server              *exec.Cmd // the last one started, until the next
	url                 string    // its own: the port that the pages name may be in use
	asked               string    // the last command that asked a server
	ran, compared, left int
}

// follow runs a command and compares what it does with what the page says.
func (r *reader) follow(t *testing.T, c command) {
	switch to, isCD := strings.CutPrefix(c.text, "cd "); {
	case isCD:
		r.dir = filepath.Join(r.dir, to)
		return
	case server.MatchString(c.text):
		r.serve(t, c)
		if c.prints == "" {
			return
		}
		c.text = r.asked // "send the same request", says the page
	case left(c.text) >= 0:
		r.left++
		return
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(c.text, "http://127.0.0.1:8080", r.url))
	cmd.Dir = r.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	r.ran++
	if strings.HasPrefix(c.text, "curl ") {
		r.asked = c.text
	}

	code, want := cmd.ProcessState.ExitCode(), 0
	switch {
	case unsolved.MatchString(c.text):
		want = 1
	case code == 28 && strings.Contains(c.text, "--max-time"):
		want = 28 // curl got its answer, and waited for more
	}
	if code != want {
		t.Errorf("%s:%d: %s ends with exit code %d, and should with %d. It prints\n%s", c.page, c.at, c.text, code, want, tail(stdout.String()+stderr.String(), 20))
	}
	if c.prints == "" {
		return
	}
	r.compared++
	complaint := regexp.MustCompile(`(?m)^curl: .*`).FindString(stderr.String()) // what else is there is progress
	got, says := normal(stdout.String()+complaint), normal(c.prints)
	switch broken := c.section == "Break it on purpose"; {
	case broken && got == says:
		t.Errorf("%s:%d: %s prints the same when nothing is broken:\n%s\nShow what the broken code does.", c.page, c.at, c.text, got)
	case !broken && got != says:
		t.Errorf("%s:%d: %s prints\n%s\nand the page says\n%s\nCopy what it prints.", c.page, c.at, c.text, got, says)
	}
}

// normal returns an output without what differs from run to run.
func normal(text string) string {
	text = strings.ReplaceAll(text, "\r", "")
	return strings.TrimSpace(regexp.MustCompile(`Date: .*|\d+ milliseconds`).ReplaceAllString(text, "..."))
}

// serve starts a server on a free port. By the section "Run it" the starter has
// been solved: then it is the solution.
func (r *reader) serve(t *testing.T, c command) {
	r.stop()
	m := server.FindStringSubmatch(c.text)
	folder, flags := m[1], strings.Fields(m[2])
	if c.section == "Run it" || c.section == "Break it on purpose" {
		folder = strings.Replace(folder, "steps/", "solutions/", 1)
	}
	program := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+folder)
	build.Dir = r.dir
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, text)
	}
	r.server = exec.CommandContext(t.Context(), program, append([]string{"-addr=127.0.0.1:0"}, flags...)...)
	stderr, err := r.server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.server.Start(); err != nil {
		t.Fatal(err)
	}
	r.ran++
	for log := bufio.NewScanner(stderr); log.Scan(); {
		if _, url, ok := strings.Cut(log.Text(), " url="); ok {
			r.url = url
			return
		}
	}
	t.Errorf("%s:%d: %s does not tell its address.", c.page, c.at, c.text)
}

func (r *reader) stop() {
	if r.server != nil {
		r.server.Process.Kill()
		r.server.Wait()
		r.server = nil
	}
}

// copyTo copies a file or a folder of the repository.
func copyTo(t *testing.T, name, to string) {
	t.Helper()
	info, err := os.Stat(inRoot(name))
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, os.DirFS(inRoot(name)))
	} else {
		err = os.WriteFile(to, []byte(read(t, name)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
