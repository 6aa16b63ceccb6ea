package contract

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// limits is the contract of step 8: what one address, and one connection, may ask
// for.
var limits = []Promise{
	{
		Task: "8.1", Name: "a connection over the cap gets 429 with Retry-After, other addresses are free",
		cause: "the gate is not asked before Upgrade, or counts an address together with its port, or lets in one more than the cap. Or the slot is given back when ServeHTTP returns, which since step 6 is when the connection begins.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				peers := s.fill("10.9.0.1")
				s.wantFull("10.9.0.1")
				s.ConnectFrom("bob", wstest.Request{IP: "10.9.0.2"})
				for _, p := range peers {
					p.WantOpen("only the connection over the cap is refused")
				}
				s.Did("all of them stop reading")
				for _, p := range peers {
					p.Stall()
				}
				s.shutDown(time.Minute)
				s.Settle()
				if _, answer := s.Handshake("one more", wstest.Request{IP: "10.9.0.1"}); answer.Status != http.StatusServiceUnavailable {
					s.FailBecause("the gate is asked before the hub. A server that is about to end has no free slot for anybody.",
						"during Shutdown a handshake gets 503, also from an address that has all its connections; %s.", answer)
				}
			})
		},
	},
	{
		Task: "8.1", Name: "a hundred handshakes at once from one address yield exactly the cap",
		cause: "the check and the count are not made under one lock, before the upgrade: between them others check too. Or one that is refused gives back a slot, which it never had.",
		test: func(t *trial) {
			t.scene(func(s *scene) { s.wantExactly(wstest.Request{IP: "10.9.0.1"}) })
			t.scene(func(s *scene) {
				s.Did("those from 10.9.0.1 send the whole handshake before they read the answer")
				s.wantExactly(wstest.Request{IP: "10.9.0.1", Late: time.Second})
			})
			t.scene(oneLock)
			t.scene(lastSlot)
			caps(t)
			capFlags(t)
		},
		meets: true,
	},
	{
		Task: "8.1", Name: "a slot comes back after every kind of end, and after a failed handshake",
		cause: "the slot is not given back on each way out: defer it as soon as it is taken.",
		test:  slots,
	},
	{
		Task: "8.2", Name: "handshakes are rated, and the wait that is told is true",
		cause: "no limiter for each address, or another rate, or another burst: Limits.HandshakeRate a second, and four seconds' worth at once. Or the limiter is forgotten when the last connection of its address ends.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				n := s.hammer("10.9.0.1", 3*handshakeBurst)
				if n != handshakeBurst {
					s.Fail("%d handshakes of one address were let in at once, and not %d.", n, handshakeBurst)
				}
				s.ConnectFrom("bob", wstest.Request{IP: "10.9.0.2"})
				for range 3 {
					s.hammer("10.9.0.1", 3*handshakeBurst)
					_, answer := s.Handshake("ann", wstest.Request{IP: "10.9.0.1"})
					if answer.Status != http.StatusTooManyRequests {
						s.Fail("a handshake over the rate gets 429; %s.", answer)
					}
					wait := s.wantRetryAfter(answer)
					const saw = "Retry-After says %v, but %d handshakes a second are allowed."
					if wait > 5*time.Second {
						s.FailBecause("a handshake that is refused takes a token all the same, so that each try makes the wait longer. Cancel its reservation.",
							saw, wait, handshakeRate)
					}
					if wait > 2*time.Second { // or a date, in whole seconds
						s.FailBecause("it is always the same, and not what the limiter says. Or a handshake over the rate has been counted as a connection, and nobody gives that slot back, so that the cap refuses the next one.",
							saw, wait, handshakeRate)
					}
					s.Pass(wait)
					peer, answer := s.Handshake("ann", wstest.Request{IP: "10.9.0.1"})
					if peer == nil {
						s.FailBecause("the wait is rounded down: round it up to whole seconds. Or a handshake over the rate has been counted as a connection, and nobody gives that slot back.",
							"ann has waited for %v, as she was told, and still could not connect: %s.", wait, answer)
					}
					peer.Leave()
					s.Settle()
				}
			})
			t.scene(func(s *scene) {
				peers := s.fill("10.9.0.1")
				s.Did("10.9.0.1 tries %d times more, over its cap", 3*handshakeBurst)
				s.hammer("10.9.0.1", 3*handshakeBurst)
				peers[0].Leave()
				s.Settle()
				if peer, answer := s.Handshake("another", wstest.Request{IP: "10.9.0.1"}); peer == nil {
					s.FailBecause("a handshake that the cap refuses takes a token all the same. Ask the cap first.",
						"one of its connections has ended, and yet 10.9.0.1 could not connect: %s.", answer)
				}
			})
			t.scene(func(s *scene) {
				s.Did("%d handshakes at once come from 10.9.0.1, and from a foreign page", 3*handshakeBurst)
				forbidden := 0
				for range 3 * handshakeBurst {
					if _, answer := s.HandshakeQuietly(wstest.Request{IP: "10.9.0.1", Header: http.Header{"Origin": {"https://evil.example"}}}); answer.Status == http.StatusForbidden {
						forbidden++
					}
				}
				if forbidden != handshakeBurst {
					s.FailBecause("a handshake that fails gets its token back, or its address is forgotten. It has spent the token.",
						"%d of them got 403, and not %d: the others are over the rate.", forbidden, handshakeBurst)
				}
			})
			t.scene(func(s *scene) {
				s.Did("for 10 s 10.9.0.3 tries ten times a second")
				in := 0
				for range 100 {
					in += s.hammer("10.9.0.3", 1)
					time.Sleep(time.Second / 10)
				}
				if most := handshakeBurst + 10*handshakeRate; in < most-1 || in > most+1 {
					s.Fail("%d handshakes were let in within 10 s, and not %d: %d at once, and %d a second.", in, most, handshakeBurst, handshakeRate)
				}
			})
			slowHandshakes(t)
			handshakeFlags(t)
		},
	},
	{
		Task: "8.3", Name: "a flooding peer is slowed to its rate, loses nothing and disturbs nobody",
		cause: "the read pump does not wait for its turn after each message, text or binary, before it hands it on (pace). To wait is all that it must do: no message is dropped, and the connection goes on. Or c.pacer is nil, and pace panics.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				home := wstest.Request{IP: "10.9.0.1"}
				ann, bob, cat := s.ConnectFrom("ann", home), s.Connect("bob"), s.ConnectFrom("cat", home)
				const flood = 2000 // 98 s at the rate, longer than the 60 s of silence
				s.Did("ann sends %d messages as fast as she can, every other one binary", flood)
				for i, text := range texts("flood", flood) {
					frame := wstest.Text(text)
					if i%2 == 1 {
						frame = wstest.Binary(text)
					}
					ann.SendRaw(frame.Bytes())
				}
				got, began := 0, time.Now()
				for got < flood {
					s.Settle()
					for _, f := range bob.Messages() {
						if got++; string(f.Payload) != fmt.Sprint("flood ", got) {
							s.FailBecause("what is over the rate is dropped. Wait for its turn instead: then ann's own TCP connection slows her down.",
								"bob got %s instead of ann's message number %d.", f, got)
						}
					}
					passed := time.Since(began)
					due := min(flood, messageBurst+int(messageRate*passed.Seconds()))
					if got < due-2 || got > due+2 {
						saw := fmt.Sprintf("bob has got %d of ann's messages after %v.", got, passed)
						if got > due {
							saw = fmt.Sprintf("bob has got more than %d of ann's messages after %v.", due+2, passed)
						}
						saw += fmt.Sprintf(" At %d at once and %d a second it should be %d.", messageBurst, messageRate, due)
						for _, p := range []*wstest.Peer{ann, bob} {
							if p.Gone() {
								s.FailBecause("a peer that sends too fast is ended, or does not wait at all, so that the queues of the others are full; or the read deadline passes while it waits: set it after the wait.",
									"%s %s's connection has been closed.", saw, p.Name)
							}
						}
						s.Fail("%s", saw)
					}
					if taken := ann.Sent(); taken > got+flood/2 { // what a read buffer holds is fine
						s.Fail("the server has read %d of ann's messages, but handed on %d: what it should leave unread fills its memory.", taken, got)
					}
					cat.Messages()
					cat.SendQuietly("hello")
					s.Settle()
					if f := bob.Messages(); len(f) != 1 || string(f[0].Payload) != "hello" {
						s.FailBecause("all connections, or those of one address, share one limiter, or a lock is held while one of them waits. Each has its own, and waits in its own read pump.",
							"cat's message did not reach bob at once while ann was slowed.")
					}
					time.Sleep(time.Second)
				}
				ann.WantOpen("she is slow, not dead")
				bob.WantOpen("he has done nothing")
			})
			slowMessages(t)
			messageFlags(t)
		},
	},
	{
		Task: "8.4", Name: "an address is an address: no port, IPv4 in IPv6 is IPv4, IPv6 counts by /64",
		cause: "the address is not unmapped (netip.Addr.Unmap), or an IPv6 address is counted whole: one host has 2^64 of them.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.fillSome("10.9.0.1", maxPerIP/2)
				s.fillSome("::ffff:10.9.0.1", maxPerIP/2)
				s.wantFull("10.9.0.1")
				s.wantFull("::ffff:10.9.0.1")
				s.ConnectFrom("bob", wstest.Request{IP: "::ffff:10.9.0.2"})
			})
			t.scene(func(s *scene) {
				for i := range maxPerIP / 2 {
					s.fillSome(fmt.Sprintf("2001:db8:0:1::%x", i+1), 1)
					s.fillSome(fmt.Sprintf("2001:db8:0:1:%x::", 0x1000*(i+1)), 1)
				}
				s.wantFull("2001:db8:0:1:ffff::1")
				s.ConnectFrom("bob", wstest.Request{IP: "2001:db8:0:2::1"})
			})
			t.scene(func(s *scene) {
				s.Did("%d addresses of 2001:db8:0:1::/64 try a handshake at once, and leave if they get in", 3*handshakeBurst)
				in := 0
				for i := range 3 * handshakeBurst {
					in += s.hammer(fmt.Sprintf("2001:db8:0:1::%x", i+1), 1)
				}
				if in != handshakeBurst {
					s.FailBecause("the rate of handshakes counts other addresses than the cap: it needs the same /64.",
						"%d handshakes of one /64 were let in at once, and not %d.", in, handshakeBurst)
				}
			})
		},
	},
	{
		Task: "8.4", Name: "X-Forwarded-For counts only from trusted proxies, read from the right",
		cause: "the header is believed from anybody, or its first entry is taken, which is whatever the client has sent; or only one of several header lines is read. Or the address that is found there is not treated as a direct peer's: unmapped, cut to its /64, and given to leave.",
		test: func(t *trial) {
			forwarded(t)
			proxyFlags(t)
		},
	},
	{
		Task: "8.5", Name: "the table of addresses does not grow for ever, and forgetting gives no new burst",
		cause: "the table counts nothing, or forgets addresses that are connected.",
		test:  forgetting,
	},
}

