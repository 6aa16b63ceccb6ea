package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// figures are what a scenario has measured, by name.
type figures map[string]float64

// A scenario is run against a fresh process.
type scenario struct {
	name string
	run  func(r *run) error
}

var scenarios = []scenario{
	{"fanout", fanOut(window)},
	{"deep", fanOut(deepWindow)},
	{"rate", steady},
	{"burst", allAtOnce(receivers, senders, burstEach, messageSize)},
	{"each", allAtOnce(receivers, receivers, 1, messageSize)},
	{"each1k", allAtOnce(1000, 1000, 1, messageSize)},
	{"each40", allAtOnce(receivers, receivers, burstEach, messageSize)},
	{"large", allAtOnce(receivers, senders, burstEach, largest)},
	{"flood", flood},
	{"slow", slow},
	{"churn", churn},
	{"many", many},
	{"back", comeBack},
}

const (
	receivers   = 200
	many5000    = 5000
	messageSize = 64
	largest     = 32 << 10 // of a message
	window      = 32       // messages that are under way in fan-out, of all senders together
	deepWindow  = 240      // the same for servers with long queues; gorilla's chat has room for 256
	fanOutTime  = 1500 * time.Millisecond
	warmUp      = 300 * time.Millisecond
	perSecond   = 200 // messages, of all senders together
	steadyTime  = 1500 * time.Millisecond
	burstEach   = 40   // messages of each sender at once: as many as 08-limits lets pass
	floodEach   = 1000 // messages of each sender
	stalledSize = 500  // of a message when some do not read
	stalled     = 5
	stalledTime = 3 * time.Second
	churnTime   = 1500 * time.Millisecond
	settleTime  = 1000 * time.Millisecond // for memory
	endTime     = 20 * time.Second        // for a shutdown
	coming      = 1000                    // clients that come back
	missedEach  = 10_000                  // messages that each of them has missed
)

// A run is one scenario with one peer.
type run struct {
	*load
	server  *server
	figures figures
}

// measure tells what f costs: the server's and our own processor time for each
// of the deliveries that happen meanwhile, and their rate.
func (r *run) measure(f func() error) error {
	cpu, err := r.server.cpu()
	if err != nil {
		return err
	}
	own, begun, before := ownCPU(), r.now(), r.delivered
	r.latency = histogram{}
	if err := f(); err != nil {
		return err
	}
	cpuAfter, err := r.server.cpu()
	if err != nil {
		return err
	}
	n := float64(r.delivered - before)
	r.figures["deliveries"] = n
	r.figures["per second"] = n / (r.now() - begun).Seconds()
	r.figures["server ns each"] = float64(cpuAfter-cpu) / n
	r.figures["load ns each"] = float64(ownCPU()-own) / n
	r.figures["p50 us"] = float64(r.latency.quantile(0.50).Nanoseconds()) / 1e3
	r.figures["p99 us"] = float64(r.latency.quantile(0.99).Nanoseconds()) / 1e3
	return nil
}

// account compares what the clients that read have got with what was sent.
func (r *run) account() {
	var sent, expected, delivered, disorder, evicted int
	for _, n := range r.sent {
		sent += int(n)
	}
	for _, c := range r.clients {
		if c.stalled {
			continue
		}
		expected += sent
		delivered += c.delivered
		disorder += c.disorder
		if c.state == gone {
			evicted++
		}
	}
	r.figures["expected"] = float64(expected)
	r.figures["delivered"] = float64(delivered)
	r.figures["lost"] = float64(expected - delivered)
	r.figures["disorder"] = float64(disorder)
	r.figures["evicted"] = float64(evicted)
}

// closedLoop sends as fast as the slowest reader takes it: the next message when
// that one has read the one that was window before it.
func (r *run) closedLoop(d time.Duration, window int) error {
	for end := r.now() + d; r.now() < end && r.joined > 0; {
		for s := range senders {
			if r.clients[s].state != joined {
				continue
			}
			for allowed := r.slowest(s) + int32(window/senders); r.sent[s] < allowed; {
				r.queue(s, r.now())
			}
			r.flush(r.clients[s])
		}
		before := r.delivered
		if err := r.poll(10 * time.Millisecond); err != nil {
			return err
		}
		if r.delivered == before {
			if err := r.sweep(0); err != nil {
				return err
			}
		}
	}
	return r.settle()
}

