package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// The page's modules that know nothing of a page have tests of their own, in
// testdata/units.js.
func TestUnits(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("..")))
	mux.Handle("/units/", http.StripPrefix("/units", http.FileServer(http.Dir("testdata"))))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	p := newPage(t)
	p.visit(server.URL + "/units/units.html")
	p.waitFor(`window.results`)
	results := eval[[]struct{ Name, Error string }](p, `window.results`)
	if len(results) == 0 {
		t.Fatal("no unit test has run")
	}
	for _, r := range results {
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
}

// clock replaces the page's clock and timers by some that stand still until
// clock.advance, its random numbers by 0.5, and whether it is online by
// clock.setOnline. clock.attempts counts the attempts to connect, clock.sockets the
// WebSockets.
const clock = `
	let now = 1e12, last = 0;
	const timers = new Map();
	const set = (f, delay, every) => { timers.set(++last, { at: now + (delay ?? 0), f, every }); return last; };
	window.setTimeout = (f, delay) => set(f, delay, 0);
	window.setInterval = (f, delay) => set(f, delay, delay);
	window.clearTimeout = window.clearInterval = (id) => timers.delete(id);
	Date.now = () => now;
	Math.random = () => 0.5;
	Object.defineProperty(navigator, "onLine", { get: () => clock.online });
	const Socket = WebSocket, ask = fetch;
	window.WebSocket = class extends Socket {
		constructor(...args) { super(...args); clock.sockets++; }
	};
	window.fetch = (...args) => {
		if (args[0] === "/program") clock.attempts++;
		return ask(...args);
	};
	window.clock = {
		online: true,
		attempts: 0,
		sockets: 0,
		advance(ms) {
			for (const end = now + ms; ; ) {
				const [id, next] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
				if (!next || next.at > end) { now = end; return true; }
				now = next.at;
				if (next.every) next.at += next.every; else timers.delete(id);
				next.f();
			}
		},
		sleep(ms) { // in which no timer runs
			now += ms;
			for (const timer of timers.values()) timer.at += ms;
			return true;
		},
		setOnline(online) {
			clock.online = online;
			return dispatchEvent(new Event(online ? "online" : "offline"));
		},
	};
`

func advance(p *page, ms int) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf("clock.advance(%d)", ms))
}

// waitOut demands that the page tries again after exactly this time.
func waitOut(p *page, ms int) {
	p.t.Helper()
	before := attempts(p)
	p.waitText("next", "Trying again in")
	advance(p, ms-1)
	if got := attempts(p); got != before {
		p.t.Fatalf("%d attempts 1 ms before the wait of %d ms is over", got-before, ms)
	}
	advance(p, 1)
	if got := attempts(p); got != before+1 {
		p.t.Fatalf("%d attempts after the wait of %d ms, want 1", got-before, ms)
	}
}

func attempts(p *page) int {
	p.t.Helper()
	return eval[int](p, "clock.attempts")
}

// The page waits longer from attempt to attempt, and as short as at first only
// after a connection that has lasted 10 s. Half of each ceiling, as clock has it,
// is the wait. While nobody answers, it makes no WebSocket: for each that fails,
// Firefox would let the next wait longer.
func TestBackoff(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		server := serve(t, 6)
		p := newPage(t, serverGone)
		p.before(clock)
		p.open(server.url)
		server.kill()
		for _, ms := range []int{250, 500, 1000, 2000, 4000, 8000, 15000} {
			waitOut(p, ms)
		}

		server = server.restart(6)
		waitOut(p, 15000)
		p.waitText("state", "open")
		if got := eval[int](p, "clock.sockets"); got != 2 {
			t.Errorf("%d WebSockets for two connections", got)
		}
		advance(p, 9999)
		server.kill()
		waitOut(p, 15000) // that was no stable connection

		server = server.restart(6)
		waitOut(p, 15000)
		p.waitText("state", "open")
		advance(p, 10000)
		server.kill()
		waitOut(p, 250) // and that was one

		// Without a network there is nothing to try, until there is one again.
		p.waitText("next", "Trying again in")
		eval[bool](p, "clock.setOnline(false)")
		before := attempts(p)
		advance(p, 3600_000)
		if got := attempts(p); got != before {
			t.Errorf("%d attempts while the computer is offline", got-before)
		}
		p.waitText("next", "offline")
		eval[bool](p, "clock.setOnline(true)")
		if got := attempts(p); got != before+1 {
			t.Errorf("%d attempts when the computer is online again, want 1", got-before)
		}
	})
}

// What the page writes while there is no connection waits, up to a bound, and
// there are never two sockets.
func TestUnsentMessagesAreBounded(t *testing.T) {
	server := serve(t, 6)
	p := newPage(t, serverGone)
	p.before(clock)
	p.open(server.url)
	server.kill()
	p.waitText("next", "Trying again in")

	p.click("send-many")
	p.waitFor(`document.querySelectorAll("#log .waiting").length === 20`)
	p.waitText("refusal", "20 messages are waiting already")

	server.restart(6)
	eval[bool](p, `(document.getElementById("try-now").click(), document.getElementById("try-now").click(), true)`)
	p.waitText("state", "open")
	p.waitFor(`document.querySelectorAll("#log .own").length === 20`)
	if got := eval[int](p, "clock.sockets"); got != 2 {
		t.Errorf("%d WebSockets for two connections", got)
	}
	if got := p.messages("own"); got[0] != "quick 1 of 100" || got[19] != "quick 20 of 100" {
		t.Errorf("received %q", got)
	}
	if got := p.text("refusal"); got != "" {
		t.Errorf("the page is connected, and still says %q", got)
	}
}

