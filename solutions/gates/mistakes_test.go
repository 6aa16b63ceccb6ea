package gates

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
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
)

var update = flag.Bool("update", false, "write testdata anew: what the wrong servers' tests print, or the words of the pages")

const (
	// mistakesFolder holds a folder for each step, with a file for each mistake.
	mistakesFolder = "solutions/gates/testdata/mistakes"

	fewestMistakes = 10              // in a step
	mostLines      = 40              // of output, until the sentence that matters is complete
	mostBroken     = 17              // promises, by one mistake
	tooLong        = 2 * time.Minute // but for a machine that is busy, ten seconds are plenty

	// mostTries is how often a wrong server is tried. It must be caught each time. But
	// some are wrong in what their goroutines do at the same time: chance may decide
	// which of two true sentences comes.
	mostTries = 3
)

// neverFirst is a promise whose every mistake breaks one before it too: it shows in
// a process of its own what that one shows in a bubble.
const neverFirst = "7.2 the program survives a panic"

// mistake is a wrong server: a solution, changed as a learner might have written
// it.
type mistake struct {
	path   string // of the file that describes it
	folder string // of the step: "04-broadcast"
	breaks string // the promise that must be the first to fail: "4.2 Broadcast ..."
	says   string // what its message must say
	race   bool   // only the race detector finds it for certain
	varies bool   // chance decides which words of the failure come; output is an example
	edits  map[string][]edit
	output string // what the promise must print
	source string // all of the file but the output
}

// edit replaces the lines old of a file by the lines new.
type edit struct{ old, new string }

// Each mistake can be made: the lines that it changes are there, exactly once, and
// the promise that it breaks exists.
func TestMistakesApply(t *testing.T) {
	eachStep(t, func(t *testing.T, n int, folder string) {
		mistakes := readMistakes(t, mistakesFolder, folder)
		if len(mistakes) < fewestMistakes {
			t.Errorf("%s/%s has %d mistakes, and must have at least %d.", mistakesFolder, folder, len(mistakes), fewestMistakes)
		}
		broken := make(map[string]bool)
		for _, m := range mistakes {
			broken[m.breaks] = true
			if m.output == "" {
				t.Errorf("%s has no output: run go test ./solutions/gates -long -run Mistakes -update, and read it.", m.path)
			}
			for file := range m.edits {
				if _, err := m.apply(file); err != nil {
					t.Errorf("%s: %v", m.path, err)
				}
			}
		}
		for _, promise := range contract.Promises(n) {
			if !broken[promise.String()] && promise.String() != neverFirst {
				t.Errorf("no mistake in %s/%s breaks %q.", mistakesFolder, folder, promise)
			}
		}
	})
}

// Each wrong server is caught: the promise that its mistake breaks is the first
// to fail, and says what it should, soon.
func TestMistakesAreCaught(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: go test ./solutions/gates -long -run Mistakes")
	}
	var mu sync.Mutex // guards what follows
	var slowest time.Duration
	caught, tried, again, cascade := 0, 0, 0, 0
	t.Run("each", func(t *testing.T) {
		for _, folder := range contract.Folders {
			for _, m := range readMistakes(t, mistakesFolder, folder) {
				t.Run(strings.TrimPrefix(m.path, mistakesFolder+"/"), func(t *testing.T) {
					t.Parallel()
					began, broken, tries := time.Now(), 0, 0
					defer func() { // also when try has ended the test
						mu.Lock()
						defer mu.Unlock()
						tried++
						if tries > 1 {
							again++
						}
						slowest = max(slowest, time.Since(began))
						cascade = max(cascade, broken)
						if !t.Failed() {
							caught++
						}
					}()
					var err error
					for tries = 1; tries <= mostTries; tries++ {
						if broken, err = m.try(t); err == nil {
							return
						}
						t.Log(err)
					}
					t.Fail()
				})
			}
		}
	})
	if tried == 0 {
		t.Error("no mistake was tried: -run has the form 'MistakesAreCaught/each/04/broadcast'.")
	}
	t.Logf("mistakes: %d caught of %d tried, %d of them more than once; the slowest took %v with its builds, the worst broke %d promises",
		caught, tried, again, slowest.Round(time.Second/10), cascade)
}