// atRate sends at a fixed rate. A message counts from when it is due.
func (r *run) atRate(d time.Duration, perSecond int) error {
	interval := time.Second / time.Duration(perSecond)
	due, end := r.now(), r.now()+d
	for i := 0; due < end; i++ {
		for r.now() < due {
			if err := r.poll(due - r.now()); err != nil {
				return err
			}
		}
		if c := r.clients[i%senders]; c.state == joined {
			r.queue(i%senders, due)
			r.flush(c)
		}
		due += interval
	}
	return r.settle()
}

// join connects n clients.
func (r *run) join(n int) error {
	if err := r.connect(n); err != nil {
		return err
	}
	return r.untilAllHear()
}

// sustain lets f warm up, measures it for a time, and accounts for all of it.
func (r *run) sustain(d time.Duration, f func(d time.Duration) error) error {
	if err := f(warmUp); err != nil {
		return err
	}
	err := r.measure(func() error { return f(d) })
	r.account()
	return err
}

// fanOut: as fast as all receivers take it, with so many messages under way, of all
// senders together.
func fanOut(window int) func(*run) error {
	return func(r *run) error {
		if err := r.join(receivers); err != nil {
			return err
		}
		if err := r.batchReads(window); err != nil {
			return err
		}
		return r.sustain(fanOutTime, func(d time.Duration) error { return r.closedLoop(d, window) })
	}
}

// steady: at a fixed rate.
func steady(r *run) error {
	if err := r.join(receivers); err != nil {
		return err
	}
	return r.sustain(steadyTime, func(d time.Duration) error { return r.atRate(d, perSecond) })
}

// allAtOnce: of so many clients some send each messages in the same moment, no more
// than 08-limits has as a burst by default.
func allAtOnce(clients, sending, each, size int) func(*run) error {
	return func(r *run) error {
		r.size = size
		r.setSenders(sending)
		if err := r.join(clients); err != nil {
			return err
		}
		for s := range sending {
			for range each {
				r.queue(s, r.now())
			}
		}
		err := r.measure(r.settle)
		r.account()
		return err
	}
}

// flood: the senders do not wait for anybody.
func flood(r *run) error {
	if err := r.join(receivers); err != nil {
		return err
	}
	if err := r.batchReads(window); err != nil {
		return err
	}
	for s := range senders {
		for range floodEach {
			r.queue(s, r.now())
		}
	}
	if err := r.measure(r.settle); err != nil {
		return err
	}
	r.account()

	// Those who have stayed should have all that anybody has got.
	missing := 0
	for s := range senders {
		var most int32
		for _, c := range r.clients {
			most = max(most, c.next[s])
		}
		for _, c := range r.clients {
			if c.state == joined {
				missing += int(most)
			}
		}
	}
	for _, c := range r.clients {
		if c.state == joined {
			missing -= c.delivered
		}
	}
	r.figures["lost by those who stayed"] = float64(missing)
	peak, err := r.server.memory("VmHWM")
	r.figures["peak MB"] = float64(peak) / 1e6
	return err
}

// slow: some clients stop reading.
func slow(r *run) error {
	r.size = stalledSize
	if err := r.connect(receivers - stalled); err != nil {
		return err
	}
	// Over loopback the kernel takes megabytes before a server feels that nobody
	// reads. With the segment size and the window of a bad line it takes less.
	err := r.connect(stalled,
		func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) },
		func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400) })
	if err != nil {
		return err
	}
	if err := r.untilAllHear(); err != nil {
		return err
	}
	if err := r.atRate(warmUp, perSecond); err != nil {
		return err
	}
	if err := r.measure(func() error { return r.atRate(steadyTime, perSecond) }); err != nil {
		return err
	}
	before := r.figures["p99 us"]

	asleep := r.clients[receivers-stalled:]
	for _, c := range asleep {
		if err := r.stall(c, true); err != nil {
			return err
		}
	}
	if err := r.measure(func() error { return r.atRate(stalledTime, perSecond) }); err != nil {
		return err
	}
	r.account()
	r.figures["p99 us, all reading"] = before
	r.figures["p99 ratio"] = r.figures["p99 us"] / before

	// What they did not read is still there, and behind it the end.
	for _, c := range asleep {
		if err := r.stall(c, false); err != nil {
			return err
		}
	}
	for end := r.now() + 500*time.Millisecond; r.now() < end; {
		if err := r.poll(end - r.now()); err != nil {
			return err
		}
	}
	cut := 0
	for _, c := range asleep {
		if c.state == gone {
			cut++
		}
	}
	r.figures["stalled cut off"] = float64(cut)
	return nil
}

