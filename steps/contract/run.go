package contract

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
	"github.com/google/uuid"
)

// The documented defaults, which the contracts hold a server to.
const (
	handshakeTimeout = 5 * time.Second
	writeWait        = 10 * time.Second
	pongWait         = 60 * time.Second
	pingPeriod       = 54 * time.Second
	closeWait        = 2 * time.Second
	maxMessageSize   = 32 << 10
	sendQueueSize    = 256

	maxPerIP       = 20
	handshakeRate  = 5 // a second
	handshakeBurst = 20
	messageRate    = 20 // a second
	messageBurst   = 40

	// From step 9 broadcasts wait in a log, for all peers together, and only messages to
	// one id in a queue of its own.
	logBytes        = 8 << 20
	directQueueSize = 64
)

// grace is what a server may take beyond a deadline: to send a close frame, and
// to wait closeWait for the answer.
const grace = closeWait + time.Second/2

// Run tests the server that start returns against the contracts of steps 1 to
// step, each promise as a subtest of its own, in the order of the lessons.
//
// Each promise runs in a process of its own, so that a panic, a deadlock or a
// data race in one hides no other. With the environment variable
// WSWORKSHOP_NATIVE=1 all run in the test's own process, for a debugger.
//
// Each scenario runs in a bubble of package [testing/synctest], with a server of its
// own. What serves its connections is started by start or later: a goroutine from
// before the bubble, such as one of a pool that init starts, cannot use its channels.
func Run(t *testing.T, step int, start func(Config) Server) {
	wstest.Become("program", func() { start(Config{Log: wstest.NewLog().Logger()}).Main() })
	wstest.Become("panicking server", func() { servePanics(start) })

	var children *wstest.Children
	if wstest.Isolated() {
		children = wstest.NewChildren(t)
		children.Ahead(t, askedFor(step), wantsAll)
	}
	for n := 1; n <= step; n++ {
		for _, promise := range Promises(n) {
			kept := t.Run(promise.String(), func(t *testing.T) {
				if promise.skip != "" {
					t.Skip(promise.skip)
				}
				about := wstest.About{Promise: promise.String(), Cause: promise.cause, Read: readAbout(n, promise), Panics: n == 7, Lax: promise.lax}
				if n < step { // it is no task of that lesson that is being done
					about.Step = step
					about.Read = fmt.Sprintf("steps/%s/README.md#mistakes-and-their-symptoms", Folders[step-1])
				}
				if children != nil {
					children.Run(t, about)
				} else {
					promise.test(&trial{T: t, about: about, step: step, start: start})
				}
			})
			switch {
			case kept:
			case promise.first && step > 1:
				t.Fatal("All other promises need this one, so they were not tried.")
			case children != nil && children.Stuck() == mostStuck:
				t.Fatalf("The server has hung in %d promises, so the ones after them were not tried.", mostStuck)
			}
		}
	}
}

// mostStuck is how many promises may end with a server that hangs: each takes
// seconds to tell, and the cause is mostly one.
const mostStuck = 2

// askedFor returns the names of the promises of steps 1 to step that the go command
// was asked for, or nothing if its pattern is not a simple one.
func askedFor(step int) []string {
	pattern := flag.Lookup("test.run").Value.String()
	if skip := flag.Lookup("test.skip").Value.String(); skip != "" || strings.Contains(pattern, "|") {
		return nil
	}
	_, pattern, _ = strings.Cut(pattern, "/")
	matches, err := regexp.Compile(pattern)
	if err != nil {
		return nil
	}
	var all []string
	for n := 1; n <= step; n++ {
		for _, promise := range Promises(n) {
			if matches.MatchString(strings.ReplaceAll(promise.String(), " ", "_")) {
				all = append(all, promise.String())
			}
		}
	}
	return all
}

// wantsAll reports whether the promise with a name lets goroutines meet, which needs
// a processor for each.
func wantsAll(name string) bool {
	for n := range Steps {
		if slices.ContainsFunc(Promises(n+1), func(p Promise) bool { return p.meets && p.String() == name }) {
			return true
		}
	}
	return false
}

// readAbout names the place in the lesson that is about a promise.
func readAbout(step int, p Promise) string {
	return fmt.Sprintf("steps/%s/README.md#task-%s", Folders[step-1], p.Task)
}