// oneLock lets handshakes meet in the moment between the check and the count, if
// there is one: it calls the handler itself, from many goroutines at a time, for
// addresses that have half of their connections.
func oneLock(s *scene) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wstest.Request{}.Bytes("/ws"))))
	s.FailUnless(err == nil, "the test's own request: %v.", err)
	release := make(chan struct{})
	var all sync.WaitGroup
	try := func(address, n int) int {
		var count, ready atomic.Int64
		for range n {
			r, w := request.Clone(request.Context()), &waiting{httptest.NewRecorder(), &count, release}
			r.RemoteAddr = fmt.Sprintf("10.9.1.%d:1234", address)
			all.Go(func() {
				for ready.Add(1); ready.Load() < int64(n); {
					runtime.Gosched() // until all are there, on each processor
				}
				s.HTTP.Handler.ServeHTTP(w, r)
			})
		}
		s.Settle()
		return int(count.Load())
	}
	defer all.Wait()
	defer close(release)
	const addresses = 150 // two processors meet at one of them in most runs
	s.Did("%d addresses have %d connections each", addresses, maxPerIP/2)
	for i := range addresses {
		try(i, maxPerIP/2)
	}
	time.Sleep(10 * time.Second) // all tokens come back, so that the cap alone refuses
	s.Did("and then each tries %d handshakes at once", maxPerIP)
	for i := range addresses {
		if in := try(i, maxPerIP); in > maxPerIP-maxPerIP/2 {
			s.Fail("%d of %d got in beside the %d that were there, and not %d.", in, maxPerIP, maxPerIP/2, maxPerIP-maxPerIP/2)
		}
	}
}

