// Package wstest is the bench on which the workshop's servers are tested: a
// server inside a [synctest] bubble, with peers that dial, read, write, stall,
// vanish and reset like real ones, from any address, in virtual time.
//
// A scenario is a function that [Run] calls, and does five things:
//
//	wstest.Run(t, about, func(b *wstest.Bench) {
//		b.Serve(newEcho(), nil) // 1. it starts the server,
//
//		ann, bob := b.Connect("ann"), b.Connect("bob") // 2. lets peers connect
//
//		bob.StopReading() // 3. and do something,
//		bob.Send("hello")
//		ann.Send("hello")
//
//		b.Pass(11 * time.Second) // 4. lets time pass,
//
//		ann.WantText("hello") // 5. and demands what should have come of it.
//		bob.WantGone("he has not read for 10 s")
//	})
//
// More of each:
//
//  1. The server is an [http.Server] that is not listening yet. The contracts call
//     [Bench.Serve] for a scenario, with the server that the step's test has started.
//  2. [Bench.Connect] is for who gets in, [Bench.Handshake] for whoever should be
//     refused, [Bench.Get] for plain HTTP, [Bench.Dial] for bare TCP.
//  3. A [Peer] reads all that comes, answers pings and close frames, and is told to
//     behave otherwise: [Peer.StopReading], [Peer.NoPongs], [Peer.Vanish], [Peer.Reset],
//     [Peer.HangUp], [Peer.Close]. [Peer.SendFrame] and [Peer.SendRaw] send what no
//     client would. [Bench.Call] calls a function of the server, with a limit.
//  4. Time stands still while anybody has something to do, and a deadline is met to the
//     nanosecond. [Bench.Pass] lets it pass; [Bench.Settle] lets happen what needs none.
//  5. [Peer.WantText], [Peer.WantClose], [Peer.WantGone] and [Peer.WantOpen] wait for
//     what should come, and fail. For all else there is [Story.Fail], after a look at
//     [Peer.Messages], [Peer.Gone], [Bench.Log] and so on.
//
// TestTour, in tour_test.go, is this scenario with a server. When one fails, the bench
// tells what happened, what was seen, what was promised, and where to read about it
// ([About]). At the end of each it demands that all connections are closed and no
// goroutine is left behind. What runs over real TCP and with real processes is in
// process.go.
package wstest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Bench is one scenario: one server and its peers. Its methods are called by the
// scenario alone.
type Bench struct {
	*Story
	Log  *Log     // what the server logs
	Idle []string // what LeftBehind says before anybody has connected

	t        *testing.T
	bubble   string       // its name in a goroutine dump
	alive    atomic.Int64 // changes when something happens, for the watch
	watch    *watch
	listener *listener
	http     *http.Server
	stop     func()
	serving  sync.WaitGroup
	finished bool

	mu     sync.Mutex // guards what follows
	peers  []*Peer
	others []*serverConn // connections that did not become a peer
	dialed int
}

// Run runs a scenario. It must be the only one that runs in the process.
func Run(t *testing.T, about About, scenario func(*Bench)) { run(t, about, watchPeriod, scenario) }

// run is Run with a watch that looks at the bubble once in each period.
func run(t *testing.T, about About, period time.Duration, scenario func(*Bench)) {
	b := &Bench{Story: &Story{about: about, settle: synctest.Wait}, Log: NewLog()}
	b.aside = b.panicked
	b.watch = startWatch(b.Story, &b.alive, period)
	defer b.watch.stop()
	defer func() {
		v := recover()
		deadlock := v != nil && strings.Contains(fmt.Sprint(v), "deadlock")
		switch {
		case v == nil:
		case deadlock && (t.Failed() || about.Lax && b.finished):
			// When a scenario has failed, goroutines may be left in the bubble. That
			// was said already, or hides behind something that was.
		case deadlock && b.http == nil:
			b.brokenDown("a loop that never ends is part of making the server: start it with go.", false, "the server is not made: "+b.whereBlocked())
		default:
			panic(v)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.began = time.Now()
		b.report = reporter(t)
		b.listener = newListener(&b.alive)
		b.watch.enter()
		b.bubble = *b.watch.id.Load()
		t.Cleanup(b.close)
		scenario(b)
		b.finish()
	})
}

