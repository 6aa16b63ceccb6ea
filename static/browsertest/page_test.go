package browsertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/gorilla/websocket"
)

// The steps from which on the server counts who is there, sends a message to
// everyone, has limits, and numbers what it says.
const (
	onlineFrom = 3
	chatFrom   = 4
	limitsFrom = 8
	resumeFrom = 10
)

func TestChatBetweenTwoPages(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		for step := 1; step < len(programs); step++ {
			t.Run(programs[step], func(t *testing.T) {
				server := serve(t, step)
				a, b := newPage(t).open(server.url), newPage(t).open(server.url)

				a.write("from a")
				a.waitMessage("own", "from a")
				if step >= chatFrom {
					b.waitMessage("received", "from a")
				}
				b.write("from b")
				b.waitMessage("own", "from b")
				if step >= chatFrom {
					a.waitMessage("received", "from b")
				}
				want := 1
				if step >= chatFrom {
					want = 2
				}
				if others := b.messages("received"); len(others) != want-1 {
					t.Errorf("b has received %q from others, want %d messages", others, want-1)
				}
				if step >= onlineFrom {
					b.waitText("online", "2")
				} else {
					b.waitText("online", "from step 3 on")
				}
				b.waitText("sent", "1 message, 6 bytes")
				b.waitText("received", fmt.Sprintf(" %d bytes", 6*want))
				b.waitText("roundtrip", " ms")
				if got := b.text("program"); got != "solutions/"+programs[step] {
					t.Errorf("the page says that this is the program %q", got)
				}
			})
		}
	})
}

// What somebody else writes is text, whatever it says.
func TestHostileTextIsText(t *testing.T) {
	server := serve(t, 4)
	p := open(t, server.url)
	p.write("before")
	p.waitMessage("own", "before")

	// The texts come from a connection beside the page's own, as another peer's do.
	texts := []string{
		`<img src="https://evil.example/x.png" onerror="alert(1)">`,
		`<script>document.title = "hacked"</script>`,
		"\u202e\u2067right to left\u200f",
		"nul \x00, bell \a, line\nline, tab\t.",
		"👩‍👩‍👧‍👦 🇩🇪 é é",
		strings.Repeat("😀", 8<<10),                    // 32 KiB
		strings.Repeat("w", 32<<10),                   // without a place to break the line
		strings.Repeat("\u0301", 300),                 // marks that pile up
		"x" + strings.Repeat("😀", 1000),               // cut in the middle of a character
		"http://127.0.0.1:1/ javascript:alert(1)",     // no link
		"{{7*7}} ${7*7} %s %n &lt;b&gt; &amp;amp; \\", // nothing that is expanded
	}
	list, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	eval[bool](p, fmt.Sprintf(`new Promise((done) => {
		const other = new WebSocket(%q);
		other.onopen = () => { for (const text of %s) other.send(text); done(true); };
	})`, server.webSocket(), list))

	p.waitFor(fmt.Sprintf(`document.querySelectorAll("#log .received").length === %d`, len(texts)))
	for i, got := range p.messages("received") {
		shown, all := got, ""
		if cut := strings.LastIndex(got, "… ["); cut >= 0 {
			shown, all = got[:cut], got[cut:]
		}
		if !strings.HasPrefix(texts[i], shown) || shown == "" || (all == "" && shown != texts[i]) {
			t.Errorf("message %d is shown as %q, want (the beginning of) %.60q", i, got, texts[i])
		}
	}
	if n := eval[int](p, `document.querySelectorAll("#log .text *, #log img, #log script, #log a").length`); n != 0 {
		t.Errorf("messages have become %d elements, want none", n)
	}
	if title := eval[string](p, `document.title`); title != "WebSocket workshop" {
		t.Errorf("the title is %q: a message has run as a script", title)
	}
	if wide := eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
		t.Errorf("a message makes the page %d pixels too wide", wide)
	}
	if over := eval[int](p, `[...document.querySelectorAll("#log .entry")].filter((e) => {
		const text = e.querySelector(".text");
		return text.scrollWidth > text.clientWidth + 1;
	}).length`); over > 0 {
		t.Errorf("%d messages are wider than their place", over)
	}
	p.write("after")
	p.waitMessage("own", "after")
}

