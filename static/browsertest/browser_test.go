// Package browsertest tests the page in a real browser, against the programs of
// all solutions. It is a module of its own, because it needs a library that
// drives the browser.
//
//	go test -count=1 ./...                      # in this folder
//	go test -count=1 -run Screenshots -update   # takes the pictures in docs/img anew
//
// Without -count=1, go test may answer from its cache: it does not see a change
// in the programs, which belong to another module. What a failed test leaves, a
// screenshot and the console, is in the folder failures.
package browsertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "take the screenshots in docs/img anew")

var (
	binaries string          // the folder of the programs
	browser  context.Context // the browser that all tests share
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	path, err := findBrowser()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
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

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // for root there is none
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	browser, cancel = chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintf(os.Stderr, "%s does not start: %v\n", path, err)
		return 1
	}
	return m.Run()
}

// findBrowser returns the program of a Chromium or one of its relatives.
func findBrowser() (string, error) {
	names := []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
		`C:\Program Files\Google\Chrome\Application\chrome.exe`,
		`C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe`,
	}
	if name := os.Getenv("WSWORKSHOP_BROWSER"); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no browser: the tests of the page need Chromium, Chrome or Edge, and found none of %s. "+
		"Install one (Debian and Ubuntu: apt-get install chromium), or say with the environment variable WSWORKSHOP_BROWSER where yours is.",
		strings.Join(names, ", "))
}

// page is a tab of the browser, in a profile of its own.
type page struct {
	t   *testing.T
	ctx context.Context

	// mayLog are parts of what the console may say as an error. A browser logs a
	// handshake that is refused, and so on, whatever the page does.
	mayLog []string

	mu      sync.Mutex // guards what follows
	console []string
	errors  []string
	asked   []string // the URLs of all requests
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
	p := newPage(t, mayLog...)
	p.visit(url)
	p.waitFor(`document.getElementById("state").textContent === "open"`)
	return p
}

// newPage opens an empty tab. At the end of the test, the console must be without
// errors, and no other machine asked.
func newPage(t *testing.T, mayLog ...string) *page {
	t.Helper()
	p := &page{t: t, mayLog: mayLog}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	p.ctx = ctx
	// The tab lives as long as the context of what is done first.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.check()
		if t.Failed() {
			p.keep()
		}
		cancel()
	})
	return p
}

// do does something in the tab.
func (p *page) do(action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	get(p, action)
}

// get does something in the tab and returns what comes of it.
func get[T any](p *page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// command gives the browser a command for the tab.
func command[P, R any](p *page, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	return get(p, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, cmd, params)
	})
}

// eval returns the value of an expression in the page. A promise is awaited.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	return get(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// before runs a script before any of the page's own.
func (p *page) before(script string) {
	p.t.Helper()
	command(p, cdpage.AddScriptToEvaluateOnNewDocument, cdpage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

func (p *page) visit(url string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
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
	p.do(chromedp.Click(chromedp.ID(id)))
}

// write types a message and presses enter.
func (p *page) write(text string) {
	p.t.Helper()
	eval[bool](p, `(document.getElementById("text").focus(), true)`)
	p.do(chromedp.KeyEvent(text + "\r"))
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

func (p *page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	say := func(isError bool, text string) {
		p.console = append(p.console, text)
		if isError {
			p.errors = append(p.errors, text)
		}
	}
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			say(e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning, fmt.Sprintf("console.%s: %s", e.Type, arg.Value))
		}
	case *runtime.EventExceptionThrown:
		say(true, describe(e.ExceptionDetails))
	case *log.EventEntryAdded:
		say(e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *cdpage.EventJavascriptDialogOpening:
		say(true, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.URL)
	case *network.EventWebSocketCreated:
		p.asked = append(p.asked, e.URL)
	}
}

func describe(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	return e.Text
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
	name := filepath.Join("failures", strings.ReplaceAll(p.t.Name(), "/", "-")+"-"+string(chromedp.FromContext(p.ctx).Target.TargetID))
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(90))
	if err == nil {
		err = os.MkdirAll("failures", 0o755)
	}
	if err == nil {
		err = os.WriteFile(name+".jpg", picture, 0o644)
	}
	if err == nil {
		err = os.WriteFile(name+".txt", []byte(strings.Join(p.console, "\n")+"\n"), 0o644)
	}
	if err != nil {
		p.t.Errorf("keep the screenshot and the console: %v", err)
		return
	}
	p.t.Logf("the screenshot is in %s.jpg, the console in %s.txt", name, name)
}
