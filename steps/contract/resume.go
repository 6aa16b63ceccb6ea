package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// resume is the contract of step 10: broadcasts have numbers, and a peer comes back
// to where it was.
//
// A peer that counts asks for it in the query of its handshake: with "after=" if it
// has nothing yet, with "after=17&log=ID" if it has all up to the 17th broadcast of
// that log. Its first message is a hello. From then on it counts what comes: each
// message is the next broadcast, unless the text hello.Alone comes before it.
var resume = []Promise{
	{
		Task: "10.1", Name: "a newcomer that counts is told its first number, and gets everything from it on; others see what they saw",
		cause: "the number is looked up in another moment than the place in the log, or counts something else than broadcasts.",
		test: func(t *trial) {
			t.scene(firstNumbers)
			t.scene(helloComesFirst)
			t.scene(countInAFlood)
			t.scene(numbersOfAll)
			logsHaveNames(t)
		},
		meets: true,
	},
	{
		Task: "10.2", Name: "a peer that comes back with its number gets everything since, each once and in order, and then the present",
		cause: "the place of a number is looked up wrongly: in another chunk, or by one beside.",
		test: func(t *trial) {
			t.scene(backAfterEach)
			t.scene(backAfterMany)
			t.scene(backFromTheBeginning)
			t.scene(backInAFlood)
			t.scene(allBackAtOnce)
			t.scene(backAndSlow)
		},
		meets: true,
	},
	{
		Task: "10.2", Name: "a number that cannot be is refused with 400, before the upgrade",
		cause: "a number is used as it comes: one that nobody has been told yet, or none at all.",
		test:  func(t *trial) { t.scene(refusedNumbers) },
	},
	{
		Task: "10.3", Name: "what is gone is told as a gap, and how much it is; the peer goes on from the present",
		cause: "the log has let go of the messages behind the number, or never had them, and the peer is sent something all the same.",
		test: func(t *trial) {
			t.scene(gapIsTold)
			t.scene(edgeOfTheLog)
			anotherLog(t)
		},
	},
	{
		Task: "10.4", Name: "a message for one peer alone does not count",
		cause: "a peer that counts is not told that a message is for it alone, so its number is wrong from then on.",
		test: func(t *trial) {
			t.scene(aloneDoesNotCount)
			helloBeforeHooks(t)
			t.scene(aloneAtTheEnd)
			t.scene(aloneInAFlood)
		},
	},
}

// follower is a peer that counts.
type follower struct {
	*wstest.Peer
	s     *scene
	hello hello
	alone [][]byte // what came for it alone
}

// hello is the first message to a peer that counts.
type hello struct {
	Log     string `json:"log"`     // the log that the numbers are of
	Next    int64  `json:"next"`    // the number of the next broadcast
	Waiting int64  `json:"waiting"` // how many broadcasts wait for the peer already
	Gap     bool   `json:"gap"`     // between what the peer has and Next there were others, or may have been
	Missed  int64  `json:"missed"`  // how many, or 0 if nobody knows
	Alone   string `json:"alone"`   // this text says: the message behind it is for you alone
}

const causeNoHello = "a peer that asks for numbers gets a hello first: a text message with JSON, before any other (task 10.1)."

// follow lets a newcomer connect that counts.
func (s *scene) follow(name string) *follower {
	return s.greeted(s.ConnectFrom(name, wstest.Request{Query: "after="}))
}

// back lets a peer connect that has all up to number n of a log.
func (s *scene) back(name string, n int64, log string) *follower {
	return s.greeted(s.ConnectFrom(name, wstest.Request{Query: fmt.Sprintf("after=%d&log=%s", n, log)}))
}

// backQuietly is back without a word in the story.
func (s *scene) backQuietly(n int64, log string) *follower {
	p, answer := s.HandshakeQuietly(wstest.Request{Query: fmt.Sprintf("after=%d&log=%s", n, log)})
	if p == nil {
		s.Fail("a peer could not come back with after=%d: %s.", n, answer)
	}
	return s.greeted(p)
}

