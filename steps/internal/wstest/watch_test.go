package wstest

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest/testdata/wrong"
)

// wantWatch is wantReport for what the watch finds, with one that looks more often
// than usual: but not so often that it finds a machine that is busy.
func wantWatch(t *testing.T, server *http.Server, scenario func(*Bench), seen string) {
	t.Helper()
	t.Parallel()
	wantReportOf(t, 100*time.Millisecond, server, scenario, seen)
}

func TestMutexHeldAcrossAWriteIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.LocksWrites()), func(b *Bench) {
		ann, bob := b.Connect("ann"), b.Connect("bob")
		ann.StopReading()
		ann.Send("hello")
		b.Settle()
		bob.Send("hello")
		bob.WantText("hello")
	}, "nothing goes on: goroutines wait for a lock, and whoever holds it does not go on either.\n"+
		"Waiting for it: LocksWrites.func1 (wrong.go:N)\n"+
		"Probably holding it: LocksWrites.func1 (wrong.go:N), blocked in a write to a peer")
}

func TestMutexLockedTwiceIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.LocksTwice), connect,
		"nothing goes on: goroutines wait for a lock, and whoever holds it does not go on either.\n"+
			"Waiting for it: LocksTwice (wrong.go:N)\n"+
			"Nobody else is blocked: does one goroutine lock it twice, or return without unlocking?")
}

// Several may hold a read lock, while somebody else is in a write.
func TestLockHeldByWhomAMethodCallsIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.LocksBelow()), func(b *Bench) {
		ann, bob, cat := b.Connect("ann"), b.Connect("bob"), b.Connect("cat")
		b.Settle()
		cat.StopReading()
		cat.Send("echo")
		ann.Send("hello")
		bob.Send("hello")
		b.Settle()
		b.Connect("dan")
		b.Settle()
	}, "nothing goes on: goroutines wait for a lock, and whoever holds it does not go on either.\n"+
		"Waiting for it: (*room).add (wrong.go:N)\n"+
		"Probably holding it: (*room).broadcast (wrong.go:N), waiting in a select in enqueue")
}

func TestMutexHeldInASelectIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.LocksAndSelects), connect,
		"nothing goes on: goroutines wait for a lock, and whoever holds it does not go on either.\n"+
			"Waiting for it: LocksAndSelects.func1 (wrong.go:N)\n"+
			"Either a goroutine locks it twice or returns without unlocking, or it is held by one of: LocksAndSelects (wrong.go:N), waiting in a select")
}

func TestGoroutineThatRunsInCirclesIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.Spins), connect,
		"for 1.5s of real time nothing has happened. Running in circles: Spins (wrong.go:N)")
}

func TestWaitForSomethingOutsideIsReported(t *testing.T) {
	wantWatch(t, wrong.Server(wrong.WaitsOutside), connect,
		"for 1.5s of real time nothing has happened. Waiting for something that is not part of the test: "+
			"WaitsOutside (wrong.go:N), waiting to receive from a channel")
}

// What can go on is not stuck, however long the machine takes to let it.
func TestBubbleThatCanGoOnIsNotStuck(t *testing.T) {
	locking := goroutine{state: "sync.Mutex.Lock"}
	for _, state := range []string{"running", "runnable", "syscall", "IO wait", "GC assist wait", "semacquire", "chan receive"} {
		if saw := lockedUp([]goroutine{locking, {state: state}}); saw != "" {
			t.Errorf("one goroutine is in state %q, but the watch says %s", state, saw)
		}
	}
	for g, may := range map[*goroutine]bool{
		{state: "semacquire"}:                            true,
		{state: "runnable"}:                              true,
		{state: "runnable", bubble: "synctest bubble 1"}: false,
		{state: "chan receive"}:                          false,
		{state: "running", frames: []frame{{function: module + "steps/internal/wstest.(*watch).run"}}}: false,
	} {
		if mayReturn(*g) != may {
			t.Errorf("mayReturn(%+v) = %v, want %v", *g, !may, may)
		}
	}
	if saw := lockedUp([]goroutine{{state: "select", durable: true}}); saw != "" {
		t.Errorf("nobody waits for a lock, but the watch says %s", saw)
	}
	if saw := lockedUp([]goroutine{locking, {state: "select", durable: true}}); saw != "" {
		t.Errorf("only the bench waits for a lock, but the watch says %s", saw)
	}
	locking.frames = []frame{{function: module + "solutions/10-resume.(*Hub).Add"}}
	if saw := lockedUp([]goroutine{locking, {state: "select", durable: true}}); saw == "" {
		t.Error("nobody can go on, but the watch says nothing")
	}
}

func TestWatchEndsWhenItIsStopped(t *testing.T) {
	startWatch(&Story{}, new(atomic.Int64), watchPeriod).stop() // or this does not return
}

func TestListIsShort(t *testing.T) {
	for want, s := range map[string][]string{
		"(no goroutine of the server)": nil,
		"a; b":                         {"b", "a", "b"},
		"a; b; c; and 2 more":          {"e", "d", "c", "b", "a"},
	} {
		if got := list(s); got != want {
			t.Errorf("list(%q) = %s, want %s", s, got, want)
		}
	}
}
