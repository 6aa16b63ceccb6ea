package gates

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each command does what the page says: it is run in a copy of the repository,
// page by page, and what it prints is as it stands there.
func TestCommandsDoWhatThePagesSay(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: go test ./solutions/gates -long -run CommandsDo")
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
	case left(c.text):
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
	case unsolved.MatchString(c.text) && !strings.Contains(c.text, " -bench "):
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
	program := filepath.Join(t.TempDir(), "server.exe")
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