// greeted reads a peer's hello.
func (s *scene) greeted(p *wstest.Peer) *follower {
	f := &follower{Peer: p, s: s}
	got, ok := p.Next()
	if !ok {
		s.FailBecause(causeNoHello, "%s asked for numbers, and got no message.", p.Name)
	}
	var keys map[string]any
	err := json.Unmarshal(got.Payload, &f.hello)
	if got.Op != wstest.OpText || err != nil || json.Unmarshal(got.Payload, &keys) != nil {
		s.FailBecause(causeNoHello, "the first message to %s was %s, and not a hello.", p.Name, got)
	}
	for _, key := range []string{"log", "next", "waiting", "gap", "missed", "alone"} {
		if _, ok := keys[key]; !ok {
			s.FailBecause(causeNoHello, "the hello to %s has no %q: %s", p.Name, key, got.Payload)
		}
	}
	s.FailUnless(f.hello.Log != "" && len(f.hello.Alone) >= 16,
		"the hello to %s has a log %q and a text for messages to it alone %q: the first must not be empty, and the second so long that nobody says it by chance.", p.Name, f.hello.Log, f.hello.Alone)
	return f
}

// next returns the next broadcast, and keeps what comes for the peer alone.
func (f *follower) next() (wstest.Frame, bool) {
	for {
		got, ok := f.Next()
		if !ok || !f.isAlone(got) {
			return got, ok
		}
		got, ok = f.Next()
		if !ok {
			f.s.Fail("%s was told that the next message is for it alone, and then none came.", f.Name)
		}
		f.alone = append(f.alone, got.Payload)
	}
}

// broadcasts returns those that have come, and keeps what came for the peer alone.
func (f *follower) broadcasts() []wstest.Frame {
	var all []wstest.Frame
	frames := f.Messages()
	for i := 0; i < len(frames); i++ {
		switch {
		case !f.isAlone(frames[i]):
			all = append(all, frames[i])
		case i+1 == len(frames):
			f.s.Fail("%s was told that the next message is for it alone, and then none came.", f.Name)
		default:
			i++
			f.alone = append(f.alone, frames[i].Payload)
		}
	}
	return all
}

func (f *follower) isAlone(got wstest.Frame) bool {
	return got.Op == wstest.OpText && string(got.Payload) == f.hello.Alone
}

// wantHello demands what a hello says beside the names.
func (f *follower) wantHello(next int64, gap bool, missed int64) {
	const cause = "next is the number of the broadcast that comes next, the first has number 1; gap is true if something was lost before it, and missed how many."
	if h := f.hello; h.Next != next || h.Gap != gap || h.Missed != missed {
		f.s.FailBecause(cause, "the hello to %s says next %d, gap %t, missed %d, and not next %d, gap %t, missed %d.", f.Name, h.Next, h.Gap, h.Missed, next, gap, missed)
	}
}

// wantNumbers demands the broadcasts from the hello's number up to last. Each says
// its number.
func (f *follower) wantNumbers(last int64) {
	for n := f.hello.Next; n <= last; n++ {
		got, ok := f.next()
		f.wantNumber(got, ok, n)
	}
	f.s.Settle()
	if more := f.broadcasts(); len(more) > 0 {
		f.s.Fail("after broadcast %d, the last, %s got %d more: %s first.", last, f.Name, len(more), more[0])
	}
}

// wantNumber demands that a broadcast is the one with number n.
func (f *follower) wantNumber(got wstest.Frame, ok bool, n int64) {
	said, _, _ := strings.Cut(string(got.Payload), " ")
	switch {
	case !ok:
		f.s.Fail("%s, whose hello said next %d, did not get broadcast %d.", f.Name, f.hello.Next, n)
	case said != fmt.Sprint(n):
		f.s.Fail("%s, whose hello said next %d, got broadcast %.20q where %d should have come.", f.Name, f.hello.Next, got.Payload, n)
	}
}

