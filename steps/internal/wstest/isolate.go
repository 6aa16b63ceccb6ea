package wstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// reportVar names, in a child process, the folder that it reports into.
	reportVar = "WSWORKSHOP_REPORT"

	// nativeVar, when set, runs all promises in the test's own process: for a
	// debugger, a profile, or many repetitions.
	nativeVar = "WSWORKSHOP_NATIVE"

	// childTime bounds one promise, in real time.
	childTime = 60 * time.Second
)

// Isolated reports whether promises run in processes of their own: false in such
// a process, and when the environment or a coverage profile asks for one process.
func Isolated() bool {
	return os.Getenv(reportVar) == "" && os.Getenv(nativeVar) == "" && testing.CoverMode() == ""
}

// Children run tests once more, each in a process of its own: so that a panic, a
// deadlock or a data race in one is told in a sentence, and hides no other.
type Children struct {
	ctx   context.Context // ends with the test that started them
	dir   string
	ahead map[string]<-chan ending // by the name of the test
	stuck int
}

// NewChildren returns children for the subtests of t.
func NewChildren(t *testing.T) *Children {
	return &Children{ctx: t.Context(), dir: t.TempDir(), ahead: make(map[string]<-chan ending)}
}

// Ahead starts the children of subtests of t before they ask for them with Run,
// as many at a time as there are processors. A subtest that wants all processors is
// alone while it runs.
func (c *Children) Ahead(t *testing.T, subtests []string, wantsAll func(subtest string) bool) {
	waiting := make(chan func(), len(subtests))
	var processors sync.RWMutex
	for _, subtest := range subtests {
		name := t.Name() + "/" + strings.ReplaceAll(subtest, " ", "_")
		ends := make(chan ending, 1)
		c.ahead[name] = ends
		var lock sync.Locker = processors.RLocker()
		if wantsAll(subtest) {
			lock = &processors
		}
		waiting <- func() {
			lock.Lock()
			defer lock.Unlock()
			ends <- c.run(name, childTime)
		}
	}
	close(waiting)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for run := range waiting {
				run()
			}
		})
	}
	t.Cleanup(workers.Wait) // soon: the end of c.ctx ends the children
}

// Run fails the current test with what its child reports, if that is a failure.
func (c *Children) Run(t *testing.T, about About) {
	var end ending
	if ends, ok := c.ahead[t.Name()]; ok {
		end = <-ends
	} else {
		end = c.run(t.Name(), childTime)
	}
	if end.stuck {
		c.stuck++
	}
	if report := end.tell(about); report != "" {
		fail(t, report)
	}
}

// Stuck returns how many children hung, and were ended by a watch or a time limit.
func (c *Children) Stuck() int { return c.stuck }

// ending is how a child has ended.
type ending struct {
	report string // what it reports itself, if it fails in order
	story  []string
	output string
	limit  time.Duration // after which it was stopped, if it was
	failed bool
	stuck  bool
	err    error // why nothing is known of it
}

// run runs a test in a process of its own.
func (c *Children) run(name string, limit time.Duration) ending {
	program, err := os.Executable()
	if err != nil {
		return ending{err: err}
	}
	dir, err := os.MkdirTemp(c.dir, "")
	if err != nil {
		return ending{err: err}
	}
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	child := exec.CommandContext(ctx, program, "-test.run="+exactly(name),
		"-test.count=1", "-test.timeout=0", "-test.paniconexit0")
	child.Env = append(childEnv(), reportVar+"="+dir, fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)),
		"GOGC=200") // it lives for milliseconds: more memory takes less time
	child.WaitDelay = time.Second // a program that the server has started may hold the pipe
	var printed ends
	child.Stdout, child.Stderr = &printed, &printed
	err = child.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		if strings.Contains(printed.String(), "no tests to run") {
			return ending{err: fmt.Errorf("the test did not find itself: -test.run=%s", exactly(name))}
		}
		return ending{}
	}

	report, _ := os.ReadFile(filepath.Join(dir, "report"))
	story, _ := os.ReadFile(filepath.Join(dir, "story"))
	_, stuck := os.Stat(filepath.Join(dir, "stuck"))
	end := ending{report: string(report), output: printed.String(), failed: true, stuck: stuck == nil}
	for line := range strings.Lines(string(story)) {
		end.story = append(end.story, strings.TrimSuffix(line, "\n"))
	}
	if ctx.Err() != nil {
		end.limit, end.stuck = limit, true
	}
	return end
}

// ends keeps the beginning and the end of what is written.
type ends struct {
	first, last []byte
	left        int // bytes in between, which are gone
}

// mostOfEnds is how many bytes each of the two ends has at most.
const mostOfEnds = 512 << 10

func (e *ends) Write(b []byte) (int, error) {
	n := min(len(b), mostOfEnds-len(e.first))
	e.first = append(e.first, b[:n]...)
	e.last = append(e.last, b[n:]...)
	if over := len(e.last) - mostOfEnds; over > mostOfEnds {
		e.left += over
		e.last = append(e.last[:0], e.last[over:]...)
	}
	return len(b), nil
}

func (e *ends) String() string {
	if e.left == 0 {
		return string(e.first) + string(e.last)
	}
	return fmt.Sprintf("%s\n... (%d bytes) ...\n%s", e.first, e.left, e.last)
}

// tell returns what the child reports, or "" if it has passed.
func (e ending) tell(about About) string {
	switch {
	case e.err != nil:
		return e.err.Error()
	case !e.failed:
		return ""
	case e.report != "":
		return e.report
	}
	saw, cause, also := translate(e.output, e.limit)
	if !about.Panics {
		about = about.brokenDown(cause, also)
	}
	return about.tell(e.story, saw)
}