// lastSlot lets two handshakes ask for the last slot of an address at once, again
// and again.
func lastSlot(s *scene) {
	const ip, rounds = "10.9.1.1", 1500
	s.fillSome(ip, maxPerIP-1)
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wstest.Request{}.Bytes("/ws"))))
	s.FailUnless(err == nil, "the test's own request: %v.", err)
	s.Did("%d times two more handshakes at once ask for its last slot", rounds)
	var in [rounds]atomic.Int64
	var decided [rounds][2]chan struct{} // closed when it is known whether the one, or the other, got in
	for i := range decided {
		decided[i] = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	}
	const pause = time.Second/handshakeRate - time.Millisecond // its tokens never come back all, so nobody may forget it
	s.together(rounds, pause, func(side, round int) {
		decide := sync.OnceFunc(func() { close(decided[round][side]) })
		defer decide()
		r := request.Clone(request.Context())
		r.RemoteAddr = ip + ":1234"
		s.HTTP.Handler.ServeHTTP(&meeting{httptest.NewRecorder(), func() {
			in[round].Add(1)
			decide()
			select {
			case <-decided[round][1-side]:
			case <-time.After(pause / 2): // the other one has given up waiting for a processor
			}
		}}, r)
	})
	for i := range in {
		if n := in[i].Load(); n > 1 {
			s.Fail("both got in beside the %d that were there, and not one of them.", maxPerIP-1)
		}
	}
}

