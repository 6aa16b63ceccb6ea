package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
// clock.online. clock.attempts counts the WebSockets.
const clock = `(() => {
	let now = 1e12, last = 0;
	const timers = new Map();
	const set = (f, delay, every) => { timers.set(++last, { at: now + (delay ?? 0), f, every }); return last; };
	window.setTimeout = (f, delay) => set(f, delay, 0);
	window.setInterval = (f, delay) => set(f, delay, delay);
	window.clearTimeout = window.clearInterval = (id) => timers.delete(id);
	Date.now = () => now;
	Math.random = () => 0.5;
	Object.defineProperty(navigator, "onLine", { get: () => clock.online });
	const Socket = WebSocket;
	window.WebSocket = class extends Socket {
		constructor(...args) { super(...args); clock.attempts++; }
	};
	window.clock = {
		online: true,
		attempts: 0,
		advance(ms) {
			for (const end = now + ms; ; ) {
				const [id, next] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
				if (!next || next.at > end) { now = end; return true; }
				now = next.at;
				if (next.every) next.at += next.every; else timers.delete(id);
				next.f();
			}
		},
		setOnline(online) {
			clock.online = online;
			return dispatchEvent(new Event(online ? "online" : "offline"));
		},
	};
})()`

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
// is the wait.
func TestBackoff(t *testing.T) {
	server := serve(t, 6)
	p := newPage(t, wsFailed, serverGone)
	p.before(clock)
	p.visit(server.url)
	p.waitText("state", "open")
	server.kill()
	for _, ms := range []int{250, 500, 1000, 2000, 4000, 8000, 15000} {
		waitOut(p, ms)
	}

	server = server.restart(6)
	waitOut(p, 15000)
	p.waitText("state", "open")
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
}

// What the page writes while there is no connection waits, up to a bound, and
// there are never two sockets.
func TestUnsentMessagesAreBounded(t *testing.T) {
	server := serve(t, 6)
	p := newPage(t, wsFailed, serverGone)
	p.before(clock)
	p.visit(server.url)
	p.waitText("state", "open")
	server.kill()
	p.waitText("next", "Trying again in")

	p.click("send-many")
	p.waitFor(`document.querySelectorAll("#log .waiting").length === 20`)
	p.waitText("refusal", "20 messages are waiting already")

	server.restart(6)
	eval[bool](p, `(document.getElementById("try-now").click(), document.getElementById("try-now").click(), true)`)
	p.waitText("state", "open")
	p.waitFor(`document.querySelectorAll("#log .received").length === 20`)
	if got := attempts(p); got != 2 {
		t.Errorf("%d WebSockets for two connections", got)
	}
	if got := p.messages("received"); got[0] != "quick 1 of 100" || got[19] != "quick 20 of 100" {
		t.Errorf("received %q", got)
	}
}

// A page that nobody sees does not ask who is online. It asks when it is seen again.
func TestHiddenPageDoesNotPoll(t *testing.T) {
	server := serve(t, onlineFrom)
	p := newPage(t)
	p.before(clock)
	p.before(`(() => {
		const ask = fetch;
		window.asked = 0;
		window.fetch = (...args) => { asked++; return ask(...args); };
		Object.defineProperty(document, "hidden", { get: () => window.away ?? false });
	})()`)
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