// From step 10 on a page that was away gets what was said meanwhile, once, and says how
// much it was. After a restart it says that there is a gap.
func TestBackWhereItWas(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		for _, step := range []int{resumeFrom - 1, resumeFrom} {
			t.Run(programs[step], func(t *testing.T) {
				server := serve(t, step)
				a, b := newPage(t, serverGone).open(server.url), newPage(t, serverGone).open(server.url)
				b.write("before")
				a.waitMessage("received", "before")
				a.click("cut")
				b.waitText("online", "1")
				for _, text := range []string{"one", "two", "three"} {
					b.write(text)
					b.waitMessage("own", text)
				}
				a.waitText("state", "open") // after ten seconds
				b.write("after")
				a.waitMessage("received", "after")

				got, want := strings.Join(a.messages("received"), ", "), "before, after"
				if step >= resumeFrom {
					want = "before, one, two, three, after"
					a.waitText("timeline", " s, 3 messages caught up")
				}
				if got != want {
					t.Errorf("the page that was away has got %q, want %q", got, want)
				}
				if step < resumeFrom {
					return
				}
				server.terminate()
				server.restart(step)
				for _, p := range []*page{a, b} {
					p.waitText("timeline", "nobody knows how many messages are gone")
				}
				a.write("again")
				b.waitMessage("received", "again")
			})
		}
	})
}

// A server that ends says goodbye from step 6 on. The page goes on telling so while
// its attempts to come back fail. In every step it comes back when the server does,
// and sends what was written in between.
func TestRestart(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		for _, step := range []int{5, 6, 8} {
			t.Run(programs[step], func(t *testing.T) {
				server := serve(t, step)
				p := newPage(t, serverGone).open(server.url)
				code := server.terminate()
				title, words := "1006, no close frame", "The connection broke"
				if step >= 6 {
					title, words = "1001, going away", "The server is shutting down"
					if code != 0 {
						t.Errorf("after SIGTERM the server has ended with %d, want 0", code)
					}
				}
				p.waitText("timeline", "closed: "+title)
				p.waitFor(fmt.Sprintf(`[...document.querySelectorAll("#log .note .text")].some((e) => e.textContent.includes("connection closed: %s. %s"))`, title, words))
				p.waitFor(`Number(document.getElementById("failed-count").textContent) > 1`)
				p.waitText("failed-name", "no answer")
				p.waitText("failed-words", "The server is not running")
				if got := p.text("close-name"); got != title {
					t.Errorf("after attempts that failed, the last close is %q, want %q", got, title)
				}
				p.write("written meanwhile")
				p.waitMessage("waiting", "written meanwhile")

				server.restart(step)
				p.waitText("state", "open")
				p.waitMessage("sent", "written meanwhile")
				p.waitMessage("own", "written meanwhile")
				if left := p.messages("waiting"); len(left) > 0 {
					t.Errorf("still waiting: %q", left)
				}
				if got := p.text("close-name"); got != title {
					t.Errorf("when the page is back, the last close is %q, want %q", got, title)
				}
				p.waitFor(`document.getElementById("failed").hidden`)
			})
		}
	})
}

func TestMessageOverTheLimit(t *testing.T) {
	t.Run(programs[1], func(t *testing.T) {
		p := open(t, serve(t, 1).url)
		p.click("send-big")
		p.waitText("received", "40,960 bytes")
	})
	t.Run(programs[8], func(t *testing.T) {
		p := open(t, serve(t, 8).url)
		p.click("send-big")
		p.waitText("timeline", "closing") // for two seconds, until TCP is closed
		p.waitText("close-name", "1009, message too big")
		p.waitText("close-words", "longer than the server reads")
		p.waitText("state", "open") // again
	})
}