// meeting is the answer to a handshake that was let in, and fails then.
type meeting struct {
	*httptest.ResponseRecorder
	in func()
}

func (w *meeting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.in()
	return nil, nil, errors.New("the test has ended this handshake")
}

// waiting is the answer to a handshake that was let in and stays where it is, until
// release is closed. Then it fails.
type waiting struct {
	*httptest.ResponseRecorder
	in      *atomic.Int64 // how many have been let in
	release <-chan struct{}
}

func (w *waiting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.in.Add(1)
	<-w.release
	return nil, nil, errors.New("the test has ended this handshake")
}

// wantExactly demands that of 100 handshakes at once as many get in as the cap
// allows.
func (s *scene) wantExactly(r wstest.Request) {
	there := len(s.fillSome(r.IP, maxPerIP/2)) // so that the rate alone would let too many in
	in, answers := s.HandshakeAll("ann", 100, r)
	if len(in) != maxPerIP-there {
		s.Fail("%d of 100 got in beside the %d that were there, and not %d.", len(in), there, maxPerIP-there)
	}
	for _, a := range answers {
		if a.Status != http.StatusSwitchingProtocols && a.Status != http.StatusTooManyRequests {
			s.Fail("a handshake over the cap gets 429; %s.", a)
		}
	}
}

// fill connects as many peers from ip as the cap allows, slowly enough for the
// rate.
func (s *scene) fill(ip string) []*wstest.Peer { return s.fillSome(ip, maxPerIP) }