// say broadcasts messages that say their numbers, from first to last.
func (s *scene) say(first, last int64) {
	for n := first; n <= last; n++ {
		s.Broadcast(fmt.Append(nil, n))
	}
	s.Settle()
}

// firstNumbers lets peers join one after the other.
func firstNumbers(s *scene) {
	ann := s.follow("ann")
	ann.wantHello(1, false, 0)
	s.Did("3 messages are broadcast")
	s.say(1, 3)
	bob := s.follow("bob")
	bob.wantHello(4, false, 0)
	s.FailUnless(ann.hello.Log == bob.hello.Log, "ann is told the log %q, and bob %q. There is one.", ann.hello.Log, bob.hello.Log)
	if ann.hello.Alone == bob.hello.Alone {
		s.FailBecause("the text for messages to one peer alone is the same for all. Whoever knows it can broadcast it, and others would count wrongly from then on: each connection needs a random one of its own.",
			"ann and bob are told the same text.")
	}
	eve := s.ConnectFrom("eve, who does not ask for numbers,", wstest.Request{Query: "name=50%&a;b"})
	s.Did("2 more are broadcast")
	s.say(4, 5)
	ann.wantNumbers(5)
	bob.wantNumbers(5)
	eve.WantText("4", "5")
}

// helloComesFirst broadcasts while a peer's first write is under way.
func helloComesFirst(s *scene) {
	s.Did("20 peers connect while 20 messages are broadcast")
	flood := s.Start(func() {
		for n := range 20 {
			s.Broadcast(fmt.Append(nil, n+1))
		}
	})
	peers, _ := s.HandshakeAll("peer", 20, wstest.Request{Query: "after="})
	s.Settle()
	s.FailUnless(flood.Returned(), "Broadcast has not returned.")
	for _, p := range peers {
		s.greeted(p).wantNumbers(20)
	}
}

// countInAFlood lets newcomers join while somebody broadcasts.
func countInAFlood(s *scene) {
	const all, joining = 2000, 20
	s.Did("%d messages are broadcast; meanwhile %d peers connect that count", all, joining)
	var said atomic.Int64
	flood := s.Start(func() {
		for n := range int64(all) {
			s.Broadcast(fmt.Append(nil, n+1))
			said.Store(n + 1)
			time.Sleep(time.Millisecond)
		}
	})
	var peers []*follower
	for range joining {
		time.Sleep(73 * time.Millisecond)
		before := said.Load()
		p, _ := s.HandshakeQuietly(wstest.Request{Query: "after="})
		s.FailUnless(p != nil, "a peer could not connect during the flood.")
		f := s.greeted(p)
		if f.hello.Next <= before {
			s.FailBecause("a newcomer is put at the beginning of the log, or of a chunk.",
				"a newcomer was told next %d, when %d had been broadcast before it came.", f.hello.Next, before)
		}
		peers = append(peers, f)
	}
	s.Pass(all * time.Millisecond)
	s.FailUnless(flood.Returned(), "Broadcast has not returned.")
	for _, f := range peers {
		f.wantNumbers(all)
	}
}

// numbersOfAll broadcasts all kinds of messages, from two goroutines at once: each has
// a number, and the same for everybody.
func numbersOfAll(s *scene) {
	const rounds = 200
	ann := s.follow("ann")
	bob := s.Connect("bob")
	s.Did("bob sends an empty text, an empty binary message, and two with bytes")
	bob.SendFrame(wstest.Text(""))
	bob.SendFrame(wstest.Binary(""))
	bob.SendFrame(wstest.Binary("\x00\x01"))
	bob.Send(strings.Repeat("x", 30_000))
	s.Settle()
	s.follow("cat").wantHello(5, false, 0)
	s.Did("%d times two goroutines call Broadcast at once", rounds)
	s.together(rounds, time.Millisecond, func(side, round int) {
		s.Broadcast(fmt.Appendf(nil, "%d of goroutine %d", round, side))
		if round == rounds/2 {
			s.Broadcast([]byte(long(100_000))) // refused: it has no number
		}
	})
	s.Settle()
	got := len(ann.broadcasts())
	if f := s.follow("dan"); f.hello.Next != int64(got)+1 {
		s.FailBecause("the number is counted up beside the lock under which a message gets its place, or also for messages that are refused.",
			"dan was told next %d, when ann had got %d broadcasts, from the first on.", f.hello.Next, got)
	}
}

