package browsertest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is a Chromium or one of its relatives, driven by chromedp.
var chromium chromiumDriver

type chromiumDriver struct {
	start sync.Once
	ctx   context.Context
	err   error
	stops []func()
}

func (d *chromiumDriver) launch() error {
	path, err := findProgram("WSWORKSHOP_BROWSER",
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
		`C:\Program Files\Google\Chrome\Application\chrome.exe`,
		`C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe`)
	if err != nil {
		return fmt.Errorf("no Chromium, Chrome or Edge (Debian and Ubuntu: apt-get install chromium): %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // for root there is none
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	d.stops = append(d.stops, stop)
	d.ctx, stop = chromedp.NewContext(allocator)
	d.stops = append(d.stops, stop)
	if err := chromedp.Do(d.ctx); err != nil {
		return fmt.Errorf("%s does not start: %w", path, err)
	}
	return nil
}

func (d *chromiumDriver) stop() {
	for _, stop := range d.stops {
		defer stop()
	}
}

func (d *chromiumDriver) newTab(t *testing.T, p *page) tab {
	t.Helper()
	d.start.Do(func() { d.err = d.launch() })
	if d.err != nil {
		t.Fatal(d.err)
	}
	tab := &chromiumTab{page: p}
	tab.ctx, tab.cancel = chromedp.NewContext(d.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(tab.listen))
	// The tab lives as long as the context of what is done first.
	if err := chromedp.Do(tab.ctx); err != nil {
		t.Fatal(err)
	}
	return tab
}

type chromiumTab struct {
	page   *page
	ctx    context.Context
	cancel context.CancelFunc
}

// do does something in a tab of Chromium.
func (p *page) do(action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	get(p, action)
}

// get does something in a tab of Chromium and returns what comes of it.
func get[T any](p *page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.tab.(*chromiumTab).ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// command gives Chromium a command for the tab.
func command[P, R any](p *page, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	return get(p, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, cmd, params)
	})
}

func (tab *chromiumTab) evaluate(expression string) string {
	tab.page.t.Helper()
	return get(tab.page, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

func (tab *chromiumTab) before(script string) {
	tab.page.t.Helper()
	command(tab.page, cdpage.AddScriptToEvaluateOnNewDocument, cdpage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

func (tab *chromiumTab) visit(url string) {
	tab.page.t.Helper()
	tab.page.do(chromedp.Navigate(url))
}

func (tab *chromiumTab) click(id string) {
	tab.page.t.Helper()
	tab.page.do(chromedp.Click(chromedp.ID(id)))
}

func (tab *chromiumTab) typeText(text string) {
	tab.page.t.Helper()
	tab.page.do(chromedp.KeyEvent(text))
}

func (tab *chromiumTab) screenshot() []byte {
	tab.page.t.Helper()
	return get(tab.page, chromedp.FullScreenshot(100))
}

func (tab *chromiumTab) close() { tab.cancel() }

func (tab *chromiumTab) listen(event any) {
	p := tab.page
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			p.say(e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning, fmt.Sprintf("console.%s: %s", e.Type, arg.Value))
		}
	case *runtime.EventExceptionThrown:
		p.say(true, describe(e.ExceptionDetails))
	case *log.EventEntryAdded:
		p.say(e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *cdpage.EventJavascriptDialogOpening:
		p.say(true, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		p.ask(e.Request.URL)
	case *network.EventWebSocketCreated:
		p.ask(e.URL)
	}
}

func describe(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	return e.Text
}