// churn: clients join, and leave at once.
func churn(r *run) error {
	if err := r.connect(inFlight); err != nil {
		return err
	}
	cpu, err := r.server.cpu()
	if err != nil {
		return err
	}
	r.joinTime = histogram{}
	begun, done, failed := r.now(), 0, 0
	for r.now()-begun < churnTime {
		for _, c := range r.clients {
			switch {
			case c.state == joined && !c.closing:
				c.closing = true
				r.write(c, 8, "\x03\xe8") // 1000
			case c.state == gone:
				if c.closing {
					done++
				} else {
					failed++
				}
				if err := r.dial(c); err != nil {
					return err
				}
			}
		}
		if err := r.poll(10 * time.Millisecond); err != nil {
			return err
		}
	}
	cpuAfter, err := r.server.cpu()
	if err != nil {
		return err
	}
	r.figures["connections"] = float64(done)
	r.figures["failed"] = float64(failed)
	r.figures["per second"] = float64(done) / (r.now() - begun).Seconds()
	r.figures["server us each"] = float64((cpuAfter - cpu).Microseconds()) / float64(done)
	r.figures["p50 us"] = float64(r.joinTime.quantile(0.50).Nanoseconds()) / 1e3
	r.figures["p99 us"] = float64(r.joinTime.quantile(0.99).Nanoseconds()) / 1e3
	return nil
}

// comeBack: some have been away, and come back at once, while the others go on.
func comeBack(r *run) error {
	if r.dialect.query == "" {
		return errors.New("knows no numbers")
	}
	if err := r.connect(receivers); err != nil {
		return err
	}
	var hello struct{ Log string }
	if err := json.Unmarshal(r.greeting, &hello); err != nil {
		return err
	}
	for s := range senders {
		for range missedEach / senders {
			r.queue(s, r.now())
		}
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.dialect.query = "?after=0&log=" + hello.Log
	r.timed = receivers
	err := r.measure(func() error {
		if err := r.connect(coming); err != nil {
			return err
		}
		return r.atRate(steadyTime, perSecond)
	})
	r.account()
	return err
}

// many: what idle clients cost, and how their server says goodbye to them.
func many(r *run) error {
	base, err := r.server.memory("VmRSS")
	if err != nil {
		return err
	}
	if err := r.connect(many5000); err != nil {
		return err
	}
	each := func() (float64, error) {
		for end := r.now() + settleTime; r.now() < end; {
			if err := r.poll(end - r.now()); err != nil {
				return 0, err
			}
		}
		rss, err := r.server.memory("VmRSS")
		return float64(rss-base) / many5000, err
	}
	if r.figures["idle bytes each"], err = each(); err != nil {
		return err
	}
	if err := r.untilAllHear(); err != nil {
		return err
	}
	if r.figures["bytes each after a message"], err = each(); err != nil {
		return err
	}

	begun := r.now()
	r.server.terminate()
	for r.joined > 0 && r.now()-begun < endTime {
		if err := r.poll(10 * time.Millisecond); err != nil {
			return err
		}
	}
	select {
	case <-r.server.ended:
		r.figures["process ended ms"] = float64((r.now() - begun).Milliseconds())
	case <-time.After(endTime):
		return fmt.Errorf("the process has not ended")
	}
	var told, left int
	var lastTold, lastGone time.Duration
	for _, c := range r.clients {
		if c.closeCode != 0 {
			told++
			lastTold = max(lastTold, c.toldAt-begun)
		}
		if c.state == gone {
			lastGone = max(lastGone, c.goneAt-begun)
		} else {
			left++
		}
	}
	r.figures["told"] = float64(told)
	r.figures["last told ms"] = float64(lastTold.Microseconds()) / 1e3
	r.figures["last gone ms"] = float64(lastGone.Microseconds()) / 1e3
	r.figures["left"] = float64(left)
	return nil
}