// whereBlocked says where the server's goroutines wait.
func (b *Bench) whereBlocked() string {
	var blocked []string
	for _, g := range ofBubble(b.bubble, goroutines(true)) {
		if where, ok := g.where(); ok {
			blocked = append(blocked, fmt.Sprintf("%s, %s", where, g.doing()))
		}
	}
	return list(blocked)
}

// panicked tells of a panic that somebody has recovered, and that only the log tells
// of: net/http, for a handler, or the server itself. What the test has made panic is
// no news.
func (b *Bench) panicked() string {
	for _, r := range b.Log.Records() {
		if said, ok := strings.CutPrefix(r.Message, "http: panic serving "); ok {
			_, said, _ = strings.Cut(said, ": ")
			what, dump, _ := strings.Cut(said, "\n")
			what = "\nServeHTTP has panicked: " + what
			if place := ownCalls(dump); place != "" {
				what += ", in " + place
			}
			return what
		}
		var what []string
		place := ""
		for _, a := range r.Attrs {
			text := a.Value.String()
			if dump, ok := a.Value.Any().([]byte); ok {
				text = string(dump)
			}
			if calls := ownPanic(text); calls != "" {
				place = calls
			} else if a.Key != "id" {
				what = append(what, short(text, 100))
			}
		}
		if place != "" && !strings.Contains(r.String(), "the test lets") {
			return fmt.Sprintf("\nThe server has recovered a panic, and its log says: %s (%s), in %s", r.Message, strings.Join(what, ", "), place)
		}
	}
	return ""
}

// ownPanic returns who has panicked, from the stack that was taken when the panic was
// recovered, or "" if dump is none.
func ownPanic(dump string) string {
	_, after, ok := strings.Cut(dump, "\npanic(")
	if !ok || !strings.HasPrefix(dump, "goroutine ") {
		return ""
	}
	header, _, _ := strings.Cut(dump, "\n")
	_, after, _ = strings.Cut(after, "\n") // the place of panic itself
	_, after, _ = strings.Cut(after, "\n")
	return ownCalls(header + "\n" + after)
}

// Serve starts the server under test. stop, which may be nil, ends what the
// server keeps running besides its connections.
func (b *Bench) Serve(server *http.Server, stop func()) {
	b.http, b.stop = server, stop
	b.serving.Go(func() { server.Serve(b.listener) })
}

// Pass lets time pass.
func (b *Bench) Pass(d time.Duration) {
	b.Did("%v pass", d)
	time.Sleep(d)
	b.Settle()
}

// Whole tells all that has happened so far, an event a line.
func (b *Bench) Whole() string {
	b.Story.mu.Lock()
	defer b.Story.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// Settle waits until all that can happen without time passing has happened.
func (b *Bench) Settle() {
	b.alive.Add(1)
	synctest.Wait()
	b.alive.Add(1)
}

// Alive tells the watch that the scenario goes on. It may be called from any goroutine.
func (b *Bench) Alive() { b.alive.Add(1) }

// Call calls a function of the server and demands that it returns within limit.
func (b *Bench) Call(what string, limit time.Duration, f func()) {
	b.Did("%s is called", what)
	done := b.Start(f)
	if !done.Within(limit) {
		b.Fail("%s has not returned after %v.", what, limit)
	}
}

// Start calls a function of the server in a goroutine of its own.
func (b *Bench) Start(f func()) *Call {
	c := &Call{began: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		f()
		c.took = time.Since(c.began)
	}()
	return c
}

// Call is a call of a function of the server.
type Call struct {
	began time.Time
	took  time.Duration
	done  chan struct{}
}

// Returned reports whether the call has returned.
func (c *Call) Returned() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Within reports whether the call has returned at most limit after it began.
func (c *Call) Within(limit time.Duration) bool {
	timer := time.NewTimer(time.Until(c.began.Add(limit)))
	defer timer.Stop()
	select {
	case <-c.done:
		return c.took <= limit
	case <-timer.C:
		synctest.Wait() // the limit itself still counts
		return c.Returned() && c.took <= limit
	}
}

// address returns the TCP address that the next connection comes from. ip may have a
// port; otherwise each connection gets one of its own.
func (b *Bench) address(ip string) net.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialed++
	addr := &net.TCPAddr{IP: net.IPv4(10, 1, byte(b.dialed>>8), byte(b.dialed)), Port: 10000 + b.dialed%50000}
	if fixed, err := netip.ParseAddrPort(ip); err == nil {
		return net.TCPAddrFromAddrPort(fixed)
	}
	if strings.HasPrefix(ip, "::ffff:") {
		return mapped(net.JoinHostPort(ip, fmt.Sprint(addr.Port)))
	}
	if ip != "" {
		addr.IP = net.ParseIP(ip)
	}
	return addr
}

