package browsertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// firefox is a Firefox. It needs no driver of its own: with a port for debugging it
// speaks WebDriver BiDi (https://w3c.github.io/webdriver-bidi), JSON over a WebSocket.
var firefox firefoxDriver

type firefoxDriver struct {
	start   sync.Once
	err     error
	profile string
	cmd     *exec.Cmd
	conn    *websocket.Conn

	mu      sync.Mutex // guards what follows, and writes
	last    int        // the id of the last command
	answers map[int]chan answer
	pages   map[string]*page // by the id of their tab
}

// answer is what Firefox sends: the result of a command, or an event.
type answer struct {
	ID      int
	Type    string
	Result  json.RawMessage
	Error   string
	Message string
	Method  string
	Params  json.RawMessage
}

func (d *firefoxDriver) launch() error {
	path, err := findProgram("WSWORKSHOP_FIREFOX", "firefox-esr", "firefox",
		"/Applications/Firefox.app/Contents/MacOS/firefox",
		`C:\Program Files\Mozilla Firefox\firefox.exe`)
	if err != nil {
		return fmt.Errorf("no Firefox (Debian: apt-get install firefox-esr): %w", err)
	}
	if d.profile, err = os.MkdirTemp("", "browsertest-firefox"); err != nil {
		return err
	}
	d.cmd = exec.Command(path, "--headless", "--no-remote", "--profile", d.profile, "--remote-debugging-port", "0", "about:blank")
	output, err := d.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	address := make(chan string, 1)
	go func() {
		defer close(address)
		listening := regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	select {
	case url, ok := <-address:
		if !ok {
			return fmt.Errorf("%s has ended", path)
		}
		if d.conn, _, err = websocket.DefaultDialer.Dial(url+"/session", nil); err != nil {
			return err
		}
	case <-time.After(patience):
		return fmt.Errorf("%s does not listen after %v", path, patience)
	}
	d.answers = make(map[int]chan answer)
	d.pages = make(map[string]*page)
	go d.read()
	if _, err := d.command("session.new", object{"capabilities": object{}}); err != nil {
		return err
	}
	_, err = d.command("session.subscribe", object{"events": []string{"log.entryAdded", "network.beforeRequestSent", "browsingContext.userPromptOpened"}})
	return err
}

func (d *firefoxDriver) stop() {
	if d.conn != nil {
		d.command("browser.close", object{})
		d.conn.Close()
	}
	if d.cmd != nil && d.cmd.Process != nil {
		ended := make(chan struct{})
		go func() { d.cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			d.cmd.Process.Kill()
			<-ended
		}
	}
	os.RemoveAll(d.profile)
}

type object = map[string]any

// command gives Firefox a command and returns its result.
func (d *firefoxDriver) command(method string, params object) (json.RawMessage, error) {
	result := make(chan answer, 1)
	d.mu.Lock()
	d.last++
	id := d.last
	d.answers[id] = result
	err := d.conn.WriteJSON(object{"id": id, "method": method, "params": params})
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a, ok := <-result:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: the connection to Firefox has ended", method)
		case a.Type != "success":
			return nil, fmt.Errorf("%s: %s: %s", method, a.Error, a.Message)
		}
		return a.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: no answer in %v", method, patience)
	}
}

// read hands on what Firefox says, until the connection ends.
func (d *firefoxDriver) read() {
	for {
		var a answer
		if err := d.conn.ReadJSON(&a); err != nil {
			d.mu.Lock()
			for _, result := range d.answers {
				close(result)
			}
			d.answers = make(map[int]chan answer)
			d.mu.Unlock()
			return
		}
		d.mu.Lock()
		if a.Type == "event" {
			d.event(a)
		} else if result := d.answers[a.ID]; result != nil {
			delete(d.answers, a.ID)
			result <- a
		}
		d.mu.Unlock()
	}
}

func (d *firefoxDriver) event(a answer) {
	var e struct {
		Context     string
		Source      struct{ Context string }
		Level, Text string
		Message     string
		Request     struct{ URL string }
	}
	if err := json.Unmarshal(a.Params, &e); err != nil {
		return
	}
	p := d.pages[e.Context+e.Source.Context] // an event has one of them
	if p == nil {
		return
	}
	switch a.Method {
	case "log.entryAdded":
		p.say(e.Level == "error" || e.Level == "warn", e.Level+": "+e.Text)
	case "browsingContext.userPromptOpened":
		p.say(true, "a dialog: "+e.Message)
	case "network.beforeRequestSent":
		p.ask(e.Request.URL)
	}
}

