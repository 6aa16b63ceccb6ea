package wstest

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// sample is what a goroutine dump looks like, of each kind one.
const sample = `panic: send on closed channel

goroutine 37 gp=0xc000102380 m=3 mp=0xc00008e008 [running]:
panic({0x6f3a40?, 0x7c1d30?})
	/usr/local/go/src/runtime/panic.go:787 +0x132
example.com/wsworkshop/steps/04-broadcast.(*Client).Send(0xc0000b2000, {0x1, 0x2})
	/home/ann/ws workshop/steps/04-broadcast/client.go:161 +0x8f
created by example.com/wsworkshop/steps/04-broadcast.(*Server).ServeHTTP in goroutine 12
	/home/ann/ws workshop/steps/04-broadcast/server.go:80 +0x1c5

goroutine 41 [sync.Mutex.Lock, 2 minutes, synctest bubble 1]:
internal/sync.runtime_SemacquireMutex(0x0?, 0x0?, 0x0?)
	/usr/local/go/src/runtime/sema.go:95 +0x25
main.(*Hub).Broadcast.func1(...)
	C:/Users/ann/steps/04-broadcast/hub.go:33
created by sync.(*WaitGroup).Go in goroutine 40
	/usr/local/go/src/sync/waitgroup.go:239 +0x85

goroutine 42 [chan receive (durable), locked to thread, synctest bubble 2]:
net/http.(*conn).serve(0xc000)
	/usr/local/go/src/net/http/server.go:2102 +0x625
`

func TestDumpIsUnderstood(t *testing.T) {
	all := parseDump(sample)
	if len(all) != 3 {
		t.Fatalf("got %d goroutines, want 3: %+v", len(all), all)
	}
	for i, want := range []struct {
		state, bubble, where string
		durable, own         bool
	}{
		{"running", "", "(*Client).Send (client.go:161)", false, true},
		{"sync.Mutex.Lock", "synctest bubble 1", "(*Hub).Broadcast.func1 (hub.go:33)", false, true},
		{"chan receive", "synctest bubble 2", "", true, false},
	} {
		g := all[i]
		where, own := g.where()
		if g.state != want.state || g.bubble != want.bubble || g.durable != want.durable || own != want.own {
			t.Errorf("got %q %q durable=%v own=%v; want %+v", g.state, g.bubble, g.durable, own, want)
		}
		if own && where.String() != want.where {
			t.Errorf("got %s, want %s", where, want.where)
		}
	}
	if got, want := all[0].leftBehind(), "(*Client).Send (client.go:161), running; started by (*Server).ServeHTTP (server.go:80)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(parseDump("no dump at all")) != 0 {
		t.Error("found a goroutine in no dump")
	}
}

func TestOwnFramesAreThoseOfTheServer(t *testing.T) {
	for function, own := range map[string]bool{
		module + "steps/02-pumps.(*Client).readPump": true,
		module + "solutions/08-limits.newHTTPServer": true,
		"main.run": true,
		module + "steps/internal/wstest.(*Peer).Send":     false,
		module + "steps/contract.(*scene).talk":           false,
		"github.com/gorilla/websocket.(*Conn).NextReader": false,
		"net/http.(*conn).serve":                          false,
	} {
		if got := (frame{function: function, file: "server.go"}).own(); got != own {
			t.Errorf("own(%s) = %v, want %v", function, got, own)
		}
	}
	if (frame{function: module + "steps/02-pumps.start", file: "02_test.go"}).own() {
		t.Error("the test file of a step is not part of the server")
	}
}

func TestGoroutineSaysWhatItIsDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := newListener(new(atomic.Int64))
		accept := func() net.Conn {
			go web.dial(nil)
			conn, _ := web.Accept()
			return conn
		}
		reads, writes := accept(), accept()
		release, other, never := make(chan bool), make(chan bool), make(chan bool)
		var mu, held sync.Mutex
		var group, all sync.WaitGroup
		cond := sync.NewCond(&mu)
		ready := false
		group.Add(1)
		doings := map[string]func(){
			"waiting to receive from a channel": func() { <-release },
			"waiting to send on a channel":      func() { other <- true },
			"waiting in a select": func() {
				select {
				case <-release:
				case <-never:
				}
			},
			"waiting for a WaitGroup": group.Wait,
			"waiting for a sync.Cond": func() {
				mu.Lock()
				defer mu.Unlock()
				for !ready {
					cond.Wait()
				}
			},
			"blocked in a read from a peer": func() { reads.Read(make([]byte, 1)) },
			"blocked in a write to a peer":  func() { writes.Write([]byte("x")) },
		}
		for _, do := range doings {
			all.Go(do)
		}
		synctest.Wait()

		held.Lock()
		all.Go(func() { held.Lock() })
		bubble := goroutines(false)[0].bubble
		var seen []string
		for !slices.Contains(seen, "waiting for a lock") { // a wait for a lock is not one that Wait sees
			runtime.Gosched()
			seen = nil
			for _, g := range ofBubble(bubble, goroutines(true)) {
				if g.durable == (g.state == "sync.Mutex.Lock") && g.state != "running" && g.state != "runnable" {
					t.Errorf("durable is %v in the state %q", g.durable, g.state)
				}
				seen = append(seen, g.doing())
			}
		}
		for want := range doings {
			if !slices.Contains(seen, want) {
				t.Errorf("no goroutine is %s: got %q", want, seen)
			}
		}

		held.Unlock()
		close(release)
		<-other
		group.Done()
		mu.Lock()
		ready = true
		mu.Unlock()
		cond.Broadcast()
		reads.Close()
		writes.Close()
		all.Wait()
	})
}

func TestLiveDumpHasFunctionAndLine(t *testing.T) {
	g := goroutines(false)[0]
	_, file, line, _ := runtime.Caller(0)
	want := fmt.Sprintf("TestLiveDumpHasFunctionAndLine (%s:%d)", filepath.Base(file), line-1)
	for _, f := range g.frames {
		if f.String() == want {
			return
		}
	}
	t.Errorf("no frame is %s: %v", want, g.frames)
}

func TestNamesAreThoseOfTheSource(t *testing.T) {
	for function, want := range map[string]string{
		"main.run": "run",
		module + "steps/02-pumps.(*Client).readPump":      "(*Client).readPump",
		module + "steps/02-pumps.(*Server).serve.func1.2": "(*Server).serve.func1.2",
	} {
		if got := (frame{function: function}).name(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := (goroutine{state: "GC assist wait"}).doing(); !strings.Contains(got, "GC assist wait") {
		t.Errorf("got %q", got)
	}
}
