package wstest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchPeriod is how often, in real time, the watch looks at a bubble.
	watchPeriod = time.Second / 2

	// stuckLooks is how often it must find the bubble stuck to say so.
	stuckLooks = 2

	// busyLooks is how often it may find that nothing has happened since the last
	// look. Looks are counted, not seconds: a machine that is busy or asleep makes
	// the time longer, but not the looks more.
	busyLooks = 15
)

// watch looks at a bubble from outside, in real time. Time in a bubble stands
// still while a goroutine waits for a mutex: the holder could unlock it at any
// moment, so nothing is decided. If the holder is itself blocked in a write to a
// peer, time stands still for ever. The watch sees that, and says who waits and
// who probably holds the lock; and also if a goroutine runs in circles.
type watch struct {
	story  *Story
	alive  *atomic.Int64 // changes when something happens in the bubble
	period time.Duration
	id     atomic.Pointer[string]
	done   chan struct{}
	ended  sync.WaitGroup
	look   sync.Mutex // held during a look, which needs memory
}

// startWatch starts a watch. The caller must call stop.
func startWatch(story *Story, alive *atomic.Int64, period time.Duration) *watch {
	w := &watch{story: story, alive: alive, period: period, done: make(chan struct{})}
	w.ended.Go(w.run)
	return w
}

func (w *watch) stop() {
	close(w.done)
	w.ended.Wait()
}

// enter tells the watch which bubble to look at: that of the caller.
func (w *watch) enter() {
	bubble := goroutines(false)[0].bubble
	w.id.Store(&bubble)
}

func (w *watch) run() {
	tick := time.NewTicker(w.period)
	defer tick.Stop()
	var last int64
	var still, stuck int // looks since something happened, and since nothing can
	for {
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
		bubble := w.id.Load()
		if bubble == nil {
			continue
		}
		if now := w.alive.Load(); now != last {
			last, still, stuck = now, 0, 0
			continue
		}
		w.look.Lock()
		everywhere := goroutines(true)
		all := ofBubble(*bubble, everywhere)
		still++
		stuck++
		saw := lockedUp(all)
		if saw == "" || slices.ContainsFunc(everywhere, mayReturn) {
			stuck = 0
		}
		switch {
		case stuck >= stuckLooks:
			w.story.brokenDown(causeLockedUp, true, saw)
		case still >= busyLooks:
			cause, saw := busy(all)
			w.story.brokenDown(cause, false, fmt.Sprintf("for %v of real time nothing has happened. %s", time.Duration(still)*w.period, saw))
		}
		w.look.Unlock()
	}
}

const (
	causeLockedUp = "something that may wait, such as a write, a send or a WaitGroup, happens under the lock; or a method takes it twice, or does not give it back on each way out. A wait that a deadline would end is the same here: while a goroutine waits for a sync.Mutex or a sync.Once, the time of these tests stands still, so that no deadline comes. Do not wait under a lock. Where one goroutine after the other must do something that takes time, let them take a token from a channel with room for one."
	causeCircles  = "a loop that never waits: a break that leaves only the select, a select with an empty default, or a loop that goes on after an error."
	causeOutside  = "a goroutine waits for something that nobody in the test brings, such as a channel of the whole package, a file, or a real network."
)

// mayReturn reports whether g may be of the bubble although it is outside: the
// runtime takes a goroutine out of its bubble while it starts a garbage collection.
func mayReturn(g goroutine) bool {
	return g.bubble == "" && (g.state == "running" || g.state == "runnable" || g.state == "semacquire") && !g.in("wstest.(*watch).run")
}

func isLocking(g goroutine) bool {
	return g.state == "sync.Mutex.Lock" || strings.HasPrefix(g.state, "sync.RWMutex.")
}

// lockedUp says who waits for a lock and who probably holds it, if no goroutine
// of the bubble can go on.
func lockedUp(all []goroutine) string {
	canGoOn := func(g goroutine) bool { return !g.durable && !isLocking(g) }
	if slices.ContainsFunc(all, canGoOn) || !slices.ContainsFunc(all, isLocking) {
		return ""
	}
	var waiting []string
	types := make(map[string]bool) // whose methods wait
	for _, g := range all {
		if where, ok := g.where(); ok && isLocking(g) {
			waiting = append(waiting, where.String())
			types[where.receiver()] = where.receiver() != ""
		}
	}
	if len(waiting) == 0 {
		return "" // a lock of the bench's own, for a moment
	}
	says := "nothing goes on: goroutines wait for a lock, and whoever holds it does not go on either.\n"
	says += "Waiting for it: " + list(waiting)

	// A lock is mostly held by another method of the type whose methods wait for
	// it, and if there are several, by one that does not wait for a peer's message; or
	// else by whoever writes or sends; or by somebody who is blocked at all.
	var methods, within, writing, blocked []string
	for _, g := range all {
		where, ok := g.where()
		if !ok || isLocking(g) {
			continue
		}
		blocked = append(blocked, fmt.Sprintf("%s, %s", where, g.doing()))
		writes := g.in("wstest.(*serverConn).Write") || g.state == "chan send" || g.state == "sync.WaitGroup.Wait"
		if writes {
			writing = append(writing, blocked[len(blocked)-1])
		}
		if i := slices.IndexFunc(g.frames, func(f frame) bool { return f.own() && types[f.receiver()] }); i >= 0 {
			method := blocked[len(blocked)-1]
			nested := where.name() != g.frames[i].name()
			if nested {
				method = fmt.Sprintf("%s, %s in %s", g.frames[i], g.doing(), where.name())
			}
			methods = append(methods, method)
			if writes || nested && g.state == "select" && !g.in("wstest.(*serverConn).Read") {
				within = append(within, method)
			}
		}
	}
	switch {
	case len(methods) == 1:
		return says + "\nProbably holding it: " + list(methods)
	case len(within) > 0:
		return says + "\nProbably holding it: " + list(within)
	case len(writing) > 0:
		return says + "\nProbably holding it: " + list(writing)
	case len(blocked) > 0:
		return says + "\nEither a goroutine locks it twice or returns without unlocking, or it is held by one of: " + list(blocked)
	}
	return says + "\nNobody else is blocked: does one goroutine lock it twice, or return without unlocking?"
}

// busy says which goroutine computes without end, or waits for something outside
// the bubble, and what the usual cause is.
func busy(all []goroutine) (cause, saw string) {
	var running, waiting []string
	for _, g := range all {
		where, ok := g.where()
		switch {
		case !ok:
		case g.moves():
			running = append(running, where.String())
		case !g.durable:
			waiting = append(waiting, fmt.Sprintf("%s, %s", where, g.doing()))
		}
	}
	if len(running) == 0 && len(waiting) > 0 {
		return causeOutside, "Waiting for something that is not part of the test: " + list(waiting)
	}
	return causeCircles, "Running in circles: " + list(running)
}

// list joins the different strings of a list, three at most.
func list(s []string) string {
	if len(s) == 0 {
		return "(no goroutine of the server)"
	}
	slices.Sort(s)
	s = slices.Compact(s)
	if len(s) > 3 {
		s = append(s[:3], fmt.Sprintf("and %d more", len(s)-3))
	}
	return strings.Join(s, "; ")
}