// mapped is the address of an IPv4 peer on a socket of IPv6, in the notation
// that net.TCPAddr does not show.
type mapped string

func (m mapped) Network() string { return "tcp" }
func (m mapped) String() string  { return string(m) }

// Connect lets a peer connect with an ordinary handshake, and demands that it
// succeeds.
func (b *Bench) Connect(name string) *Peer { return b.ConnectFrom(name, Request{}) }

// ConnectFrom is Connect with a special request.
func (b *Bench) ConnectFrom(name string, r Request) *Peer {
	peer, answer := b.Handshake(name, r)
	switch saw := fmt.Sprintf("%s could not connect: %s. A handshake is answered with 101.", name, answer); {
	case answer.Status == http.StatusTooManyRequests:
		b.FailBecause("the cap, the rate or the burst of step 8 is lower than it should be, or counts all addresses together.", "%s", saw)
	case answer.Status == http.StatusOK:
		b.FailBecause("ServeHTTP does not call Upgrade (task 1.1).", "%s", saw)
	case peer == nil:
		b.Fail("%s", saw)
	}
	b.Settle() // the server may still be busy with it after the answer
	return peer
}

// Answer is the server's answer to an HTTP request.
type Answer struct {
	Status int // 0 if there was none
	Header http.Header
	Body   string
	Err    error // why there was none
}

// String describes the answer for a person.
func (a Answer) String() string {
	switch {
	case a.Err != nil:
		return fmt.Sprintf("the server gave no answer (%v)", a.Err)
	case len(a.Body) == 0:
		return fmt.Sprintf("the server answered %d %s with an empty body", a.Status, http.StatusText(a.Status))
	case len(a.Body) > 80:
		return fmt.Sprintf("the server answered %d %s", a.Status, http.StatusText(a.Status))
	}
	return fmt.Sprintf("the server answered %d %s (%q)", a.Status, http.StatusText(a.Status), strings.TrimSpace(a.Body))
}

// Handshake asks for a WebSocket and returns the answer, and the peer if it is
// 101.
func (b *Bench) Handshake(name string, r Request) (*Peer, Answer) {
	b.Did("%s", describe(name, r))
	return b.handshake(name, r)
}

// HandshakeQuietly is Handshake without a word in the story.
func (b *Bench) HandshakeQuietly(r Request) (*Peer, Answer) { return b.handshake("a peer", r) }

// handshake is Handshake without a word in the story. It may be called from
// several goroutines.
func (b *Bench) handshake(name string, r Request) (*Peer, Answer) {
	conn, server, err := b.listener.dial(b.address(r.IP))
	if err != nil {
		return nil, Answer{Err: err}
	}
	path := "/ws"
	if r.Query != "" {
		path += "?" + r.Query
	}
	answer, early := b.exchange(conn, r.Bytes(path), r.Late)
	b.mu.Lock()
	defer b.mu.Unlock()
	if answer.Status != http.StatusSwitchingProtocols {
		conn.Close()
		b.others = append(b.others, server)
		return nil, answer
	}
	peer := newPeer(name, b.Story, conn, server, early)
	b.peers = append(b.peers, peer)
	return peer, answer
}