// logsHaveNames looks at two servers, one after the other.
func logsHaveNames(t *trial) {
	var logs []string
	for range 2 {
		t.scene(func(s *scene) {
			logs = append(logs, s.follow("ann").hello.Log)
			if len(logs) == 2 && logs[0] == logs[1] {
				s.FailBecause("the name of the log is a constant. Each log needs one of its own, such as a UUID.",
					"the log of another server has the same name, %q. So a peer could come with a number that means something else here.", logs[0])
			}
		})
	}
}

// backAfterEach lets a peer come and go at each message.
func backAfterEach(s *scene) {
	const all = 60
	log := s.follow("ann").hello.Log
	s.Did("%d messages are broadcast one by one; before each of them bob comes with the number that he has, and hangs up after it", all)
	for n := range int64(all) {
		bob := s.backQuietly(n, log)
		bob.wantHello(n+1, false, 0)
		s.say(n+1, n+1)
		bob.wantNumbers(n + 1)
		bob.Leave()
		s.Settle()
	}
	s.Did("cat comes back with each number from 0 to %d", all)
	for n := range int64(all + 1) {
		cat := s.backQuietly(n, log)
		cat.wantHello(n+1, false, 0)
		cat.wantNumbers(all)
		cat.Leave()
		s.Settle()
	}
}

// backAfterMany lets a peer miss messages of all sizes, in many chunks, and come back
// with numbers from all over the log.
func backAfterMany(s *scene) {
	const all = 3000
	ann := s.follow("ann")
	s.Did("%d messages of 1 to 5000 bytes are broadcast", all)
	for n := range int64(all) {
		text := fmt.Append(nil, n+1, " ")
		s.Broadcast(append(text, bytes.Repeat([]byte("x"), int(n*n%5000))...))
	}
	s.Settle()
	for n := int64(all); n >= 2000; n -= 37 {
		bob := s.backQuietly(n, ann.hello.Log)
		bob.wantHello(n+1, false, 0)
		bob.wantNumbers(all)
		bob.Leave()
		s.Settle()
	}
}

// backFromTheBeginning asks for all that there was, also when that is nothing.
func backFromTheBeginning(s *scene) {
	ann := s.follow("ann")
	early := s.back("bob", 0, ann.hello.Log)
	early.wantHello(1, false, 0)
	s.Did("1000 messages are broadcast")
	s.say(1, 1000)
	early.wantNumbers(1000)
	late := s.back("cat", 0, ann.hello.Log)
	late.wantHello(1, false, 0)
	late.wantNumbers(1000)
	for f, want := range map[*follower]int64{early: 0, late: 1000} {
		if f.hello.Waiting != want {
			s.FailBecause("waiting is what the peer gets at once: from next up to what was broadcast last.", "the hello to %s says waiting %d, and not %d.", f.Name, f.hello.Waiting, want)
		}
	}
	s.say(1001, 1001)
	late.hello.Next = 1001
	late.wantNumbers(1001)
}