// childEnv is the environment of a child process, without settings of the runtime that
// would change what is seen. By default the race detector sleeps a second at exit.
func childEnv() []string {
	return append(os.Environ(), "GODEBUG=", "GOTRACEBACK=", "GORACE=atexit_sleep_ms=0")
}

// exactly returns a pattern for -test.run that matches one test.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// fail prints a report under the name of the test, and fails it.
func fail(t *testing.T, report string) {
	fmt.Fprintln(t.Output(), report)
	t.FailNow()
}

// reporter returns the function that ends a scenario with a failure. In a child
// process that is the end of the process, whatever the server is doing.
func reporter(t *testing.T) func(string) {
	return func(report string) {
		if sendReport(report) {
			os.Exit(1)
		}
		fail(t, report)
	}
}

// sendReport leaves a report where the parent finds it. It reports false if this
// is no child process.
func sendReport(report string) bool {
	dir := os.Getenv(reportVar)
	if dir == "" {
		return false
	}
	os.WriteFile(filepath.Join(dir, "report"), []byte(report), 0o600)
	return true
}

// markStuck tells the parent that this child has hung.
func markStuck() {
	if dir := os.Getenv(reportVar); dir != "" {
		os.WriteFile(filepath.Join(dir, "stuck"), nil, 0o600)
	}
}

// noteForParent keeps a line of the story where the parent finds it if this
// process dies.
func noteForParent(line string) {
	dir := os.Getenv(reportVar)
	if dir == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, "story"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(f, line)
		f.Close()
	}
}

// explanations say what the runtime and gorilla mean.
var explanations = []struct{ says, means string }{
	{"concurrent write to websocket connection", "two goroutines wrote to one connection at the same time: only the write pump may write messages and pings"},
	{"repeated read on failed websocket connection", "the read loop went on after an error: an error from ReadMessage is final, so return"},
	{"send on closed channel", "one goroutine closed a channel while another still sent on it: let a done channel say that the connection has ended, and never close the queue"},
	{"close of closed channel", "a channel was closed twice: let sync.Once close it"},
	{"close of nil channel", "a channel was closed that was never made"},
	{"concurrent map", "a map was used by several goroutines at the same time: hold the mutex around each use"},
	{"negative WaitGroup counter", "a WaitGroup was done more often than it was added to"},
	{"WaitGroup", "a WaitGroup was added to while another goroutine was already waiting for it"},
	{"unlock of unlocked", "a mutex was unlocked that nobody had locked"},
	{"nil pointer dereference", "something was used that is nil"},
	{"synctest channel from outside bubble", "a channel, a timer or a ticker was made once for the whole program: each server, or each client, makes its own"},
	{"the test lets the socket's", "the test let the connection panic in a pump, and nothing recovered in that goroutine"},
}

var (
	crashLine = regexp.MustCompile(`(?m)^(panic|fatal error): (.*)$`)
	raceLine  = regexp.MustCompile(`(?s)WARNING: DATA RACE\n(.*?)\n==================`)
)

// translate says in words why a child process died, and what the usual cause is, if
// that is not said already: see brokenDown. limit is 0 if it was not stopped after
// that time.
func translate(output string, limit time.Duration) (said, cause string, also bool) {
	if crash := crashLine.FindStringSubmatch(output); crash != nil {
		what, _, _ := strings.Cut(crash[2], " [recovered")
		said := fmt.Sprintf("the whole program died: %s: %s", crash[1], what)
		if place := ownCalls(output[strings.Index(output, crash[0]):]); place != "" {
			said += "\nin " + place
		}
		for _, e := range explanations {
			if strings.Contains(what, e.says) {
				return said + "\nThat is: " + e.means + ".", "", false
			}
		}
		return said + ".", "", true
	}
	if race := raceLine.FindStringSubmatch(output); race != nil {
		return strings.TrimSpace("a data race: two goroutines used the same variable at the same time, and one of them wrote.\n" + racePlaces(race[1])),
			"the variable is not guarded: hold the same lock around each use, or let one goroutine alone use it.", true
	}
	if limit > 0 {
		return fmt.Sprintf("no end after %v of real time, so the test was stopped.", limit), "a loop without an end.", false
	}
	if len(output) > 2000 {
		output = output[len(output)-2000:]
	}
	return "the server ended the whole program (with log.Fatal or os.Exit?). It printed:\n" + strings.TrimSpace(output),
		"one connection's error is taken for the end of all: return instead.", false
}

// ownCalls returns the first place in a goroutine dump that belongs to the server
// under test, and who has called it: a part of the code is given, and the mistake may
// be in the part that is not. It returns "" if there is none.
func ownCalls(dump string) string {
	for _, g := range parseDump(dump) {
		if calls := g.calls(); calls != "" {
			return calls
		}
	}
	return ""
}

var raceFrame = regexp.MustCompile(`(?m)^  (\S+)\(.*\)\n      (.+):(\d+)(?: \+0x[0-9a-f]+)?$`)

// racePlaces returns the two accesses of a report of the race detector, each
// with its place in the server under test.
func racePlaces(report string) string {
	var b bytes.Buffer
	for block := range strings.SplitSeq(report, "\n\n") {
		head, _, _ := strings.Cut(block, " at ")
		if head != "Read" && head != "Write" && !strings.HasPrefix(head, "Previous ") {
			continue
		}
		for _, m := range raceFrame.FindAllStringSubmatch(block, -1) {
			if f := (frame{function: m[1], file: m[2], line: m[3]}); f.own() {
				fmt.Fprintf(&b, "%s in %s\n", strings.ToLower(head), f)
				break
			}
		}
	}
	return b.String()
}