// HandshakeAll lets n peers connect at the same time, and returns those that got
// in, and all answers.
func (b *Bench) HandshakeAll(name string, n int, r Request) (peers []*Peer, answers []Answer) {
	b.Did("%d handshakes at once: %s", n, describe(name, r))
	answers = make([]Answer, n)
	in := make([]*Peer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { in[i], answers[i] = b.handshake(fmt.Sprintf("%s %d", name, i+1), r) })
	}
	all.Wait()
	for _, p := range in {
		if p != nil {
			peers = append(peers, p)
		}
	}
	return peers, answers
}

// describe says in the story what a handshake is.
func describe(name string, r Request) string {
	verb := "connects"
	if r.Plain {
		verb = "sends a plain GET for /ws"
	}
	var s strings.Builder
	s.WriteString(name + " " + verb)
	if r.IP != "" {
		s.WriteString(" from " + r.IP)
	}
	if r.Query != "" {
		s.WriteString(", with ?" + r.Query)
	}
	for _, key := range []string{"Origin", "X-Forwarded-For", "Forwarded", "True-Client-Ip", "X-Real-Ip"} {
		if r.Header[key] != nil {
			s.WriteString(fmt.Sprintf(", with %s: %s", key, strings.Join(r.Header[key], ", ")))
		}
	}
	return s.String()
}

// exchange sends a request and reads the answer, which waits for late.
func (b *Bench) exchange(conn net.Conn, request []byte, late time.Duration) (answer Answer, early []byte) {
	conn.SetDeadline(time.Now().Add(Patience))
	defer conn.SetDeadline(time.Time{})
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		conn.Write(request)
	}()
	time.Sleep(late)
	response, body, early, err := readAnswer(conn)
	if err != nil {
		conn.Close()
		<-wrote
		return Answer{Err: plainly(err)}, nil
	}
	<-wrote
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, early
}

// plainly says what a network error means.
func plainly(err error) error {
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return fmt.Errorf("it was still silent after %v", Patience)
	}
	if strings.Contains(err.Error(), "EOF") {
		return fmt.Errorf("it closed the connection")
	}
	return err
}

// Get asks for a path with a plain GET.
func (b *Bench) Get(path string) Answer {
	conn, server, err := b.listener.dial(b.address(""))
	if err != nil {
		return Answer{Err: err}
	}
	defer conn.Close()
	b.mu.Lock()
	b.others = append(b.others, server)
	b.mu.Unlock()
	answer, _ := b.exchange(conn, Request{Plain: true}.Bytes(path), 0)
	return answer
}

// Raw is a connection on which nothing has been said yet, and nothing is read.
type Raw struct {
	net.Conn
	server *serverConn
}

// Gone reports whether the server has closed its end of the connection.
func (r *Raw) Gone() bool { return !r.server.closed().IsZero() }

// Dial opens a connection and does nothing with it.
func (b *Bench) Dial(name string) *Raw { return b.DialFrom(name, "") }