// Folders are the names of the steps' folders, under steps/ and solutions/.
var Folders = [Steps]string{
	"01-upgrade", "02-pumps", "03-hub", "04-broadcast", "05-keepalive", "06-shutdown", "07-recover", "08-limits",
	"09-log", "10-resume",
}

// trial is the test of one promise: one or more scenarios.
type trial struct {
	*testing.T
	about wstest.About
	step  int // of the server under test
	start func(Config) Server
}

// scene is a scenario with a server under test.
type scene struct {
	*wstest.Bench
	Server
	step int
	down atomic.Bool // the scenario has called Shutdown
}

// end ends the server of a scene, unless the scenario has done so: a second Shutdown
// is the matter of one promise alone.
func (s *scene) end() {
	if s.down.Load() {
		s.Shutdown = nil
	}
	s.Server.end()
}

// scene runs a scenario with a server that has the defaults.
func (t *trial) scene(play func(*scene)) { t.sceneWith(Config{}, play) }

// sceneWith runs a scenario with a server that has the given configuration.
func (t *trial) sceneWith(cfg Config, play func(*scene)) {
	t.sceneFrom(func(*scene) Config { return cfg }, play)
}

// sceneFrom runs a scenario whose configuration needs the scene: its hooks call
// the server.
func (t *trial) sceneFrom(configure func(*scene) Config, play func(*scene)) {
	wstest.Run(t.T, t.about, func(b *wstest.Bench) {
		s := &scene{Bench: b, step: t.step}
		cfg := configure(s)
		cfg.Log = b.Log.Logger()
		s.Server = t.start(cfg)
		b.Serve(s.HTTP, s.end)
		b.Settle()
		b.Idle = b.LeftBehind()
		play(s)
	})
}

// end ends a server that nobody is connected to any more.
func (s Server) end() {
	if s.Shutdown != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Shutdown(ctx)
	}
	if s.Stop != nil {
		s.Stop()
	}
}

// overTCP runs a scenario over loopback TCP, in real time.
func (t *trial) overTCP(play func(*wstest.Network, Server)) {
	var server Server
	wstest.RunTCP(t.T, t.about, func(log *wstest.Log) *http.Server {
		server = t.start(Config{Log: log.Logger()})
		return server.HTTP
	}, func(n *wstest.Network) { play(n, server) })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.end()
	}()
	select {
	case <-ended:
	case <-time.After(2 * closeWait): // a Shutdown that hangs is the matter of step 6
	}
}

// online returns what GET /online says.
func (s *scene) online() int {
	answer := s.Get("/online")
	var count struct{ Online *int }
	if err := json.Unmarshal([]byte(answer.Body), &count); answer.Status != http.StatusOK || err != nil || count.Online == nil {
		s.Fail(`GET /online: %s, and not 200 and {"online":N}.`, answer)
	}
	return *count.Online
}

// wantOnline demands that GET /online says n.
func (s *scene) wantOnline(n int) {
	s.Settle()
	if got := s.online(); got != n {
		s.Fail("GET /online says %d, but %d peers are connected.", got, n)
	}
}

