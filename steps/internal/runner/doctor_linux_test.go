package runner

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/internal/workshop"
)

// Of a check that fails, doctor says what to do. Only what must be there makes the
// exit code 1.
func TestDoctorSaysWhatToDo(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	root, program := thisProgram(t)
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	folder := func(link, to string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	onlyGo, brokenGo := folder("go", goCommand), folder("go", "/bin/false")
	withBrowser := folder("firefox", "/bin/true") + ":" + os.Getenv("PATH")
	const (
		works = `^ ok  Go             go1\.\d+(\.\d+)? for linux/\w+$`
		needs = "\nWhat is marked with !! must be there before you begin.\n"
		nicer = "\nAll that must be there is there. What is marked with -- makes the workshop nicer.\n"
	)
	for _, test := range []struct {
		name  string
		env   []string
		taken bool     // the port
		lines []string // patterns
		code  int
		last  string
	}{
		{"the port is taken", []string{"PATH=" + withBrowser}, true, []string{
			works,
			`^ ok  modules        all are downloaded$`,
			`^ --  port 8080      something else listens there: end it, or start the servers with -addr 127\.0\.0\.1:0$`,
			`^ ok  browser        \S+$`,
		}, 0, nicer},
		{"no tools", []string{"PATH=" + onlyGo, "CC="}, false, []string{
			works,
			`^ --  race detector  go test -race needs a C compiler, such as gcc or clang: install one; or do without$`,
			`^ --  git            diff, what-changed and carry need git: https://git-scm\.com$`,
			`^ --  browser        none was found: install one to see the page, or open it from another machine$`,
		}, 0, nicer},
		{"settings for other work", []string{"GOFLAGS=-mod=vendor", "GODEBUG=asynctimerchan=1", "WSWORKSHOP_NATIVE=1", "http_proxy=http://proxy:1", "no_proxy=", "NO_PROXY=", "TMPDIR=/proc"}, false, []string{
			works,
			`^ ok  modules        all are downloaded$`,
			`^ --  temp folder    open /proc/\S+: no such file or directory: set TMPDIR, or GOTMPDIR, to a folder that is yours$`,
			`^ --  environment    GOFLAGS is -mod=vendor: go run \./steps does without, a plain go test does not$`,
			`^ {20}WSWORKSHOP_NATIVE is set: in a plain go test a panic ends all promises, not one$`,
			`^ {20}curl asks the proxy http://proxy:1 even for 127\.0\.0\.1: export no_proxy=127\.0\.0\.1,localhost$`,
		}, 0, nicer},
		{"modules are missing", []string{"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw"}, false, []string{
			works,
			`^ !!  modules        not all are downloaded: run "go mod download" while there is a network$`,
		}, 1, needs},
		{"Go does not work", []string{"PATH=" + brokenGo}, false, []string{
			`^ !!  Go             the go command does not work: install Go anew, from https://go\.dev/dl/$`,
		}, 1, needs},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.taken {
				// If that fails, it is taken already.
				if l, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil {
					defer l.Close()
				}
			}
			cmd := exec.Command(program, "doctor")
			cmd.Dir = root
			cmd.Env = append(os.Environ(), test.env...)
			output, err := cmd.Output()
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, line := range test.lines {
				if !regexp.MustCompile(`(?m)` + line).Match(output) {
					t.Errorf("no line is %s", line)
				}
			}
			at := 0
			for _, c := range checks { // each has a line, in this order
				line := regexp.MustCompile(`(?m)^ (ok|--|!!)  ` + c.what + `  +\S`).FindIndex(output[at:])
				if line == nil {
					t.Fatalf("no line, or not in its place, for %s:\n%s", c.what, output)
				}
				at += line[1]
			}
			if !strings.HasSuffix(string(output), test.last) {
				t.Errorf("the end is not %q", test.last)
			}
			if t.Failed() {
				t.Logf("doctor printed:\n%s", bytes.TrimRight(output, "\n"))
			}
		})
	}
}

// thisProgram builds the real program, and returns it with the root of the
// repository.
func thisProgram(t *testing.T) (root, program string) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = workshop.Root(here); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(t.TempDir(), "steps")
	build(t, root, "./steps", program)
	return root, program
}