// DialFrom is Dial from a given address.
func (b *Bench) DialFrom(name, ip string) *Raw {
	b.Did("%s opens a TCP connection", name)
	conn, server, err := b.listener.dial(b.address(ip))
	if err != nil {
		b.Fail("%s could not connect: %v.", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others = append(b.others, server)
	b.t.Cleanup(func() { conn.Close() })
	return &Raw{Conn: conn, server: server}
}

// Join reads the answer to a handshake that was sent on r, and makes a peer of it
// if it is 101. Otherwise it returns nil.
func (b *Bench) Join(r *Raw, name string) *Peer {
	b.Did("%s reads the answer to the handshake", name)
	r.SetReadDeadline(time.Now().Add(Patience))
	answer, _, early, err := readAnswer(r.Conn)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		r.Close()
		return nil
	}
	return b.Upgraded(r, name, early)
}

// Upgraded makes a peer of r, whose handshake has been answered with 101. early is
// what was read together with the answer.
func (b *Bench) Upgraded(r *Raw, name string, early []byte) *Peer {
	r.SetReadDeadline(time.Time{})
	b.mu.Lock()
	defer b.mu.Unlock()
	peer := newPeer(name, b.Story, r.Conn, r.server, early)
	b.peers = append(b.peers, peer)
	return peer
}

// Heap returns the bytes in use, and not those that the bench needs while it
// watches.
func (b *Bench) Heap() uint64 {
	b.watch.look.Lock()
	defer b.watch.look.Unlock()
	runtime.GC()
	runtime.GC() // the first one only moves what is in a sync.Pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// LeftBehind says where the goroutines of the server are, each in a line.
func (b *Bench) LeftBehind() []string {
	var lines []string
	for _, g := range ofBubble(b.bubble, goroutines(true)) {
		if _, own := g.where(); own && !g.in("testing.tRunner") {
			lines = append(lines, g.leftBehind())
		}
	}
	return lines
}

// finish ends a scenario that went well: everybody leaves, and nothing of their
// connections may be left.
func (b *Bench) finish() {
	b.Settle()
	for _, p := range b.peers {
		if saw := p.violation(); saw != "" {
			b.FailBecause("a connection supports one reader and one writer at a time: the two pumps.", "%s.", saw)
		}
		if p.broken != nil {
			b.Fail("%s got something that is no WebSocket frame: %v.", p.Name, p.broken)
		}
	}
	for _, r := range b.Log.Records() {
		if strings.HasPrefix(r.Message, "http: ") && !strings.HasPrefix(r.Message, "http: TLS handshake error") {
			b.FailBecause("a request was answered twice, or after Upgrade had taken the connection over; or a handler has panicked.",
				"net/http complains in the server's log: %s", r)
		}
	}
	if b.about.Lax {
		return
	}
	b.Did("everybody leaves, and %v pass", goodWhile)
	b.close()
	for _, p := range b.peers {
		if !p.Gone() {
			b.FailBecause(causeNotClosed, "%s has left, but the server has not closed the connection.", p.Name)
		}
	}
	for _, c := range b.others {
		if c.closed().IsZero() {
			b.FailBecause(causeNotClosed, "a peer that was not let in has left, but the server has not closed its connection.")
		}
	}
	left := b.LeftBehind()
	others := slices.DeleteFunc(slices.Clone(left), func(g string) bool { return slices.Contains(b.Idle, g) })
	b.nothingLeft(others, "the goroutine waits for something that never comes, although its connection has ended.")
	b.nothingLeft(left, "the goroutine is the server's own: it was there before anybody had connected. contract.Server, in the NN_test.go of this step, has a Stop for it: let that end it.")
}

// nothingLeft fails if a goroutine is left.
func (b *Bench) nothingLeft(left []string, cause string) {
	switch n := len(left); {
	case n == 1:
		b.FailBecause(cause, "a goroutine is left behind:\n%s", left[0])
	case n > 1:
		b.FailBecause(cause, "%d goroutines are left behind:\n%s", n, strings.Join(left[:min(n, 3)], "\n"))
	}
}

const causeNotClosed = "conn.Close is not called on each way that a connection can end. After Upgrade nobody else calls it."

// goodWhile is longer than all the timeouts of a server together.
const goodWhile = 5 * time.Minute

// close lets everybody leave and ends the server.
func (b *Bench) close() {
	if b.finished || b.http == nil {
		return
	}
	b.finished = true
	for _, p := range b.peers {
		p.become(vanished)
		p.reset()
	}
	time.Sleep(goodWhile)
	synctest.Wait()
	b.http.Close()
	b.serving.Wait()
	if b.stop != nil {
		b.Start(b.stop).Within(goodWhile)
	}
	time.Sleep(goodWhile)
	synctest.Wait()
}