// backInAFlood lets peers come and go while others broadcast, each with its number.
func backInAFlood(s *scene) {
	const all, peers = 3000, 10
	log := s.follow("ann").hello.Log
	s.Did("%d messages are broadcast; meanwhile %d peers come and go, each with the number that it has", all, peers)
	flood := s.Start(func() {
		for n := range int64(all) {
			s.Broadcast(fmt.Append(nil, n+1))
			time.Sleep(time.Millisecond)
		}
	})
	has := make([]int64, peers)
	for turn := range all / 15 {
		i := turn % peers
		f := s.backQuietly(has[i], log)
		f.wantHello(has[i]+1, false, 0)
		time.Sleep(time.Duration(turn%30) * time.Millisecond)
		for _, got := range f.broadcasts() {
			has[i]++
			f.wantNumber(got, true, has[i])
		}
		if turn%2 == 0 {
			f.Reset()
		} else {
			f.Leave()
		}
	}
	s.Pass(all * time.Millisecond)
	s.FailUnless(flood.Returned(), "Broadcast has not returned.")
	for i := range has {
		s.backQuietly(has[i], log).wantNumbers(all)
	}
}

// allBackAtOnce lets many come back in the same moment, to a full log.
func allBackAtOnce(s *scene) {
	const all, peers, each = 200, 300, 64 << 10
	ann := s.follow("ann")
	s.Did("%d messages of %d bytes are broadcast", all, heavySize)
	for n := range int64(all) {
		text := fmt.Append(nil, n+1, " ")
		s.Broadcast(append(text, bytes.Repeat([]byte("x"), heavySize-len(text))...))
		s.Settle()
		ann.Messages()
	}
	held := s.Heap()
	s.Did("%d peers come back that have nothing of it, and read their answer and their hello", peers)
	buf := make([]byte, 1<<10)
	query := "/ws?after=0&log=" + ann.hello.Log
	var back []*wstest.Raw
	for range peers {
		raw := s.Dial("a peer")
		raw.Write(wstest.Request{}.Bytes(query))
		for got := ""; !strings.Contains(got, ann.hello.Log); {
			n, err := raw.Read(buf)
			s.FailUnless(err == nil, "a peer that came back with after=0 got no hello.")
			got += string(buf[:n])
		}
		back = append(back, raw)
	}
	s.Settle()
	if more := int64(s.Heap()) - int64(held); more > peers*each {
		s.FailBecause("what a peer missed is copied for it. It needs to be there once: the peer's cursor is put where it was.",
			"%d bytes more are in use while %d peers catch up, %d for each.", more, peers, more/peers)
	}
	for _, raw := range back {
		raw.Close()
	}
}

// backAndSlow lets a peer catch up that reads too slowly for it.
func backAndSlow(s *scene) {
	ann := s.follow("ann")
	s.Did("100 messages of %d bytes are broadcast", heavySize)
	say := func(first, last int64) {
		for n := first; n <= last; n++ {
			text := fmt.Append(nil, n, " ")
			s.broadcastAtOnce(append(text, bytes.Repeat([]byte("x"), heavySize-len(text))...))
		}
	}
	say(1, 100)
	ann.wantNumbers(100)
	eve := s.back("eve", 0, ann.hello.Log)
	eve.StopReading()
	s.Did("%d more are broadcast", s.over())
	last := int64(100 + s.over())
	say(101, last)
	ann.hello.Next = 101
	ann.wantNumbers(last)
	s.evicted()
	if !eve.Gone() {
		s.FailBecause("a peer that catches up is not held to the rule for all: who falls behind the log is cut off.",
			"eve's connection is still open on the server's side. She stopped reading while she caught up, and more than the log has been broadcast since.")
	}
	again := s.back("eve, again,", last-3, ann.hello.Log)
	again.wantHello(last-2, false, 0)
	again.wantNumbers(last)
}