// pageServer serves the page as the program of a step, or of none.
func pageServer(program string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("..")))
	mux.HandleFunc("/program", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, program) })
	mux.HandleFunc("/online", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"online":1}`) })
	return mux
}

// A 1006 after a burst says first what it most often means from step 4 on.
func TestTooSlow(t *testing.T) {
	for program, want := range map[string]string{
		"solutions/03-hub":       "The connection broke",
		"solutions/04-broadcast": "After so many messages, most likely: cut off as too slow",
	} {
		t.Run(program, func(t *testing.T) {
			mux := pageServer(program)
			mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
				conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close() // without a close frame
				for range 200 {
					conn.WriteMessage(websocket.TextMessage, []byte("one of many"))
				}
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			p := newPage(t)
			p.visit(server.URL)
			p.waitText("close-name", "1006, no close frame")
			if got := p.text("close-words"); !strings.HasPrefix(got, want) {
				t.Errorf("the page says %q, want first %q", got, want)
			}
		})
	}
}

// What the browser cannot send yet is shown, until the server reads again.
func TestBufferedAmount(t *testing.T) {
	read := make(chan struct{})
	mux := pageServer("")
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		<-read
		io.Copy(io.Discard, conn.NetConn())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p := open(t, server.URL)
	p.waitFor(`document.getElementById("buffered").textContent === "0 bytes"`)
	eval[bool](p, `(() => { for (let i = 0; i < 500; i++) document.getElementById("send-big").click(); return true; })()`)
	p.waitText("sent", "500 messages, 20,480,000 bytes")
	p.waitFor(`/^\d+,\d{3},\d{3} bytes$/.test(document.getElementById("buffered").textContent)`)
	close(read)
	p.waitFor(`document.getElementById("buffered").textContent === "0 bytes"`)
	p.waitText("state", "open")
}

// From step 4 on, a peer that stops reading is cut off. The others lose nothing,
// and see nothing of it but the number of those online.
func TestStalledPeerIsCutOff(t *testing.T) {
	server := serve(t, 4)
	a, b := open(t, server.url), open(t, server.url)
	since := b.text("since")

	want := "go run ./steps peer -stall -url " + server.webSocket()
	if got := eval[string](a, `document.querySelector("#stall-command pre").textContent`); got != want {
		t.Errorf("the page's line is %q, want %q", got, want)
	}
	run(t, programs[0], strings.Fields(want)[3:]...).waitFor(regexp.MustCompile("reading nothing"))
	a.waitText("online", "3")

	a.click("send-load")
	a.waitText("load-result", "All 400 came back")
	server.waitFor(regexp.MustCompile("send queue is full"))
	a.waitText("online", "2")
	b.waitText("received", "400 messages")
	b.waitText("online", "2")
	if got := b.text("since"); got != since || len(b.messages("note")) > 1 {
		t.Errorf("b is connected since %s, before since %s: it has noticed something", got, since)
	}
	if n := strings.Count(server.said(), "msg=disconnected"); n != 1 {
		t.Errorf("%d peers were cut off, want 1, the one that reads nothing", n)
	}
}

// Silence ends a connection up to step 4. From step 5 on the browser answers the
// pings, and a peer that does not is cut off. So that it takes no minute, the
// servers are built with a pongWait of 3 s, and step 5 with a pingPeriod of 1 s.
func TestSilence(t *testing.T) {
	t.Run(programs[4], func(t *testing.T) {
		server := serveChanged(t, 4, "client.go", "pongWait = 60 * time.Second", "pongWait = 3 * time.Second")
		p := open(t, server.url)
		p.waitFor(`[...document.querySelectorAll("#log .note .text")].some((e) => /^connection closed: 1006.* a deadline passed/.test(e.textContent))`)
		server.waitFor(regexp.MustCompile(`msg=disconnected .* code=1006 reason="read: .*i/o timeout"`))
		p.waitFor(`[...document.querySelectorAll("#log .note .text")].filter((e) => e.textContent === "connection open").length > 1`)
	})
	t.Run(programs[5], func(t *testing.T) {
		server := serveChanged(t, 5, "client.go",
			"pongWait = 60 * time.Second", "pongWait = 3 * time.Second",
			"pingPeriod = 54 * time.Second", "pingPeriod = time.Second")
		p := open(t, server.url)
		want := "go run ./steps peer -vanish -url " + server.webSocket()
		if got := eval[string](p, `document.querySelector("#vanish-command pre").textContent`); got != want {
			t.Errorf("the page's line is %q, want %q", got, want)
		}
		run(t, programs[0], strings.Fields(want)[3:]...).waitFor(regexp.MustCompile("a ping, which gets no pong\n(.*\n)*.*the server cut the connection"))
		server.waitFor(regexp.MustCompile(`msg=disconnected .* code=1006 reason="read: .*i/o timeout"`))
		p.waitText("quiet", "none for 7 s") // more than twice pongWait
		if closes := strings.Count(server.said(), "msg=disconnected"); closes != 1 || p.text("state") != "open" || len(p.messages("note")) != 1 {
			t.Errorf("%d connections have ended, want 1, that of the peer that vanished; the page says %q", closes, p.messages("note"))
		}
	})
}

// A panic in the handler of messages ends the server of step 6 for everyone.
func TestPanicBeforeStep7(t *testing.T) {
	server := serveChanged(t, 6, "server.go", "\ts.hub.Broadcast(m)\n", `
		if string(m.Data) == "boom" {
			panic("boom")
		}
		s.hub.Broadcast(m)
	`)
	a, b := open(t, server.url, serverGone), open(t, server.url, serverGone)
	a.click("send-boom")
	for _, p := range []*page{a, b} {
		p.waitText("timeline", "closed: 1006, no close frame")
		p.waitText("failed-words", "The server is not running")
	}
	server.waitFor(regexp.MustCompile(`panic: boom`))
}

// In step 7 it costs only the connection whose message it was. The bug is the one
// that the lesson plants.
func TestPanic(t *testing.T) {
	lesson, err := os.ReadFile(filepath.Join("..", "..", "steps", "07-recover", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	bug := regexp.MustCompile("(?s)```go\n(\t// WRONG ON PURPOSE, for a trial.*?)```").FindSubmatch(lesson)
	if bug == nil {
		t.Fatal("the lesson of step 7 plants no bug for a trial")
	}
	server := serveChanged(t, 7, "main.go", "\tserver := NewServer(cfg)\n", string(bug[1])+"\tserver := NewServer(cfg)\n")
	a, b := open(t, server.url), open(t, server.url)
	since := b.text("since")
	a.click("send-boom")
	a.waitText("close-name", "1011, internal error")
	a.waitText("close-words", "Its log says which one")
	server.waitFor(regexp.MustCompile(`level=ERROR msg=panic .*where="read pump" value=boom`))
	server.waitFor(regexp.MustCompile(`msg=disconnected .* code=1011`))
	a.waitText("state", "open") // again
	b.write("still here")
	b.waitMessage("own", "still here")
	if got := b.text("since"); got != since || len(b.messages("note")) > 1 {
		t.Errorf("b is connected since %s, before since %s: it has noticed something", got, since)
	}
}