func (s *scene) fillSome(ip string, n int) []*wstest.Peer {
	if n == 1 {
		s.Did("a peer connects from %s", ip)
	} else {
		s.Did("%d peers connect from %s, one a second", n, ip)
	}
	var peers []*wstest.Peer
	for range n {
		in, answers := s.HandshakeQuietly(wstest.Request{IP: ip})
		if in == nil {
			s.Fail("number %d could not connect: %s.", len(peers)+1, answers)
		}
		peers = append(peers, in)
		time.Sleep(time.Second)
	}
	time.Sleep(10 * time.Second) // all tokens come back, so that the cap alone refuses
	return peers
}

// wantFull demands that one more connection from ip is refused.
func (s *scene) wantFull(ip string) { s.wantFullOr(ip, "") }

// wantFullOr is wantFull with a cause of its own, unless it is empty: why one more
// may be let in.
func (s *scene) wantFullOr(ip, cause string) {
	peer, answer := s.Handshake("one more", wstest.Request{IP: ip})
	if peer != nil {
		const saw = "one more was let in from %s, which has %d connections already."
		s.Settle()
		if peer.Gone() || peer.ClosedWith() != nil {
			s.FailBecause("the gate is asked after Upgrade. Before it, the peer can still be told with a status, and costs next to nothing.",
				saw+" The server has ended that connection after the handshake.", ip, maxPerIP)
		}
		if cause != "" {
			s.FailBecause(cause, saw, ip, maxPerIP)
		}
		s.Fail(saw, ip, maxPerIP)
	}
	if answer.Status != http.StatusTooManyRequests {
		s.FailBecause("refuse is called with another status than http.StatusTooManyRequests. 503 would say that the whole server is busy.",
			"a connection over the cap gets 429; %s.", answer)
	}
	s.wantRetryAfter(answer)
}

// hammer tries n handshakes from ip at once, one after the other. Who gets in
// leaves at once. It returns how many got in.
func (s *scene) hammer(ip string, n int) int {
	in := 0
	for range n {
		if peer, _ := s.HandshakeQuietly(wstest.Request{IP: ip}); peer != nil {
			in++
			peer.Leave()
			s.Settle()
		}
	}
	return in
}

func slots(t *trial) {
	const ip = "10.9.0.1"
	const tooSoon = "the slot is given back while the server still has the socket. Give it back when run has returned."
	t.scene(func(s *scene) {
		peers := s.fill(ip)
		last := peers[len(peers)-1]
		last.StopReading()
		s.Send(s.lastID(), "hello")
		s.Settle()
		s.Did("while the server writes to one of them, it sends a close frame, and takes nothing")
		last.SendFrame(wstest.Close(1000, ""))
		s.Pass(time.Second)
		if !last.Gone() {
			s.wantFullOr(ip, tooSoon)
		}
	})
	t.scene(func(s *scene) {
		peers := s.fill(ip)
		last := peers[len(peers)-1]
		last.IgnoreClose()
		s.Did("one of them sends text that is not UTF-8, and does not answer the close frame")
		last.SendFrame(wstest.Text("\xff"))
		s.Pass(time.Second)
		if !last.Gone() {
			s.wantFullOr(ip, tooSoon)
		}
	})
	foreign := http.Header{"Origin": {"https://evil.example"}}
	ends := []struct {
		how string
		end func(*scene, *wstest.Peer)
	}{
		{"sends a close frame", func(s *scene, p *wstest.Peer) { p.Leave() }},
		{"hangs up", func(s *scene, p *wstest.Peer) { p.HangUp() }},
		{"is reset", func(s *scene, p *wstest.Peer) { p.Reset() }},
		{"vanishes", func(s *scene, p *wstest.Peer) { p.Vanish() }},
		{"sends too big a message", func(s *scene, p *wstest.Peer) { p.SendFrame(wstest.Text(long(maxMessageSize + 1))) }},
		{"does not read", func(s *scene, p *wstest.Peer) {
			p.StopReading()
			s.Send(s.lastID(), "hello")
		}},
		{"is cut off because its queue is full", func(s *scene, p *wstest.Peer) {
			p.StopReading()
			id := s.lastID()
			for range 2 * sendQueueSize {
				s.Send(id, "hello")
			}
		}},
		{"has a handler that panics", func(s *scene, p *wstest.Peer) { p.Send("panic") }},
		{"sends a plain GET", func(s *scene, p *wstest.Peer) {
			p.Leave()
			s.Settle()
			for range 2 * maxPerIP {
				s.HandshakeQuietly(wstest.Request{IP: ip, Plain: true})
				time.Sleep(time.Second)
			}
		}},
		{"is refused for its origin", func(s *scene, p *wstest.Peer) {
			p.Leave()
			s.Settle()
			for range 2 * maxPerIP {
				s.HandshakeQuietly(wstest.Request{IP: ip, Header: foreign})
				time.Sleep(time.Second)
			}
		}},
		{"hangs up before the answer", func(s *scene, p *wstest.Peer) {
			p.Leave()
			s.Settle()
			late := s.DialFrom("a peer", ip)
			late.Write(wstest.Request{}.Bytes("/ws"))
			late.Close()
		}},
	}
	for _, e := range ends {
		t.panicScene(panicText, func(s *scene) {
			peers := s.fill(ip)
			s.wantFull(ip)
			s.Did("one of them %s", e.how)
			e.end(s, peers[len(peers)-1])
			s.Pass(2*pongWait + grace)
			if peer, answer := s.Handshake("another", wstest.Request{IP: ip}); peer == nil {
				s.Fail("%s. There should be a free slot: one of the %d %s.", answer, maxPerIP, e.how)
			}
			s.wantFullOr(ip, "a slot is given back twice; or an address is forgotten that still has connections.")
		})
	}
}