// try tests the wrong server, which must fail. It returns the number of promises that
// are broken, and an error if it does not fail as it should. If it breaks a promise of
// its own step, those are all that is run: the runner reports them first.
func (m *mistake) try(t *testing.T) (broken int, err error) {
	t.Helper()
	run := "^TestServer$"
	if own, _, _ := strings.Cut(m.breaks, "."); own == strings.TrimPrefix(m.folder[:2], "0") {
		run += `/^` + own + `\.`
	}
	args := []string{"test", "-run=" + run, "-count=1", "-vet=off", "-ldflags=-w", "-overlay=" + m.overlay(t)}
	if m.race {
		args = append(args, "-race")
	}
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append(args, "./solutions/"+m.folder)...)
	cmd.Dir = root
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WSWORKSHOP_") })
	output, failed := cmd.CombinedOutput()
	printed := string(output)
	switch {
	case ctx.Err() != nil:
		t.Fatalf("it took more than %v:\n%s", tooLong, printed)
	case failed == nil:
		t.Fatalf("all promises pass. The contract does not see this mistake.")
	case !strings.HasPrefix(printed, "--- FAIL: TestServer "):
		t.Fatalf("it does not build, or its tests do not run:\n%s", printed)
	}

	failures := splitFailures(printed)
	if len(failures) == 0 {
		t.Fatalf("it fails, but no promise:\n%s", printed)
	}
	broken = len(failures)
	if first := failures[0]; first.test != testName(m.breaks) {
		return broken, fmt.Errorf("the first promise to fail is %s, and not %q:\n%s", first.test, m.breaks, printed)
	}
	if broken > mostBroken {
		return broken, fmt.Errorf("%d promises fail from one cause, and at most %d should:\n%s", broken, mostBroken, printed)
	}
	got := normalize(failures[0].body)
	if !strings.Contains(strings.Join(strings.Fields(got), " "), m.says) {
		return broken, fmt.Errorf("the failure does not say %q:\n%s", m.says, failures[0].body)
	}
	if lines := linesUntil(printed, m.says); lines > mostLines {
		return broken, fmt.Errorf("%q is only complete after %d lines, and should be after %d:\n%s", m.says, lines, mostLines, printed)
	}
	if *update {
		if err := os.WriteFile(inRoot(m.path), []byte(strings.TrimRight(m.source, "\n")+"\n\n"+outputHead+got), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if counted.ReplaceAllString(got, "N") != counted.ReplaceAllString(m.output, "N") && !m.varies {
		return broken, fmt.Errorf("the failure has changed. If it is better now, take it over with -update.\nGot:\n%s\nWant:\n%s", got, m.output)
	}
	return broken, nil
}

// overlay writes the changed files, and the file that tells go of them.
func (m *mistake) overlay(t *testing.T) (path string) {
	files := make(map[string]string)
	for file := range m.edits {
		changed, err := m.apply(file)
		if err != nil {
			t.Fatal(err)
		}
		files["solutions/"+m.folder+"/"+file] = changed
	}
	return overlay(t, files)
}

// overlay writes the file that tells go to take other texts in place of files of the
// repository, or beside them.
func overlay(t *testing.T, files map[string]string) (path string) {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for name, text := range files {
		original, err := filepath.Abs(inRoot(name))
		if err != nil {
			t.Fatal(err)
		}
		replace[original] = filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(replace[original], []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// apply returns a file of the solution with the mistake in it.
func (m *mistake) apply(file string) (string, error) {
	name := "solutions/" + m.folder + "/" + file
	data, err := os.ReadFile(inRoot(name))
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for _, e := range m.edits[file] {
		if n := strings.Count("\n"+text, "\n"+e.old); n != 1 {
			return "", fmt.Errorf("%s has these lines %d times, and must have them once:\n%s", name, n, e.old)
		}
		text = strings.TrimPrefix(strings.Replace("\n"+text, "\n"+e.old, "\n"+e.new, 1), "\n")
	}
	return text, nil
}

const outputHead = "-- output --\n"

var (
	headLine = regexp.MustCompile(`^(breaks|says|race|varies): (.+)$`)
	fileLine = regexp.MustCompile(`^-- (\S+\.go) --$`)
)

// readMistakes reads the mistakes of a step. docs/how-the-tests-are-tested.md
// describes their files.
func readMistakes(t *testing.T, from, folder string) []*mistake {
	t.Helper()
	paths, err := filepath.Glob(inRoot(from + "/" + folder + "/*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*mistake
	for _, path := range paths {
		m := &mistake{path: from + "/" + folder + "/" + filepath.Base(path), folder: folder}
		if err := m.parse(read(t, m.path)); err != nil {
			t.Fatalf("%s: %v", m.path, err)
		}
		all = append(all, m)
	}
	return all
}

func (m *mistake) parse(text string) error {
	m.source, m.output, _ = strings.Cut(text, outputHead)
	m.edits = make(map[string][]edit)
	lines := strings.Split(strings.TrimRight(m.source, "\n"), "\n")
	if len(lines) < 2 || !strings.HasSuffix(lines[0], ".") {
		return fmt.Errorf("the first line must be a sentence that names the mistake")
	}
	file := ""
	var e edit
	flush := func() {
		if e != (edit{}) {
			m.edits[file] = append(m.edits[file], e)
		}
		e = edit{}
	}
	for _, line := range lines[1:] {
		head, next := headLine.FindStringSubmatch(line), fileLine.FindStringSubmatch(line)
		switch {
		case file == "" && head != nil && head[1] == "breaks":
			m.breaks = head[2]
		case file == "" && head != nil && head[1] == "says":
			m.says = head[2]
		case file == "" && head != nil && head[1] == "race":
			m.race = head[2] == "yes"
		case file == "" && head != nil:
			m.varies = head[2] == "yes"
		case next != nil:
			flush()
			file = next[1]
		case file == "" && line == "":
		case line == "@@":
			flush()
		case line == "" || line[0] == ' ':
			kept := strings.TrimPrefix(line, " ") + "\n"
			e.old += kept
			e.new += kept
		case line[0] == '-':
			e.old += line[1:] + "\n"
		case line[0] == '+':
			e.new += line[1:] + "\n"
		default:
			return fmt.Errorf("this line is neither a head nor part of a change: %s", line)
		}
	}
	flush()
	if strings.HasPrefix(m.path, rightFolder) && len(m.edits) > 0 {
		return nil // it breaks nothing
	}
	if m.says == "" || len(m.edits) == 0 {
		return fmt.Errorf("it must say what it breaks, what the failure says, and what is changed")
	}
	return m.findPromise()
}

// findPromise completes the name of the promise that the mistake breaks.
func (m *mistake) findPromise() error {
	var found []string
	for n := 1; n <= slices.Index(contract.Folders[:], m.folder)+1; n++ {
		for _, p := range contract.Promises(n) {
			if strings.HasPrefix(p.String(), m.breaks) {
				found = append(found, p.String())
			}
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%d promises begin with %q: %q", len(found), m.breaks, found)
	}
	m.breaks = found[0]
	return nil
}

// testName returns the name that go test gives to the test of a promise.
func testName(promise string) string { return strings.ReplaceAll(promise, " ", "_") }

// failure is the failure of one promise in the output of go test.
type failure struct{ test, body string }

var (
	failLine = regexp.MustCompile(`(?m)^    --- FAIL: TestServer/(.*) \(.*\)\n`)
	lastLine = regexp.MustCompile(`(?m)^(FAIL|exit status|panic)`)
)

// splitFailures returns the failures of promises in what go test printed, in
// their order.
func splitFailures(printed string) []failure {
	var all []failure
	heads := failLine.FindAllStringSubmatchIndex(printed, -1)
	for i, head := range heads {
		end := len(printed)
		if last := lastLine.FindStringIndex(printed[head[1]:]); last != nil {
			end = head[1] + last[0]
		}
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		all = append(all, failure{printed[head[2]:head[3]], printed[head[1]:end]})
	}
	return all
}

// linesUntil returns the number of lines until a sentence is complete, wherever
// its lines are broken.
func linesUntil(printed, sentence string) int {
	lines := strings.Split(printed, "\n")
	for n := range lines {
		if strings.Contains(strings.Join(strings.Fields(strings.Join(lines[:n+1], " ")), " "), sentence) {
			return n + 1
		}
	}
	return len(lines)
}

// What differs from run to run, or moves with each change of the code.
var variable = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\.go:\d+`), ".go:LINE"},
	{regexp.MustCompile(`0x[0-9a-f]+`), "0xADDRESS"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`goroutine \d+`), "goroutine N"},
}

// counted are figures, which may depend on how far the server has come by then.
var counted = regexp.MustCompile(`\d+`)

// A crash and a data race are noticed while the scenario goes on, some events
// sooner or later, and a race between any two of its accesses.
var (
	noticedLater = regexp.MustCompile(`Seen: +(the whole program died|a data race)`)
	access       = regexp.MustCompile(`(?m)^ *(previous )?(read|write) in .*\n`)
)

// normalize takes out of a failure what differs from run to run, and its
// indentation.
func normalize(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		b.WriteString(strings.TrimPrefix(line, "        "))
	}
	text := b.String()
	for _, v := range variable {
		text = v.pattern.ReplaceAllString(text, v.instead)
	}
	if at := noticedLater.FindStringIndex(text); at != nil {
		text = access.ReplaceAllString(text[at[0]:], "")
	}
	return text
}