// refusedNumbers asks for what cannot be.
func refusedNumbers(s *scene) {
	ann := s.follow("ann")
	s.Did("3 messages are broadcast")
	s.say(1, 3)
	ann.wantNumbers(3)
	log := ann.hello.Log
	for _, query := range []string{
		"after=4&log=" + log, "after=1000000&log=" + log, "after=9223372036854775807&log=" + log,
		"after=-1&log=" + log, "after=x&log=" + log, "after=1.5&log=" + log, "after=0x2&log=" + log, "after=1%202&log=" + log,
		"after=9223372036854775808&log=" + log, "after=18446744073709551617&log=" + log, "after=" + strings.Repeat("9", 1000) + "&log=" + log,
		"after=-1&log=another", "after=x&log=another", "after=" + strings.Repeat("1", 1000) + "&log=another",
		"after=&log=" + log, "after=1", "log=" + log, "after=1&after=2&log=" + log, "after=%zz&log=" + log,
	} {
		p, answer := s.HandshakeQuietly(wstest.Request{Query: query})
		if len(query) > 80 {
			query = query[:80] + "..."
		}
		if p != nil || answer.Status != http.StatusBadRequest {
			s.FailBecause("a number is from 0 up to that of the last broadcast, in decimal digits, with the log that it is of. All else is a mistake of the peer's, and it should hear so.",
				"a handshake with ?%s got %s, and not 400. Three messages have been broadcast.", query, answer)
		}
	}
	s.wantOnline(1)
	back := s.back("bob", 3, log)
	back.wantHello(4, false, 0)
	s.say(4, 4)
	back.wantNumbers(4)
}

// gapIsTold lets a peer come back when the log has let go of what it missed.
func gapIsTold(s *scene) {
	ann := s.follow("ann")
	s.Did("%d messages of %d bytes are broadcast", s.over(), heavySize)
	for _, text := range s.heavy("news", s.over()) {
		s.broadcastAtOnce([]byte(text))
		ann.Messages()
	}
	last := int64(s.over())
	for _, n := range []int64{0, 1, 7} {
		bob := s.back("bob", n, ann.hello.Log)
		if !bob.hello.Gap {
			s.FailBecause("nobody looks whether the log still has what comes after the number.",
				"bob has all up to broadcast %d of %d, more than the log holds, and is told of no gap.", n, last)
		}
		bob.wantHello(last+1, true, last-n)
		s.Settle()
		if got := bob.broadcasts(); len(got) > 0 {
			s.Fail("bob, who is told that he goes on with broadcast %d, got %d old ones.", last+1, len(got))
		}
		last++
		s.say(last, last)
		bob.wantNumbers(last)
	}
}

// edgeOfTheLog comes back with numbers around the oldest that the log has: each
// either gets all, or is told the gap.
func edgeOfTheLog(s *scene) {
	const all, size = 3000, 8000
	ann := s.follow("ann")
	s.Did("%d messages of %d bytes are broadcast", all, size)
	for n := range int64(all) {
		text := fmt.Append(nil, n+1, " ")
		s.Broadcast(append(text, bytes.Repeat([]byte("x"), size-len(text))...))
		s.Settle()
		ann.Messages()
	}
	ask := func(n int64) (gap bool) {
		f := s.backQuietly(n, ann.hello.Log)
		defer func() { f.Leave(); s.Settle() }()
		if f.hello.Gap {
			f.wantHello(all+1, true, all-n)
		} else {
			f.wantHello(n+1, false, 0)
			f.wantNumbers(all)
		}
		return f.hello.Gap
	}
	gone, kept := int64(0), int64(all)
	for kept-gone > 1 {
		if n := (gone + kept) / 2; ask(n) {
			gone = n
		} else {
			kept = n
		}
	}
	s.Did("a peer that has all up to %d gets the rest, one that has all up to %d is told a gap", kept, gone)
	for n := max(0, kept-12); n < kept+12; n++ {
		if gap := ask(n); gap != (n < kept) {
			s.Fail("a peer that comes back with number %d is told gap %t, beside the edge.", n, gap)
		}
	}
	if got := (all - kept) * size; got < logBytes/2 {
		s.Fail("a peer that missed %d bytes is told a gap. The log keeps %d.", got, logBytes)
	}
}