// lastID returns the id that was logged first for the newest connection.
func (s *scene) lastID() string {
	seen := make(map[string]bool)
	last := ""
	for _, r := range s.Log.Records() {
		for _, id := range idsOf(r) {
			if !seen[id] {
				seen[id], last = true, id
			}
		}
	}
	return last
}

func forwarded(t *trial) {
	via := func(proxy string, header ...string) wstest.Request {
		return wstest.Request{IP: proxy, Header: http.Header{"X-Forwarded-For": header}}
	}
	fill := func(s *scene, r wstest.Request) (peers []*wstest.Peer) {
		s.Did("%d peers connect from %s, with X-Forwarded-For %q", maxPerIP, r.IP, r.Header["X-Forwarded-For"])
		for i := range maxPerIP {
			peer, answer := s.HandshakeQuietly(r)
			if peer == nil {
				s.Fail("number %d of %d could not connect: %s.", i+1, maxPerIP, answer)
			}
			peers = append(peers, peer)
		}
		time.Sleep(10 * time.Second)
		return peers
	}
	full := func(s *scene, r wstest.Request, why string) {
		peer, answer := s.Handshake("one more", r)
		if peer != nil || answer.Status != http.StatusTooManyRequests {
			s.Fail("one more should get 429, because %s; %s.", why, answer)
		}
	}
	free := func(s *scene, r wstest.Request, why string) {
		if peer, answer := s.Handshake("somebody else", r); peer == nil {
			s.Fail("somebody else should get in, because %s; %s.", why, answer)
		}
	}
	cfg := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.8.8.0/24"), netip.MustParsePrefix("2001:db8:8::1/128")}}

	t.sceneWith(cfg, func(s *scene) {
		peers := fill(s, via("10.8.8.1", "203.0.113.7"))
		full(s, via("10.8.8.2", "203.0.113.7"), "203.0.113.7 is full, through whichever proxy it comes")
		full(s, via("10.8.8.1", "198.51.100.1,203.0.113.7"), "what stands left of 203.0.113.7 was sent by the client and can be forged")
		full(s, via("10.8.8.1", "198.51.100.1, 203.0.113.7"), "a list may have a space after its commas: cut it off before you parse")
		full(s, via("10.8.8.1", "198.51.100.1", "203.0.113.7"), "two header lines are one list")
		full(s, via("10.8.8.1", "203.0.113.7", "10.8.8.9"), "two header lines are one list, and 10.8.8.9 is a trusted proxy too")
		full(s, via("10.8.8.1", "::ffff:203.0.113.7"), "::ffff:203.0.113.7 is 203.0.113.7")
		full(s, via("10.8.8.1", "203.0.113.7, 10.8.8.9"), "10.8.8.9 is a trusted proxy too: the client stands left of it")
		full(s, via("::ffff:10.8.8.1", "203.0.113.7"), "::ffff:10.8.8.1 is the trusted proxy 10.8.8.1")
		full(s, via("10.8.8.1", "203.0.113.7:4711"), "a proxy may write the port behind the address")
		full(s, via("10.8.8.1", "[::ffff:203.0.113.7]:4711"), "a proxy may write brackets and a port")
		full(s, via("10.8.8.1", "[::ffff:203.0.113.7]"), "a proxy may write brackets without a port")
		free(s, via("10.8.8.1", "203.0.113.8"), "203.0.113.8 has no connection, and only shares the proxy")
		free(s, via("203.0.113.9", "203.0.113.7"), "203.0.113.9 is no trusted proxy, and counts for itself")
		for _, odd := range []string{"", "unknown", "203.0.113.7, nonsense, "} {
			_, answer := s.Handshake("somebody else", via("10.8.8.3", odd))
			s.FailUnless(answer.Err == nil, "a proxy may send what is no address; %s.", answer)
			if answer.Status == http.StatusTooManyRequests {
				s.FailBecause("an entry that is no address is skipped. Stop at it: what stands left of it can be forged.",
					"somebody else counts as 203.0.113.7, which is full; %s.", answer)
			}
		}
		peers[0].Leave()
		s.Pass(grace)
		free(s, via("10.8.8.1", "203.0.113.7"), "one of its connections has ended: the address that a slot was taken for gets it back")
	})
	t.sceneWith(cfg, func(s *scene) {
		fill(s, via("10.8.8.4", "198.51.100.9, unknown"))
		full(s, wstest.Request{IP: "10.8.8.4"}, "the reading stops at what is no address, so that the proxy itself counts")
		if peer, answer := s.Handshake("somebody else", via("10.8.8.5", "unknown")); peer == nil {
			s.FailBecause("what is no address is taken for one all the same, which everybody shares who sends such a thing. Stop there, and keep the address from before.",
				"somebody else should get in, because 10.8.8.5 is another proxy, and counts for itself; %s.", answer)
		}
	})
	t.sceneWith(cfg, func(s *scene) {
		fill(s, via("2001:db8:8::1", "2001:db8:0:1::1"))
		full(s, via("2001:db8:8::1", "2001:db8:0:1::2"), "2001:db8:0:1::/64 is full, and IPv6 counts by /64 behind a proxy too")
		free(s, via("2001:db8:8::1", "203.0.113.7"), "203.0.113.7 has no connection, and only shares the proxy")
	})
	t.sceneWith(cfg, func(s *scene) {
		s.Did("%d peers, each from an address of its own, connect through 10.8.8.1 at once", 2*handshakeBurst)
		for i := range 2 * handshakeBurst {
			if peer, answer := s.HandshakeQuietly(via("10.8.8.1", fmt.Sprintf("203.0.113.%d", i+1))); peer == nil {
				s.FailBecause("the rate of handshakes counts another address than the cap: the proxy's, for all who come through it.",
					"number %d could not connect: %s.", i+1, answer)
			}
		}
	})
	t.sceneWith(cfg, func(s *scene) {
		fill(s, via("203.0.113.9", "198.51.100.1"))
		full(s, via("203.0.113.9", "198.51.100.2"), "203.0.113.9 is no trusted proxy, whatever it sends")
		free(s, via("10.8.8.1", "198.51.100.1"), "198.51.100.1 has no connection: somebody else only used its name")
	})
	t.scene(func(s *scene) {
		s.Did("no proxy is trusted")
		fill(s, via("10.8.8.1", "198.51.100.1"))
		full(s, via("10.8.8.1", "198.51.100.2"), "by default no proxy is trusted")
		for _, header := range []http.Header{
			{"X-Real-Ip": {"198.51.100.3"}},
			{"True-Client-Ip": {"198.51.100.3"}},
			{"Forwarded": {"for=198.51.100.3"}},
		} {
			full(s, wstest.Request{IP: "10.8.8.1", Header: header}, "what a client says of itself does not count, whatever the header")
		}
	})
}