// wantRetryAfter demands that an answer tells to come back within the hour.
func (s *scene) wantRetryAfter(a wstest.Answer) time.Duration {
	told := a.Header.Get("Retry-After")
	if told == "" {
		s.FailBecause("the header is not set, or is set after http.Error, which has sent all headers by then.", "the answer %d has no Retry-After.", a.Status)
	}
	wait, ok := retryAfter(told)
	if ok && wait >= time.Second && wait <= time.Hour {
		return wait
	}
	cause := "Retry-After takes seconds, without a unit. A time.Duration counts nanoseconds, and prints with a unit: its method Seconds helps."
	if told == "0" {
		cause = "the wait is rounded down: round it up to whole seconds."
	}
	s.FailBecause(cause, "the answer %d has the Retry-After %q, and not a number of seconds (1 to 3600).", a.Status, told)
	return 0
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, section
// 10.2.3).
func retryAfter(told string) (wait time.Duration, ok bool) {
	if seconds, err := strconv.ParseUint(told, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(told)
	return time.Until(at), err == nil
}

// idsOf returns the UUIDs in a log record.
func idsOf(r wstest.Record) []string {
	var ids []string
	for _, a := range r.Attrs {
		if id := a.Value.String(); len(id) == 36 && uuid.Validate(id) == nil {
			if a.Key == "id" { // whatever else has a UUID
				return []string{id}
			}
			ids = append(ids, id)
		}
	}
	return ids
}

// connectID lets a peer connect and returns the id that the log gives it.
func (s *scene) connectID(name string) (*wstest.Peer, string) {
	return s.connectIDFrom(name, wstest.Request{})
}

// connectIDFrom is connectID with a special request.
func (s *scene) connectIDFrom(name string, r wstest.Request) (*wstest.Peer, string) {
	before := len(s.Log.Records())
	peer := s.ConnectFrom(name, r)
	s.Settle()
	for _, r := range s.Log.Records()[before:] {
		if ids := idsOf(r); len(ids) > 0 {
			return peer, ids[0]
		}
	}
	s.FailBecause(causeIDs, "%s has connected, but no log record since then has an id (a UUID as the value of an attribute).", name)
	return nil, ""
}

// talk lets a peer send a message and demands that it comes back: every step's
// server does that at least. From step 4 on others get it too; when talk returns,
// it is on its way to all of them.
func (s *scene) talk(p *wstest.Peer, text string) {
	p.Send(text)
	p.WantText(text)
	s.Settle()
}

// together lets two goroutines do something n times, and begin it at the same
// moment each time, as far as two processors can: once in each pause, which leaves
// them the time for it. It reports false if one of them does not come to its end.
func (s *scene) together(n int, pause time.Duration, do func(side, round int)) bool {
	var begun atomic.Int64
	now := time.Now()
	one := func(side int) {
		for round := range n {
			time.Sleep(time.Until(now.Add(time.Duration(round+1) * pause)))
			begun.Add(1)
			for spins := 0; begun.Load() < 2*int64(round+1); spins++ {
				switch {
				case spins > 1e6: // the other one waits for something
					return
				case spins > 1e4: // or it has no processor
					runtime.Gosched()
				}
			}
			for range round % 64 * 4 * (side ^ round&1) { // now one is first by a little, and now the other
				begun.Load()
			}
			do(side, round)
			s.Alive()
		}
	}
	var both sync.WaitGroup
	both.Go(func() { one(0) })
	both.Go(func() { one(1) })
	return s.Start(both.Wait).Within(time.Duration(n+1) * pause)
}

// texts returns n different texts.
func texts(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s %d", prefix, i+1)
	}
	return all
}

// heavy returns n different texts to broadcast. For room() of them there is room, and
// over() of them are too many for a peer that does not read.
func (s *scene) heavy(prefix string, n int) []string {
	all := texts(prefix, n)
	if s.step >= 9 {
		for i, text := range all {
			all[i] = text + strings.Repeat(" ", heavySize-len(text))
		}
	}
	return all
}

// heavySize is how long a heavy text is from step 9 on.
const heavySize = 32_000

// room is how many heavy messages may wait for a peer: nearly as many as a queue
// holds, or half of a log, since chunks may have gaps.
func (s *scene) room() int {
	if s.step >= 9 {
		return logBytes / heavySize / 2
	}
	return sendQueueSize - 2
}

// over is how many heavy messages are too many for a peer that does not read.
func (s *scene) over() int { return 2 * sendQueueSize }

// direct is how many messages to one id may wait for it.
func (s *scene) direct() int {
	if s.step >= 9 {
		return directQueueSize
	}
	return sendQueueSize
}

// evicted lets the time pass in which a peer is cut off for which too much waits:
// none, or from step 9 on until the write that is under way has had its time.
func (s *scene) evicted() {
	if s.step >= 9 {
		s.Pass(writeWait)
	}
	s.Pass(grace)
}

func long(n int) string { return strings.Repeat("x", n) }

// onOneProcessor makes the server's goroutines run one after the other, each until it
// waits, so that a mistake in what they share does not depend on chance. Call what
// it returns at the end.
func onOneProcessor() (end func()) {
	procs := runtime.GOMAXPROCS(1)
	return func() { runtime.GOMAXPROCS(procs) }
}