func (d *firefoxDriver) newTab(t *testing.T, p *page) tab {
	t.Helper()
	d.start.Do(func() { d.err = d.launch() })
	if d.err != nil {
		t.Fatal(d.err)
	}
	tab := &firefoxTab{driver: d, page: p}
	var profile struct{ UserContext string }
	tab.command("browser.createUserContext", object{}, &profile)
	tab.profile = profile.UserContext
	// A window: a tab behind another one has no frames, and slow timers.
	var created struct{ Context string }
	tab.command("browsingContext.create", object{"type": "window", "userContext": tab.profile}, &created)
	tab.context = created.Context
	d.mu.Lock()
	d.pages[tab.context] = p
	d.mu.Unlock()
	return tab
}

type firefoxTab struct {
	driver           *firefoxDriver
	page             *page
	profile, context string
}

func (tab *firefoxTab) command(method string, params object, result any) {
	tab.page.t.Helper()
	data, err := tab.driver.command(method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(data, result)
	}
	if err != nil {
		tab.page.t.Fatal(err)
	}
}

// value is the result of a script.
type value struct {
	Type   string
	Result struct {
		Value    json.RawMessage
		SharedID string
	}
	ExceptionDetails struct{ Text string }
}

func (tab *firefoxTab) script(expression string) value {
	tab.page.t.Helper()
	var v value
	tab.command("script.evaluate", object{"expression": expression, "target": object{"context": tab.context}, "awaitPromise": true}, &v)
	if v.Type != "success" {
		tab.page.t.Fatalf("%s: %s", expression, v.ExceptionDetails.Text)
	}
	return v
}

func (tab *firefoxTab) evaluate(expression string) string {
	tab.page.t.Helper()
	var text string
	if err := json.Unmarshal(tab.script(expression).Result.Value, &text); err != nil {
		tab.page.t.Fatalf("%s: %v", expression, err)
	}
	return text
}

func (tab *firefoxTab) before(script string) {
	tab.page.t.Helper()
	tab.command("script.addPreloadScript", object{"functionDeclaration": "() => {" + script + "}", "contexts": []string{tab.context}}, nil)
}

func (tab *firefoxTab) visit(url string) {
	tab.page.t.Helper()
	tab.command("browsingContext.navigate", object{"context": tab.context, "url": url, "wait": "complete"}, nil)
}

func (tab *firefoxTab) click(id string) {
	tab.page.t.Helper()
	element := tab.script(fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.scrollIntoView({ block: "center" }); return e; })()`, id)).Result
	tab.command("input.performActions", object{"context": tab.context, "actions": []object{{
		"type": "pointer", "id": "mouse", "actions": []object{
			{"type": "pointerMove", "x": 0, "y": 0, "origin": object{"type": "element", "element": object{"sharedId": element.SharedID}}},
			{"type": "pointerDown", "button": 0},
			{"type": "pointerUp", "button": 0},
		},
	}}}, nil)
}

func (tab *firefoxTab) typeText(text string) {
	tab.page.t.Helper()
	var keys []object
	for _, r := range text {
		key := string(r)
		if r == '\r' {
			key = "\ue007" // as WebDriver calls the key
		}
		keys = append(keys, object{"type": "keyDown", "value": key}, object{"type": "keyUp", "value": key})
	}
	tab.command("input.performActions", object{"context": tab.context, "actions": []object{{"type": "key", "id": "keyboard", "actions": keys}}}, nil)
}

func (tab *firefoxTab) screenshot() []byte {
	tab.page.t.Helper()
	var picture struct{ Data []byte }
	tab.command("browsingContext.captureScreenshot", object{"context": tab.context, "origin": "document"}, &picture)
	return picture.Data
}

func (tab *firefoxTab) close() {
	d := tab.driver
	d.mu.Lock()
	delete(d.pages, tab.context)
	d.mu.Unlock()
	if _, err := d.command("browser.removeUserContext", object{"userContext": tab.profile}); err != nil {
		tab.page.t.Error(err) // with its windows
	}
}