// Step 8 slows a flood to its rate, and the steps before do not. Nothing of it is
// lost, and nobody else waits.
func TestFlood(t *testing.T) {
	for _, step := range []int{7, 8} {
		t.Run(programs[step], func(t *testing.T) {
			server := serve(t, step)
			a, b := open(t, server.url), open(t, server.url)
			eval[bool](a, `(document.getElementById("flood-rate").value = "60", true)`)
			a.click("toggle-flood")
			a.waitFor(`/^\d{3}/.test(document.getElementById("flood-result").textContent)`) // 100 or more are sent
			b.write("meanwhile")
			a.click("toggle-flood")
			b.waitMessage("own", "meanwhile")
			a.waitText("flood-result", "came back, the last after")
			a.waitText("roundtrip", " ms")

			result := a.text("flood-result")
			var sent int
			var seconds float64
			if _, err := fmt.Sscanf(result, "All %d came back, the last after %f s.", &sent, &seconds); err != nil {
				t.Fatalf("%q: %v", result, err)
			}
			t.Log(result)
			// Two seconds' worth at once, and the rest at 20 a second.
			least := float64(sent-40)/20 - 0.1
			if slowed := seconds >= least; sent < 100 || slowed != (step >= limitsFrom) {
				t.Errorf("%d messages came back within %.1f s; at 20 a second, after 40 at once, they take %.1f s", sent, seconds, least)
			}
		})
	}
}