// tryFrom lets as many addresses try a handshake each, which fails, and returns how
// many are told that they have tried too often.
func (s *scene) tryFrom(network, addresses int) (refused int) {
	request, _ := http.ReadRequest(bufio.NewReader(bytes.NewReader(wstest.Request{}.Bytes("/ws"))))
	for i := range addresses {
		r := request.WithContext(context.Background()) // a copy
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", network, i>>8, i&0xff)
		w := httptest.NewRecorder()
		s.HTTP.Handler.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			refused++
		}
		if i%100 == 0 {
			s.Settle() // shows the watch that something goes on: a server may go through all addresses each time
		}
	}
	return refused
}

func forgetting(t *trial) {
	t.scene(func(s *scene) {
		s.Did("for 200 s 10.9.0.1 tries more often than it may, and leaves each time that it gets in")
		in := s.hammer("10.9.0.1", handshakeBurst)
		for range 100 {
			time.Sleep(2 * time.Second)
			s.hammer("10.9.0.2", 1) // gives the server an occasion to forget
			in += s.hammer("10.9.0.1", 2*handshakeRate+1)
		}
		if most := handshakeBurst + 200*handshakeRate; in > most+2 {
			s.FailBecause("an address is deleted when it has no connection, or after some time. Delete it when all its tokens have come back, too: then it is as good as new.",
				"it got in %d times, and not %d: its burst has come back too early.", in, most)
		}
	})
	t.scene(func(s *scene) {
		const first, others = 20, 1500 // if any may be forgotten, one of the first is
		s.Did("%d addresses try %d times each at once, and then %d others try", first, handshakeBurst, others)
		for range handshakeBurst {
			s.tryFrom(6, first)
		}
		s.tryFrom(7, others)
		if again := first - s.tryFrom(6, first); again > 0 {
			s.FailBecause("an address is forgotten when there are many of them, although it is not as good as new: its tokens have not come back.",
				"%d of the first may try again at once: their burst has come back too early.", again)
		}
	})
	t.scene(func(s *scene) {
		const each, rounds = 2500, 6
		// The runtime keeps what it needs for as many goroutines as there were at
		// once. A server may have a timer for each address, and all go off together.
		var timers sync.WaitGroup
		for range each {
			timers.Go(func() { time.Sleep(time.Second) })
		}
		timers.Wait()
		s.Did("each hour %d addresses try a handshake, and are never seen again", each)
		var first, last uint64
		refused := 0
		for round := range rounds {
			refused += s.tryFrom(20+round, each)
			time.Sleep(time.Hour)
			s.hammer("10.9.0.1", 1)
			s.Settle()
			s.Log.Clear()
			switch round {
			case 1:
				first = s.Heap()
			case rounds - 1:
				last = s.Heap()
			}
		}
		if refused > 0 {
			s.Fail("%d of the first handshakes of an address got 429.", refused)
		}
		if grown := int64(last) - int64(first); grown > (rounds-2)*each*30 { // a key and a count need more
			s.FailBecause("an address that has gone is never deleted, or still has a slot that nobody gave back (8.1).",
				"after %d hours the server needs much more memory than after two: it remembers all addresses.", rounds)
		}
	})
	t.scene(forgetJustInTime)
	t.scene(forgetWhileEntering)
	t.scene(func(s *scene) { // a table that is not there does not grow: it must count, too
		s.fill("10.9.0.1")
		s.Pass(time.Hour)
		s.wantFullOr("10.9.0.1", "an address is forgotten that still has connections, or nothing is counted at all.")
	})
}