// anotherLog comes with a number of the server before.
func anotherLog(t *trial) {
	log := ""
	t.scene(func(s *scene) { log = s.follow("ann").hello.Log })
	t.scene(func(s *scene) {
		s.Did("5 messages are broadcast")
		s.say(1, 5)
		for _, n := range []int64{3, 0, 5, 6, 1 << 40} {
			bob := s.back("bob", n, log)
			if !bob.hello.Gap {
				s.FailBecause("the name of the log is not compared. A number of another log means nothing here.",
					"bob comes with a number of another server's log, and is told of no gap.")
			}
			bob.wantHello(6, true, 0)
			if got := bob.broadcasts(); len(got) > 0 {
				s.Fail("bob, who is told that he goes on with broadcast 6, got %d old ones.", len(got))
			}
			bob.Leave()
		}
	})
}

// aloneDoesNotCount sends to one id, between broadcasts.
func aloneDoesNotCount(s *scene) {
	p, id := s.connectIDFrom("ann", wstest.Request{Query: "after="})
	ann := s.greeted(p)
	bob, other := s.connectID("bob, who does not count,")
	s.Did("broadcasts and messages to each of them take turns")
	for n := range int64(5) {
		s.say(n+1, n+1)
		s.Send(id, fmt.Sprintf("alone %d", n+1))
		s.Send(other, fmt.Sprintf("alone %d", n+1))
		s.Settle()
	}
	ann.wantNumbers(5)
	if got := len(ann.alone); got != 5 || string(ann.alone[4]) != "alone 5" {
		s.FailBecause("before each message to one id, a peer that counts gets the text of its hello that says so, as a text message.", "ann got %d of 5 messages to her id that were told as such.", got)
	}
	for n := range 5 {
		bob.WantText(fmt.Sprint(n+1), fmt.Sprintf("alone %d", n+1))
	}
	back := s.back("ann", 3, ann.hello.Log)
	back.wantNumbers(5)
}

// helloBeforeHooks lets a hook send something to a joining peer.
func helloBeforeHooks(t *trial) {
	t.sceneFrom(func(s *scene) Config {
		return Config{OnJoin: func(_ context.Context, id string) {
			s.Send(id, "welcome")
			s.Broadcast([]byte("1 has joined"))
		}}
	}, func(s *scene) {
		s.Did("the hook of a joining client sends it a message, and broadcasts one")
		ann := s.follow("ann")
		ann.wantHello(1, false, 0)
		s.Settle()
		got := ann.broadcasts()
		if len(got) != 1 || string(got[0].Payload) != "1 has joined" {
			s.Fail("ann got %d broadcasts after her hello, and not the one of the hook.", len(got))
		}
	})
}

// aloneAtTheEnd sends to a peer that is to be told goodbye.
func aloneAtTheEnd(s *scene) {
	p, id := s.connectIDFrom("ann", wstest.Request{Query: "after="})
	ann := s.greeted(p)
	ann.StopReading()
	const all = 40 // so many that a select does not find them all before the end by chance
	s.Did("one message is broadcast, and %d are sent to her id", all)
	s.say(1, 1)
	for _, text := range texts("alone", all) {
		s.Send(id, text)
	}
	down := s.shutDown(time.Minute)
	s.Settle()
	ann.ResumeReading()
	s.Pass(time.Second)
	ann.wantNumbers(1)
	if len(ann.alone) != all {
		s.FailBecause("what is left in the queue at the end is written without the text that says that it is for this peer alone.", "ann got %d of %d messages to her id that were told as such.", len(ann.alone), all)
	}
	s.wantNil(down)
}

// aloneInAFlood sends to one id while others broadcast.
func aloneInAFlood(s *scene) {
	const rounds = 500
	p, id := s.connectIDFrom("ann", wstest.Request{Query: "after="})
	ann := s.greeted(p)
	s.Did("%d messages are broadcast and as many sent to her id, at once", rounds)
	s.together(rounds, time.Millisecond, func(side, round int) {
		if side == 0 {
			s.Broadcast(fmt.Append(nil, round+1))
		} else {
			s.Send(id, fmt.Sprint("alone ", round+1))
		}
	})
	s.Settle()
	ann.wantNumbers(rounds)
	if len(ann.alone) != rounds {
		s.Fail("ann got %d of %d messages to her id.", len(ann.alone), rounds)
	}
}
