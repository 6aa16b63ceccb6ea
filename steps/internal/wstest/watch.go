package wstest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchPeriod is how often, in real time, the watch looks at a bubble.
	watchPeriod = time.Second

	// stuckLooks is how often it must find the bubble stuck to say so.
	stuckLooks = 2

	// busyTime is how long a bubble may compute without any event, in real time.
	busyTime = 15 * time.Second
)

// watch looks at a bubble from outside, in real time. Time in a bubble stands
// still while a goroutine waits for a mutex: the holder could unlock it at any
// moment, so nothing is decided. If the holder is itself blocked in a write to a
// peer, time stands still for ever. The watch sees that, and says who waits and
// who probably holds the lock; and also if a goroutine runs in circles.
type watch struct {
	story *Story
	alive *atomic.Int64 // changes when something happens in the bubble
	id    atomic.Pointer[string]
	done  chan struct{}
	ended sync.WaitGroup
}

// startWatch starts a watch. The caller must call stop.
func startWatch(story *Story, alive *atomic.Int64) *watch {
	w := &watch{story: story, alive: alive, done: make(chan struct{})}
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
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var stuck, last int64
	moved := time.Now()
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
			last, moved, stuck = now, time.Now(), 0
			continue
		}
		all := bubbleGoroutines(*bubble)
		switch saw := lockedUp(all); {
		case saw == "":
			stuck = 0
		default:
			if stuck++; stuck >= stuckLooks {
				w.give(saw)
			}
		}
		if time.Since(moved) > busyTime {
			w.give(busy(all))
		}
	}
}

// give ends the process with a report: a bubble that is stuck cannot be left.
func (w *watch) give(saw string) {
	report := w.story.Tell(saw)
	if !sendReport(report) {
		fmt.Fprintln(os.Stderr, report)
	}
	os.Exit(1)
}

func isRunning(g goroutine) bool {
	return g.state == "running" || g.state == "runnable" || g.state == "syscall"
}

func isLocking(g goroutine) bool {
	return g.state == "sync.Mutex.Lock" || strings.HasPrefix(g.state, "sync.RWMutex.")
}

// lockedUp says who waits for a lock and who probably holds it, if no goroutine
// of the bubble can go on.
func lockedUp(all []goroutine) string {
	if slices.ContainsFunc(all, isRunning) || !slices.ContainsFunc(all, isLocking) {
		return ""
	}
	var waiting, blocked []string
	for _, g := range all {
		where, ok := g.where()
		switch {
		case !ok:
		case isLocking(g):
			waiting = append(waiting, where.String())
		case g.in("net.(*pipe).write"), g.state == "chan send", g.state == "sync.WaitGroup.Wait":
			blocked = append(blocked, fmt.Sprintf("%s, %s", where, g.doing()))
		}
	}
	says := "nothing goes on: goroutines wait for a lock that is never given back.\n"
	says += "Waiting for it: " + list(waiting)
	if len(blocked) == 0 {
		return says + "\nNobody else is blocked: does one goroutine lock it twice, or return without unlocking?"
	}
	return says + "\nProbably holding it: " + list(blocked)
}

// busy says which goroutine computes without end.
func busy(all []goroutine) string {
	var running []string
	for _, g := range all {
		if where, ok := g.where(); ok && isRunning(g) {
			running = append(running, where.String())
		}
	}
	return fmt.Sprintf("for %v of real time nothing has happened. Running in circles: %s", busyTime, list(running))
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