// Up to step 7 a hundred peers may come from one address, as the page says.
func TestAHundredPeers(t *testing.T) {
	server := serve(t, 7)
	p := open(t, server.url)
	p.click("add-100")
	p.waitText("peers-result", "100 open")
	p.waitText("online", "101")
	p.waitFor(`document.querySelector("#peers .expect").textContent.includes("Up to step 7 an address may hold as many as it likes")`)
	p.write("to everyone")
	p.waitText("peers-result", "100 open; 100 messages received")
	p.click("close-peers")
	p.waitText("online", "1")
}

// In step 8 one address may hold 20 connections. The page of the 21st cannot know
// why it is refused, and shows the line that can.
func TestConnection21IsRefused(t *testing.T) {
	server := serve(t, 8)
	p := open(t, server.url, wsFailed)
	p.click("add-100")
	p.waitText("peers-result", "19 open, 81 refused")
	p.waitText("online", "20")

	late := newPage(t, wsFailed)
	late.visit(server.url)
	late.waitText("failed-name", "1006, no close frame")
	late.waitText("failed-words", "refused the handshake")
	late.waitFor(`document.getElementById("curl").checkVisibility()`)
	if status := handshake(t, late, "curl"); status != http.StatusTooManyRequests {
		t.Errorf("the handshake that the page's curl line describes gets %d, want 429", status)
	}
	p.click("close-peers")
	late.waitText("state", "open") // by itself
}

// A page of another origin is refused, unless the server runs with -dev.
func TestForeignOrigin(t *testing.T) {
	for _, step := range []int{1, 8} {
		for _, dev := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s dev=%v", programs[step], dev), func(t *testing.T) {
				server := serve(t, step, fmt.Sprintf("-dev=%v", dev))
				p := open(t, server.url, wsFailed)
				p.click("try-foreign")
				if dev {
					p.waitText("foreign-result", "Accepted")
					return
				}
				p.waitText("foreign-result", "1006: refused, as it should be")
				if status := handshake(t, p, "foreign-curl"); status != http.StatusForbidden {
					t.Errorf("the handshake that the page's curl line describes gets %d, want 403", status)
				}
			})
		}
	}
}

// A page that goes says so, and connects again when the back button brings it back.
func TestPageGoesAndComesBack(t *testing.T) {
	server := serve(t, 6)
	p := open(t, server.url)
	p.click("add-10")
	p.waitText("peers-result", "10 open")
	eval[bool](p, `(window.mark = true)`)
	p.visit("about:blank")
	server.waitFor(regexp.MustCompile(`code=1000 reason="page hidden"`))
	server.waitFor(regexp.MustCompile(`(?s)(code=1000 reason="peer closed by the page".*){10}`))

	// Not chromedp.NavigateBack: it waits for the page to load, and a page from the
	// back/forward cache does not load.
	history := command(p, cdpage.GetNavigationHistory, cdp.Empty{})
	command(p, cdpage.NavigateToHistoryEntry, cdpage.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID})
	p.waitFor(`document.getElementById("state")`)
	p.waitText("state", "open")
	t.Logf("from the back/forward cache: %v", eval[bool](p, `Boolean(window.mark)`))
	p.waitText("online", "1")
	p.write("back again")
	p.waitMessage("own", "back again")
}

// handshake does what a curl line on the page says and returns the status.
func handshake(t *testing.T, p *page, id string) int {
	t.Helper()
	line := eval[string](p, fmt.Sprintf(`document.querySelector("#%s pre").textContent`, id))
	request, err := http.NewRequest("GET", line[strings.LastIndex(line, " ")+1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(line, "'") {
		t.Errorf("%s has a ', which is no quote in Windows' cmd", line)
	}
	for _, m := range regexp.MustCompile(`-H "([^:]+): ([^"]*)"`).FindAllStringSubmatch(line, -1) {
		request.Header.Set(m[1], m[2])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