// A network that forgets a connection tells neither side. Who has sent something
// notices that nothing comes back, within a minute.
func TestForgottenConnection(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		network := newMiddlebox(t, serve(t, 5))
		p := newPage(t)
		p.before(clock)
		p.before(`Object.defineProperty(document, "hidden", { get: () => true })`) // it asks for nothing meanwhile
		p.open(network.url)
		p.write("there and back")
		p.waitMessage("own", "there and back")
		advance(p, 30_000)
		network.forget("/ws")
		p.write("into the void")
		p.waitMessage("sent", "into the void")
		advance(p, 59_999)
		p.waitText("state", "open")
		advance(p, 1)
		p.waitText("close-name", "given up")
		p.waitText("close-words", "messages were sent, and for a minute nothing has come back")
		p.waitMessage("lost", "into the void")
		if sent := p.messages("sent"); len(sent) != 1 {
			t.Errorf("as sent the list shows %q, want only what has come back", sent)
		}
		waitOut(p, 250)
		p.waitText("state", "open")
		p.write("there again")
		p.waitMessage("own", "there again")
	})
}

// And who has nothing to send notices that no request is answered.
func TestDeadNetwork(t *testing.T) {
	eachBrowser(t, func(t *testing.T, newPage newPageFunc) {
		network := newMiddlebox(t, serve(t, 5))
		p := newPage(t)
		p.before(clock)
		p.open(network.url)
		p.waitText("online", "1")
		network.forget("")
		advance(p, 60_000)
		p.waitText("close-name", "given up") // when the requests have waited long enough
		p.waitText("close-words", "the server has answered no request for a minute")
		network.repair()
		p.waitFor(`clock.advance(1000) && document.getElementById("state").textContent === "open"`)
	})
}

// After a sleep, and when the computer is in a network again, the connection may be
// dead. A new one costs little.
func TestSleepAndAnotherNetwork(t *testing.T) {
	server := serve(t, 5)
	p := newPage(t)
	p.before(clock)
	p.open(server.url)
	eval[bool](p, "clock.sleep(100_000)")
	advance(p, 1000)
	if got := p.text("state"); got != "open" || p.text("close-name") != "" {
		t.Errorf("100 s without a timer are not unusual for a hidden page, and it is %s: %s", got, p.text("close-words"))
	}
	eval[bool](p, "clock.sleep(150_000)")
	advance(p, 250)
	p.waitText("close-words", "this computer slept")
	waitOut(p, 250)
	p.waitText("state", "open")

	eval[bool](p, "clock.setOnline(false) && clock.setOnline(true)")
	p.waitText("close-words", "the network was away")
	p.waitText("state", "open") // at once
	if got := eval[int](p, "clock.sockets"); got != 3 {
		t.Errorf("%d WebSockets, want 3", got)
	}
}

// client.js works without the page, with three files beside it.
func TestClientAlone(t *testing.T) {
	server := serve(t, 4, "-dev")
	mux := http.NewServeMux()
	for _, name := range []string{"client.js", "backoff.js", "position.js", "queue.js"} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join("..", name)) })
	}
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><script type="module">
			import { Client } from "./client.js";
			window.messages = [];
			const client = new Client(%q, { onChange() {}, onMessage(data) { messages.push(data); } });
			client.send("first, before it is open");
			client.connect();
		</script>`, server.webSocket())
	})
	other := httptest.NewServer(mux)
	t.Cleanup(other.Close)
	p := newPage(t)
	p.visit(other.URL)
	p.waitFor(`window.messages?.includes("first, before it is open")`)
}

// A page that nobody sees does not ask who is online. It asks when it is seen again.
func TestHiddenPageDoesNotPoll(t *testing.T) {
	server := serve(t, onlineFrom)
	p := newPage(t)
	p.before(clock)
	p.before(`{
		const ask = fetch;
		window.asked = 0;
		window.fetch = (...args) => { asked++; return ask(...args); };
		Object.defineProperty(document, "hidden", { get: () => window.away ?? false });
	}`)
	p.visit(server.url)
	p.waitFor(`document.getElementById("online").textContent === "1"`)
	for _, hidden := range []bool{false, true} {
		before := eval[int](p, "asked")
		eval[bool](p, fmt.Sprintf("window.away = %v, true", hidden))
		advance(p, 20_000)
		want := 4 // one each 5 s
		if hidden {
			want = 0
		}
		if got := eval[int](p, "asked") - before; got != want {
			t.Errorf("hidden=%v: asked %d times in 20 s, want %d", hidden, got, want)
		}
	}
	before := eval[int](p, "asked")
	eval[bool](p, `(window.away = false, document.dispatchEvent(new Event("visibilitychange")))`)
	if got := eval[int](p, "asked") - before; got != 1 {
		t.Errorf("asked %d times when it was seen again, want 1", got)
	}
}
