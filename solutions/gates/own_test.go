package gates

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// ownCode is code of the reader's own on a page, at times wrong on purpose: it is not
// in the repository, so that nothing but the tests here compiles it.
type ownCode struct {
	block
	build  []string          // the arguments of go that compile it
	files  map[string]string // of the solution, as they are with it
	prints string            // what the page shows below it first, in the same section
}

// What a sentence above such code may say of its place.
var (
	inPlaceOf = regexp.MustCompile("replace `(\\w+)` by this")
	rightOver = regexp.MustCompile("directly above `([^`]+)`")
	asTheLine = regexp.MustCompile("change the line with `([^`]+)` to")
	copied    = regexp.MustCompile(`(?m)^cp -r (solutions/\S+) (\S+)$`)
	aTest     = regexp.MustCompile(`(?m)^func Test|^	"testing"$`)
)

// ownCodes returns the code of the reader's own on a page. What is a whole file is
// compiled in the folder of the step. Anything else goes where the sentence above it
// says, into the solution, on top of what stands before it on the page.
func ownCodes(t *testing.T, page string) []ownCode {
	t.Helper()
	var all []ownCode
	changed := make(map[string]string) // files of solutions, as they are so far
	for _, b := range blocks(t, page) {
		code := strings.Join(b.lines, "\n") + "\n"
		folder := "./" + strings.Replace(filepath.ToSlash(filepath.Dir(page)), "steps/", "solutions/", 1)
		o := ownCode{block: b, build: []string{"build", folder}}
		switch {
		case b.info == "text" && len(all) > 0 && all[len(all)-1].section == b.section:
			if last := &all[len(all)-1]; last.prints == "" {
				last.prints = code
			}
			continue
		case !strings.HasPrefix(b.info, "go") || b.source() != "":
			continue
		case !strings.Contains(code, "package main\n"):
			solution := strings.Replace(b.named, "steps/", "solutions/", 1)
			if copy := copied.FindStringSubmatch(read(t, page)); copy != nil && filepath.Dir(b.named) == copy[2] {
				solution = copy[1] + "/" + filepath.Base(b.named)
			}
			if changed[solution] == "" {
				changed[solution] = read(t, solution)
			}
			changed[solution] = put(t, b, changed[solution], code)
			o.build[1] = "./" + filepath.ToSlash(filepath.Dir(solution))
			o.files = map[string]string{solution: changed[solution]}
		case aTest.MatchString(code):
			o.build = []string{"test", "-c", folder}
			o.files = map[string]string{folder + "/own_test.go": code}
		default:
			o.build[1] = folder + "/_own"
			o.files = map[string]string{o.build[1] + "/main.go": code}
		}
		all = append(all, o)
	}
	return all
}

// put puts code of the reader's own into a file, where the sentence above it says.
func put(t *testing.T, b block, file, code string) string {
	t.Helper()
	pattern, keep := "", ""
	if m := inPlaceOf.FindStringSubmatch(b.above); m != nil {
		pattern = `(?ms)^func (\([^)]+\) )?` + m[1] + `\(.*?^}\n`
	} else if m := rightOver.FindStringSubmatch(b.above); m != nil {
		pattern, keep = `(?m)^\t*`+regexp.QuoteMeta(m[1])+`\n`, "$0"
	} else if m := asTheLine.FindStringSubmatch(b.above); m != nil {
		pattern = `(?m)^.*\b` + regexp.QuoteMeta(m[1]) + `\b.*\n`
	} else {
		t.Fatalf("%s:%d: where does this code go? Say above it: replace `name` by this, directly above `line`, or change the line with `word` to.", b.page, b.at)
	}
	place := regexp.MustCompile(pattern)
	if n := len(place.FindAllString(file, -1)); n != 1 {
		t.Fatalf("%s:%d: %s has %d places for this code, and should have one. The sentence above says\n%s", b.page, b.at, b.named, n, b.above)
	}
	return place.ReplaceAllString(file, strings.ReplaceAll(code, "$", "$$")+keep)
}

