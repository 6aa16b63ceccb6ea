package programs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// last is the last solution, which is the one to take home.
const last = "10-resume"

var long = flag.Bool("long", false, "run the tests that take a while, too")

// root is the repository. go test runs the tests of a package in its folder.
const root = "../../.."

// read returns a text file that is named from the root, with slashes.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// process is a running server.
type process struct {
	*exec.Cmd
	addr  string        // where it listens
	ended chan struct{} // closed when it has ended and all of its log is read
	err   error         // how it ended; read it after ended is closed

	mu  sync.Mutex // guards what follows
	log bytes.Buffer
}

// buildServer builds the program of a solution, such as 08-limits, and returns its path.
func buildServer(t *testing.T, folder string, flags ...string) string {
	t.Helper()
	// go test runs a test again, instead of answering from its cache, when a file has
	// changed that the test has opened. It does not see what go build opens.
	for _, name := range []string{"solutions/" + folder, "static"} {
		err := fs.WalkDir(os.DirFS(root), name, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && (entry.Name() == "browsertest" || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			if err == nil && !entry.IsDir() {
				read(t, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read(t, "go.mod")
	program := filepath.Join(t.TempDir(), "server")
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build", "-o", program}, flags, []string{"./solutions/" + folder})...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
	return program
}

var listening = regexp.MustCompile(`msg=listening url=http://(\S+)`)

// startProcess runs the server and waits until it listens. It is killed at the
// end of the test if it still runs then.
func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.Env = append(os.Environ(), "GOTRACEBACK=all") // on SIGQUIT: all goroutines, without the runtime's own
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.log.WriteString(line)
			p.mu.Unlock()
			if m := listening.FindStringSubmatch(line); m != nil {
				listens <- m[1]
			}
			if err != nil {
				break
			}
		}
		p.err = p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.ended
	})
	select {
	case p.addr = <-listens:
	case <-p.ended:
		t.Fatalf("%s has not begun to listen: %v\n%s", p, p.err, p.records())
	}
	return p
}

// records returns what the server has logged so far.
func (p *process) records() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// logged returns how many lines of the log have a text.
func (p *process) logged(text string) int { return strings.Count(p.records(), text) }

// online returns how many clients the server says it has, or -1 if a machine that is
// too busy gets no answer in the server's time.
func (p *process) online() int {
	get := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no file stays open for it
	response, err := get.Get("http://" + p.addr + "/online")
	if err != nil {
		return -1
	}
	defer response.Body.Close()
	var answer struct{ Online int }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return -1
	}
	return answer.Online
}

// eventually waits for a condition. The limit is for a server that never gets
// there; a busy machine stays far from it.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !within(3*time.Minute, condition) {
		t.Fatalf("after 3 minutes it is still not so that %s", what)
	}
}

// within reports whether a condition comes true in time.
func within(limit time.Duration, condition func() bool) bool {
	late := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}
