// Package browsertest tests the page in real browsers, against the programs of all
// solutions. It is a module of its own, because it needs a library that drives
// Chromium. All tests run in Chromium, and those of what a visitor does, in Firefox
// too.
//
//	go test -count=1 ./...                      # in this folder
//	go test -count=1 -run Screenshots -update   # takes the pictures in docs/img anew
//
// Without -count=1, go test may answer from its cache: it does not see a change
// in the programs, which belong to another module. What a failed test leaves, a
// screenshot and the console, is in the folder failures.
package browsertest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "take the screenshots in docs/img anew")

var binaries string // the folder of the programs

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	binaries, err = os.MkdirTemp("", "browsertest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	build := exec.Command("go", "build", "-o", binaries+string(filepath.Separator), "./steps", "./solutions/...")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	defer chromium.stop()
	defer firefox.stop()
	return m.Run()
}

// A driver starts its browser when a test first needs it.
type driver interface {
	newTab(t *testing.T, p *page) tab
	stop()
}

// tab is a tab of a browser, in a profile of its own. What goes wrong ends the test.
type tab interface {
	evaluate(expression string) string // of a promise for a string
	before(script string)              // runs it before any of the page's own
	visit(url string)
	click(id string)
	typeText(text string)
	screenshot() []byte
	close()
}

var drivers = map[string]driver{"chromium": &chromium, "firefox": &firefox}

// newPageFunc is newPage, or the same for another browser.
type newPageFunc func(t *testing.T, mayLog ...string) *page

// eachBrowser runs a test in each browser.
func eachBrowser(t *testing.T, test func(t *testing.T, newPage newPageFunc)) {
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, mayLog ...string) *page {
				t.Helper()
				return newPageIn(t, drivers[name], mayLog...)
			})
		})
	}
}

// findProgram returns the first of these programs that is there.
func findProgram(variable string, names ...string) (string, error) {
	if name := os.Getenv(variable); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("found none of %s; with the environment variable %s you say where yours is", strings.Join(names, ", "), variable)
}

// page is a tab and what it has said.
type page struct {
	t   *testing.T
	tab tab

	// mayLog are parts of what the console may say as an error. A browser logs a
	// handshake that is refused, and so on, whatever the page does.
	mayLog []string

	mu      sync.Mutex // guards what follows
	console []string
	errors  []string
	asked   []string // the URLs of all requests
}

// say is for the tab: the console has said something.
func (p *page) say(isError bool, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console = append(p.console, text)
	if isError {
		p.errors = append(p.errors, text)
	}
}

// ask is for the tab: the page has made a request.
func (p *page) ask(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, url)
}

// What the console says when a WebSocket is refused, when there is no server (or it
// ends in the middle of an answer), and when there is no /online.
const (
	wsFailed   = "WebSocket connection to"
	serverGone = "Failed to load resource: net::ERR_"
	notFound   = "Failed to load resource: the server responded with a status of 404"
)

// open opens the page of a server and waits until it is connected.
func open(t *testing.T, url string, mayLog ...string) *page {
	t.Helper()
	return newPage(t, mayLog...).open(url)
}

func (p *page) open(url string) *page {
	p.t.Helper()
	p.visit(url)
	p.waitText("state", "open")
	return p
}

// newPage opens an empty tab in Chromium.
func newPage(t *testing.T, mayLog ...string) *page {
	t.Helper()
	return newPageIn(t, &chromium, mayLog...)
}

// newPageIn opens an empty tab. At the end of the test, the console must be without
// errors, and no other machine asked.
func newPageIn(t *testing.T, browser driver, mayLog ...string) *page {
	t.Helper()
	p := &page{t: t, mayLog: mayLog}
	p.tab = browser.newTab(t, p)
	t.Cleanup(func() {
		p.check()
		if t.Failed() {
			p.keep()
		}
		p.tab.close()
	})
	return p
}

// eval returns the value of an expression in the page. A promise is awaited.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	var value T
	text := p.tab.evaluate("Promise.resolve(" + expression + ").then((value) => JSON.stringify(value))")
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		p.t.Fatalf("%s is %s: %v", expression, text, err)
	}
	return value
}

// before runs a script before any of the page's own.
func (p *page) before(script string) {
	p.t.Helper()
	p.tab.before(script)
}

func (p *page) visit(url string) {
	p.t.Helper()
	p.tab.visit(url)
}

// waitFor waits until a condition holds in the page. Not every condition is an
// event, so it looks again and again, from outside: the page's own clock may stand.
func (p *page) waitFor(condition string) {
	p.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for began := time.Now(); time.Since(began) < patience; <-again.C {
		if eval[bool](p, "Boolean("+condition+")") {
			return
		}
	}
	p.t.Fatalf("in %v this has not come true: %s\nThe page says:\n%s", patience, condition, eval[string](p, "document.body.innerText"))
}

// text returns the text of an element.
func (p *page) text(id string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.getElementById(%q).textContent", id))
}

// waitText waits until an element says something.
func (p *page) waitText(id, text string) {
	p.t.Helper()
	p.waitFor(fmt.Sprintf("document.getElementById(%q).textContent.includes(%q)", id, text))
}

func (p *page) click(id string) {
	p.t.Helper()
	p.tab.click(id)
}

// write types a message and presses enter.
func (p *page) write(text string) {
	p.t.Helper()
	eval[bool](p, `(document.getElementById("text").focus(), true)`)
	p.tab.typeText(text + "\r")
}

// messages returns the texts of one kind in the list of messages.
func (p *page) messages(kind string) []string {
	p.t.Helper()
	return eval[[]string](p, fmt.Sprintf(`[...document.querySelectorAll("#log .%s .text")].map((e) => e.textContent)`, kind))
}

// waitMessage waits until the list of messages has one of this kind and text.
func (p *page) waitMessage(kind, text string) {
	p.t.Helper()
	p.waitFor(fmt.Sprintf(`[...document.querySelectorAll("#log .%s .text")].some((e) => e.textContent === %q)`, kind, text))
}

// check demands a console without errors, and that no other machine was asked.
func (p *page) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.errors {
		allowed := false
		for _, part := range p.mayLog {
			allowed = allowed || strings.Contains(text, part)
		}
		if !allowed {
			p.t.Errorf("the console has an error: %s", text)
		}
	}
	if len(p.asked) == 0 {
		p.t.Error("the page has asked for nothing: then this test has seen nothing")
	}
	for _, url := range p.asked {
		_, host, _ := strings.Cut(url, "://")
		if !strings.HasPrefix(host, "127.0.0.1:") && !strings.HasPrefix(host, "localhost:") && !strings.HasPrefix(url, "data:") {
			p.t.Errorf("the page has asked another machine: %s", url)
		}
	}
}

// keep saves what a failed test leaves to look at.
func (p *page) keep() {
	name := filepath.Join("failures", fmt.Sprintf("%s-%p", strings.ReplaceAll(p.t.Name(), "/", "-"), p))
	err := errors.Join(
		os.MkdirAll("failures", 0o755),
		os.WriteFile(name+".png", p.tab.screenshot(), 0o644),
		os.WriteFile(name+".txt", []byte(strings.Join(p.console, "\n")+"\n"), 0o644),
	)
	if err != nil {
		p.t.Errorf("keep the screenshot and the console: %v", err)
		return
	}
	p.t.Logf("the screenshot is in %s.png, the console in %s.txt", name, name)
}