// The code of the reader's own compiles. Where the page shows what becomes of it,
// and the table demonstrations has it, it does so.
func TestCodeOfTheReaderDoesWhatThePageSays(t *testing.T) {
	t.Parallel() // with the other test that waits for the go command
	compiled, shown := 0, 0
	for _, page := range pages(t) {
		for _, o := range ownCodes(t, page) {
			demonstrate := demonstrations[page+", "+o.section]
			if compiled++; demonstrate == nil {
				o.compile(t, os.DevNull)
				continue
			}
			shown++
			output := demonstrate(t, o)
			if line := missing(output, o.prints); line != "" || o.prints == "" {
				t.Errorf("%s:%d: the page shows\n%s\nbut the line %q does not come, or not in this place, in\n%s\nCopy what is printed.", page, o.at, o.prints, line, tail(output, 40))
			}
		}
	}
	if shown != len(demonstrations) {
		t.Errorf("%d of the table %q are on the pages: take out of it what is gone.", shown, "demonstrations")
	}
	t.Logf("code of the reader's own: %d compiled, the output of %d compared", compiled, shown)
}

// demonstrations do what a page tells to do with code, and return what is printed
// then, by page and section.
var demonstrations = map[string]func(*testing.T, ownCode) string{
	lesson("03-hub") + ", Break it on purpose":     withoutLocks,
	lesson("07-recover") + ", The problem":         sending(""),
	lesson("07-recover") + ", Break it on purpose": sending("boom"),
}

// withoutLocks runs a test on the hub: with its locks, and without those for
// writing, as often as it takes until the runtime notices.
func withoutLocks(t *testing.T, o ownCode) string {
	const hub = "solutions/03-hub/hub.go"
	run := func() string {
		output, _ := exec.CommandContext(t.Context(), o.compile(t, filepath.Join(t.TempDir(), "own.exe")), "-test.v", "-test.run=TestBreak").CombinedOutput()
		return string(output) // with what it says in the end, if it fails
	}
	if output := run(); !strings.Contains(output, "clients left: 0\n") {
		t.Errorf("%s:%d: with the locks no clients should be left, and it prints\n%s", o.page, o.at, output)
	}
	o.files[hub] = regexp.MustCompile(`(?m)^\t(defer )?h\.mu\.(Unl|L)ock\(\)\n`).ReplaceAllString(read(t, hub), "")
	output := ""
	for range 20 {
		if output = run(); strings.Contains(output, "fatal error") {
			break
		}
	}
	return output
}

// sending starts the server and sends it a message, which ends it.
func sending(message string) func(*testing.T, ownCode) string {
	return func(t *testing.T, o ownCode) string {
		cmd := exec.CommandContext(t.Context(), o.compile(t, filepath.Join(t.TempDir(), "own.exe")), "-addr=127.0.0.1:0")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		log := bufio.NewReader(stderr)
		first, err := log.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		_, addr, _ := strings.Cut(strings.TrimSpace(first), "url=http://")
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		defer conn.Close()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
		cmd.Process.Kill() // if it has not ended
		rest, err := io.ReadAll(log)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s%s%v\n", first, rest, cmd.Wait()) // in the end as go run says it
	}
}

// missing returns the first line of those shown that does not come, in this order,
// in an output. Addresses and numbers of goroutines may differ.
func missing(output, shown string) string {
	varies := regexp.MustCompile(`0x[0-9a-f]+|goroutine \d+`)
	lines := strings.Split(varies.ReplaceAllString(output, "..."), "\n")
	for line := range strings.Lines(shown) {
		line = strings.TrimSuffix(line, "\n")
		at := slices.Index(lines, varies.ReplaceAllString(line, "..."))
		if at < 0 {
			return line
		}
		lines = lines[at+1:]
	}
	return ""
}

// compile compiles the code into a program, and returns its path.
func (o ownCode) compile(t *testing.T, program string) string {
	t.Helper()
	args := slices.Insert(slices.Clone(o.build), 1, "-overlay="+overlay(t, o.files), "-o", program)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s:%d: the code does not compile in its place any more:\n%s", o.page, o.at, output)
	}
	return program
}
