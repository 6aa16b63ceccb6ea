package contract

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"example.com/wsworkshop/steps/internal/wstest"
)

// broadcast is the contract of step 4: a message to everyone, which no slow peer
// can delay.
var broadcast = []Promise{
	{
		Task: "4.1", Name: "everyone gets every message once, whole, in each sender's order",
		cause: "a message is not sent to every client in the map, the sender too; or several messages are joined in one frame; or one is written by several goroutines.",
		test: func(t *trial) {
			t.scene(toEveryone)
			t.scene(inOrder)
			t.scene(allAtOnce)
			t.scene(toMany)
			t.scene(halfAMessage)
			t.scene(inOrderToMany)
		},
	},
	{
		Task: "4.2", Name: "Broadcast takes no time, even with a peer that has stopped reading",
		cause: "Broadcast writes to the connections, or waits for room in a queue, or waits for a lock that is held while something is written.",
		test: func(t *trial) {
			t.scene(joinThenBroadcast)
			if t.Failed() { // by the race detector
				return
			}
			t.scene(broadcastToStalled)
			t.scene(broadcastWhileEnding)
			t.scene(sendUntilFull)
			t.scene(sendAtOnce)
		},
		meets: true,
	},
	{
		Task: "4.2", Name: "a peer that is too slow is cut off, and nobody else loses anything",
		cause: "a full send queue does not end its client, or ends it only when the write that is blocked has timed out; or others are ended with it, or left out.",
		test: func(t *trial) {
			t.scene(evict)
			t.scene(allOrCutOff)
			t.scene(evictionIsLogged)
		},
	},
	{
		Task: "4.2", Name: "broadcasts, joins, leaves and evictions at once do no harm",
		cause: "the map is used without the lock, a channel is closed while others send on it, or two goroutines wait for each other.",
		test: func(t *trial) {
			t.scene(evictThenLook)
			if !t.Failed() { // by the race detector
				t.scene(evictAtOnce)
				t.scene(joinAndBroadcastAtOnce)
			}
		},
		meets: true,
	},
	{
		Task: "4.3", Name: "a peer that was cut off is neither heard nor sent to",
		cause: "after its connection has ended, a client's read pump still hands on what it sends; or Send still puts messages into its queue, which nobody will empty.",
		test: func(t *trial) {
			t.scene(hearNobodyCutOff)
			if t.step < 9 { // from then on her own messages do not wait in a queue of hers
				t.scene(hearNothingInTheBuffer)
			}
			t.scene(sendToNobodyCutOff)
		},
	},
}

// toEveryone lets one peer send to the others, one of which does not read for a
// while: what waits for it must not change.
func toEveryone(s *scene) {
	ann, bob, cat := s.Connect("ann"), s.Connect("bob"), s.Connect("cat")
	bob.StopReading()
	frames := []wstest.Frame{
		wstest.Text("one"), wstest.Binary("two"), wstest.Text("three"), wstest.Text(""), wstest.Text("  two\nlines "), wstest.Binary(long(20000)),
	}
	want := func(p *wstest.Peer, frames ...wstest.Frame) {
		s.Settle()
		got := p.Messages()
		for i, f := range frames {
			switch {
			case i >= len(got):
				s.FailBecause(causeNotToAll, "%s did not get %s, which ann sent.", p.Name, f)
			case got[i].Op != f.Op || string(got[i].Payload) != string(f.Payload):
				s.FailBecause("the message that all receivers share is changed, or used again, while it still waits in a queue.",
					"%s got %s instead of %s, which ann sent.", p.Name, got[i], f)
			}
		}
		if len(got) > len(frames) {
			s.FailBecause("it is sent twice: by Broadcast, and by something else as well.",
				"%s got %s once too often.", p.Name, got[len(frames)])
		}
	}
	for _, f := range frames {
		ann.SendFrame(f)
		want(ann, f)
		want(cat, f)
	}
	bob.ResumeReading()
	want(bob, frames...)
	s.Call("Broadcast", 0, func() { s.Broadcast([]byte("from the server")) })
	for _, p := range []*wstest.Peer{ann, bob, cat} {
		p.WantText("from the server")
	}
}

// inOrder lets one peer, and then the server itself, send faster than others read.
func inOrder(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	const all = 40
	s.Did("ann sends %d messages in one go", all)
	ann.SendRaw(inOneGo(texts("message", all)))
	s.Settle()
	got := bob.Messages()
	if len(got) != all {
		s.Fail("bob got %d of the %d messages that ann sent.", len(got), all)
	}
	for i, text := range texts("message", all) {
		if string(got[i].Payload) != text {
			s.FailBecause("each message is queued by a goroutine of its own, and those run in any order.",
				"bob got ann's messages in another order than she sent them.")
		}
	}
	ann.Messages()
	s.Call(fmt.Sprintf("%d times Broadcast", all), 0, func() {
		for _, text := range texts("news", all) {
			s.Broadcast([]byte(text))
		}
	})
	s.Settle()
	s.wantInOrder(bob, texts("news", all))
}

// toMany broadcasts to those who are left of many who came at once.
func toMany(s *scene) {
	peers, _ := s.HandshakeAll("peer", 100, wstest.Request{})
	s.Did("every other of them leaves")
	for i := 0; i < len(peers); i += 2 {
		peers[i].Leave()
	}
	s.Pass(grace)
	s.broadcastAtOnce([]byte("is anybody there?"))
	got := 0
	for _, p := range peers {
		got += len(p.Messages())
	}
	if got != len(peers)/2 {
		s.FailBecause("a part of the map is left out, such as the first of several; or what Broadcast goes through is a list beside the map, and is not guarded as the map is.",
			"%d peers are connected, and %d of them got the message.", len(peers)/2, got)
	}
}

// halfAMessage lets a peer hang up between two fragments of a message.
func halfAMessage(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	s.Did("ann sends the first fragment of a message, \"half\"")
	ann.SendRaw(wstest.Frame{Op: wstest.OpText, Payload: []byte("half")}.Bytes())
	s.Settle()
	ann.HangUp()
	s.Pass(grace)
	if got := bob.Messages(); len(got) > 0 {
		s.FailBecause("the error that comes in the middle of a message is ignored: io.ReadAll returns it together with what it has read so far. Every error ends the read pump, and the part that was read is thrown away.",
			"bob got %s, which is the first part of a message that ann has never finished.", got[0])
	}
}

func allAtOnce(s *scene) {
	var peers []*wstest.Peer
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		peers = append(peers, s.Connect(name))
	}
	const each = 10
	s.Did("all four send %d messages in one go, at the same time", each)
	for _, p := range peers {
		p.SendRaw(inOneGo(texts(p.Name, each)))
	}
	for _, p := range peers {
		seen := make(map[string]int)
		for i := range each * len(peers) {
			f, ok := p.Next()
			if !ok {
				s.Fail("%s got %d of the %d messages that were sent.", p.Name, i, each*len(peers))
			}
			sender, number, _ := strings.Cut(string(f.Payload), " ")
			if f.Op != wstest.OpText || f.Parts > 0 || strings.Contains(number, " ") || strings.Contains(number, "\n") {
				s.Fail("%s got %s, in %d frames. Each message is one text frame.", p.Name, f, f.Parts+1)
			}
			seen[sender]++
			if number != fmt.Sprint(seen[sender]) {
				s.Fail("%s got %s, but %s's next message is number %d.", p.Name, f, sender, seen[sender])
			}
		}
		s.Settle()
		if extra := p.Messages(); len(extra) > 0 {
			s.Fail("%s got %s once too often.", p.Name, extra[0])
		}
	}
}

// joinThenBroadcast lets a peer join, and then somebody broadcast. Nothing but the
// hub's lock tells one of the other, so that the race detector sees when Broadcast
// does without.
func joinThenBroadcast(s *scene) {
	s.Did("ann connects")
	join := s.Start(func() { s.HandshakeQuietly(wstest.Request{}) })
	time.Sleep(time.Second)
	s.Did("Broadcast is called, in a goroutine that knows nothing of her")
	call := s.Start(func() { s.Broadcast([]byte("is anybody there?")) })
	s.Settle()
	s.FailUnless(join.Returned() && call.Returned(), "the handshake or Broadcast has not returned.")
}

// broadcastToStalled broadcasts more than a queue holds.
func broadcastToStalled(s *scene) {
	ann, bob, eve := s.Connect("ann"), s.Connect("bob"), s.Connect("eve")
	eve.StopReading()
	more, _ := s.HandshakeAll("another one who does not read", 9, wstest.Request{})
	for _, p := range more {
		p.Stall()
	}
	s.Settle()
	for i, text := range s.heavy("news", s.over()) {
		if i < 3 {
			s.Did("Broadcast(%q)", strings.TrimSpace(text))
		} else if i == 3 {
			s.Did("and so on, up to %d messages", s.over())
		}
		waits, loses := causeBroadcastWrites, causeNotToAll
		if i >= sendQueueSize { // eve's queue is full
			waits, loses = causeFullWaits, "Broadcast stops at the first client whose Send returns an error, or ends others with it. The error of one client is no matter of anybody else."
		}
		if !s.Start(func() { s.Broadcast([]byte(text)) }).Within(0) {
			s.FailBecause(waits, "Broadcast(%q) did not return at once: a peer who does not read delays it.", strings.TrimSpace(text))
		}
		s.Settle()
		for _, p := range []*wstest.Peer{ann, bob} {
			if got := p.Messages(); len(got) != 1 || string(got[0].Payload) != text {
				s.FailBecause(loses, "not both ann and bob, who read, got each message at once.")
			}
		}
	}
}

const (
	causeNotToAll        = "handle does not call Hub.Broadcast, or that does not send to every client in the map."
	causeBroadcastWrites = "Broadcast writes to the connections itself, or waits for a lock that is held while something is written. It must put the message into the queues: the write pumps alone write."
	causeFullWaits       = "Send waits when the queue is full: for room, or for some time, or to send a close frame, which waits for the write that is under way."
)

// broadcastWhileEnding broadcasts to a peer whose queue is full, and whose write
// takes its time to fail after the socket was closed.
func broadcastWhileEnding(s *scene) {
	eve := s.Connect("eve")
	eve.StopReading()
	s.Did("the server's write to eve takes long to fail")
	eve.HoldWrites()
	s.Did("%d messages are broadcast", s.over())
	for _, text := range s.heavy("news", s.over()) {
		if !s.Start(func() { s.Broadcast([]byte(text)) }).Within(0) {
			s.FailBecause("Send waits until the connection of the slow peer has ended. It must only begin that end.",
				"Broadcast(%q) did not return at once: it waits for the end of eve's connection.", strings.TrimSpace(text))
		}
		s.Settle()
	}
	eve.ReleaseWrites()
}

// sendUntilFull sends to one peer more than its queue holds.
func sendUntilFull(s *scene) {
	eve, id := s.connectID("eve")
	eve.StopReading()
	s.Did("%d messages are sent to eve's id", s.over())
	refused := false
	for i, text := range s.heavy("for eve", s.over()) {
		var err error
		if !s.Start(func() { err = s.Send(id, text) }).Within(0) {
			s.FailBecause("Send still waits for room in the queue, as it did in step 3.",
				"message %d to eve, who does not read, was not queued or refused at once.", i+1)
		}
		s.Settle()
		if err == nil && !refused && eve.Gone() {
			s.FailBecause("Send returns nil where it ends the client. nil means that the message is in the queue.",
				"Send returned nil for message %d, but it cut eve off instead of queueing it.", i+1)
		}
		if err != nil && !refused && s.TooSlow != nil && !errors.Is(err, s.TooSlow) {
			s.FailBecause("another error is returned where the queue is full than where the connection had ended before; or it is wrapped with %v.",
				"Send to eve, for whom too much waits, returned the error %q, and errors.Is(err, ErrTooSlow) is false.", err)
		}
		refused = refused || err != nil
	}
	s.Pass(grace)
	if !refused && !eve.Gone() {
		s.FailBecause("Send drops a message when the queue is full, and says nothing; or the queue is larger than that, or without an end.",
			"each Send returned nil and eve is still connected, although her queue holds %d messages.", s.direct())
	}
}

// sendAtOnce sends more to each of many peers, whose queues are half full, than there is
// room for, from two goroutines, which begin with each peer at the same time.
func sendAtOnce(s *scene) {
	peers, _ := s.HandshakeAll("eve", 300, wstest.Request{})
	for _, eve := range peers {
		eve.Stall()
	}
	s.Settle()
	var ids []string
	for _, r := range s.Log.Records() {
		ids = append(ids, idsOf(r)...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	room := s.direct() / 2
	s.Did("they do not read, and each has room for %d messages more; to one after the other, two goroutines send %d at once", room, 2*room)
	for range s.direct() - room {
		if s.step < 9 {
			s.Broadcast([]byte("news"))
			continue
		}
		for _, id := range ids { // what is broadcast waits elsewhere
			s.Send(id, "news")
		}
	}
	s.Settle()
	if !s.together(len(ids), time.Millisecond, func(_, i int) {
		for range room {
			s.Send(ids[i], "news")
		}
	}) {
		s.FailBecause("Send looks whether there is room, and then sends: another goroutine may have taken the room in between. A select with a default does both at once.",
			"Send did not return at once: two goroutines had filled the queue of a peer who does not read.")
	}
}

// evict fills the queues of two peers nearly. One of them reads again in time.
func evict(s *scene) {
	eve, ann, bob := s.Connect("eve"), s.Connect("ann"), s.Connect("bob") // a list in this order loses ann or bob with eve
	s.talk(ann, "hello")
	bob.WantText("hello")
	eve.WantText("hello")
	bob.StopReading()
	eve.StopReading()
	annGets := func(text string) {
		s.Settle()
		if got := ann.Messages(); len(got) != 1 || string(got[0].Payload) != text {
			cause := "Broadcast does not send to all clients when the queue of one is full: it stops, leaves out the next one in a list, or waits (4.2)."
			if ann.Gone() {
				cause = "ann is cut off for another's full queue: the error of one client is no matter of the one who sends, or of anybody else."
			}
			s.FailBecause(cause, "ann, who reads, should have got %q, and got %v.", strings.TrimSpace(text), got)
		}
	}
	s.Did("%d messages are broadcast", s.room())
	var queued weak.Pointer[byte]
	for _, text := range s.heavy("news", s.room()) {
		message := append(make([]byte, 0, 1024), text...)
		s.broadcastAtOnce(message)
		annGets(text)
		queued = weak.Make(&message[0])
	}
	for _, p := range []*wstest.Peer{bob, eve} {
		if p.Gone() {
			s.FailBecause("the queue has less room: make it with sendQueueSize, which is 256.",
				"%s was cut off, although there is room for %d messages.", p.Name, s.room())
		}
	}
	bob.ResumeReading()
	bob.WantText(s.heavy("news", s.room())...)
	if s.step >= 9 {
		s.Did("%d more are broadcast", s.over())
		for _, text := range s.heavy("later", s.over()) {
			s.broadcastAtOnce([]byte(text))
			annGets(text)
		}
		bob.WantText(s.heavy("later", s.over())...)
	}
	s.Did("and ann sends 10 more")
	for _, text := range s.heavy("more", 10) {
		ann.SendQuietly(text)
		annGets(text)
	}
	s.evicted()
	if !eve.Gone() {
		s.FailBecause("a full send queue does not end its client; or the end waits for the write pump, or for a write. That write is blocked, and only a socket that is closed ends it: finish with CloseAbnormalClosure.",
			"eve's connection is still open on the server's side, although her queue has been full.")
	}
	bob.WantText(s.heavy("more", 10)...)
	s.wantCount(2, causeGone, causeStays)
	if s.step < 9 {
		// What a server keeps for all of them together, it may keep until there is more.
		for _, text := range texts("later", s.over()) {
			s.broadcastAtOnce([]byte(text))
			annGets(text)
		}
	}
	s.broadcastAtOnce([]byte("goodbye"))
	annGets("goodbye")
	s.Did("ann and bob leave")
	ann.Leave()
	bob.Leave()
	s.Pass(pongWait + grace) // a timer that was stopped may stay in memory until it would have fired
	runtime.GC()
	runtime.GC() // what a pool holds survives the first
	if queued.Value() != nil {
		s.FailBecause("something still holds a client, or its queue, after its connection has ended: a list, a map, or a timer.",
			"a message that was queued for eve is still in memory after everybody has left.")
	}
}

// allOrCutOff lets peers read again, one after the other, when their queues are
// nearly full, full, and more than that.
func allOrCutOff(s *scene) {
	const peers = 12
	room := s.room()
	eves, _ := s.HandshakeAll("eve", peers, wstest.Request{})
	s.Settle() // they are in the map
	s.Did("%d peers stop reading, and %d messages are broadcast", peers, room)
	for _, eve := range eves {
		eve.Stall()
	}
	news := s.heavy("news", room+peers)
	for _, text := range news[:room] {
		s.broadcastAtOnce([]byte(text))
	}
	s.Did("%d more are broadcast; after each, one of the peers reads again", peers)
	for i, text := range news[room:] {
		s.broadcastAtOnce([]byte(text))
		eves[i].Unstall()
		s.Settle()
	}
	s.Pass(grace)
	for _, eve := range eves {
		got := eve.Messages()
		for i, f := range got {
			if string(f.Payload) != news[i] {
				s.FailBecause(causeGap, "%s got %.20q after %d messages, and should have got %.20q.", eve.Name, f.Payload, i, news[i])
			}
		}
		if len(got) < len(news) && !eve.Gone() {
			s.FailBecause(causeGap, "%s got %d of the %d messages, and is still connected.", eve.Name, len(got), len(news))
		}
	}
}

const causeGap = "Send drops a message when the queue is full, and cuts the peer off later, or somebody else instead. A peer that has lost a message cannot know it: the first one that finds no room ends the connection."

// evictThenLook cuts a peer off, which stays in the map until its write has ended,
// and lets others look at the map, each in a goroutine of its own, and one after
// the other: see oneByOne.
func evictThenLook(s *scene) {
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	s.Did("the server's write to eve takes long to fail")
	eve.HoldWrites()
	s.Did("%d messages are broadcast, each by a goroutine of its own, with GET /online, a handshake and ann's leaving at the end", s.over())
	text := s.heavy("news", 1)[0]
	news := func() { s.Broadcast([]byte(text)) }
	does := []func(){
		func() { s.Get("/online") },
		news,
		func() { s.HandshakeQuietly(wstest.Request{}) },
		news,
		ann.Leave,
		news,
	}
	for range s.over() {
		does = append([]func(){news}, does...)
	}
	var all sync.WaitGroup
	for i, f := range does {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			f()
		})
	}
	all.Wait()
	eve.ReleaseWrites()
}

func evictAtOnce(s *scene) {
	first := s.Connect("ann")
	s.Call("Broadcast", 0, func() { s.Broadcast([]byte("is anybody there?")) })
	first.WantText("is anybody there?")
	first.Leave()
	s.Did("60 peers join at once; a third of them stop reading, a third leave, while four goroutines broadcast")
	peers, _ := s.HandshakeAll("peer", 60, wstest.Request{})
	var all sync.WaitGroup
	for i, p := range peers {
		all.Go(func() {
			switch i % 3 {
			case 0:
				p.Stall()
			case 1:
				p.SendQuietly("bye")
				p.Leave()
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for _, text := range texts("news", 100) {
				s.Broadcast([]byte(text))
			}
		})
	}
	done := s.Start(all.Wait)
	more, _ := s.HandshakeAll("late peer", 20, wstest.Request{})
	if !done.Within(0) {
		s.Fail("Broadcast did not return at once.")
	}
	s.Pass(grace)
	s.Did("the rest leaves")
	for _, p := range append(peers, more...) {
		p.Leave()
	}
	s.Pass(2 * writeWait)
	s.wantOnline(0)
	ann := s.Connect("ann")
	s.talk(ann, "hello")
}

const causeHeard = "after the end of its connection, a client's read pump still hands on what it reads: look at finished before handle."

func hearNobodyCutOff(s *scene) {
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	s.Did("%d messages are broadcast, more than may wait for eve", s.over())
	for _, text := range s.heavy("news", s.over()) {
		s.broadcastAtOnce([]byte(text))
	}
	s.evicted() // which may come after a while
	if len(ann.Messages()) == 0 {
		s.FailBecause("Broadcast does not send to everybody: do 4.1 first.", "ann, who reads, got none of them.")
	}
	eve.Send("can you hear me?")
	s.Pass(time.Second)
	if got := ann.Messages(); len(got) > 0 {
		s.FailBecause(causeHeard, "ann got %s from eve, who had been cut off.", got[0])
	}
	s.Pass(grace)
	eve.WantGone("her queue has been full")
}

// hearNothingInTheBuffer cuts a peer off with one of many messages that it has
// sent at once, so that the server has the rest of them already.
func hearNothingInTheBuffer(s *scene) {
	defer onOneProcessor()() // or the socket may be closed before she has been heard
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	news := texts("news", sendQueueSize-4)
	s.Did("%d messages are broadcast: eve's queue is nearly full", len(news))
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	ann.Messages()
	const all = 64
	s.Did("eve sends %d messages in one go: one of the first finds her own queue full", all)
	eve.SendRaw(inOneGo(texts("eve", all)))
	s.Settle()
	if got := ann.Messages(); len(got) >= all && eve.Gone() {
		s.FailBecause(causeHeard, "ann got all of them, although eve had been cut off before the server looked at the last.")
	}
	s.Pass(grace)
	eve.WantGone("her queue has been full")
}

func sendToNobodyCutOff(s *scene) {
	eve, id := s.connectID("eve")
	eve.StopReading()
	s.Did("the server writes to eve, and this write takes long to fail")
	eve.HoldWrites()
	s.broadcastAtOnce([]byte("news"))
	eve.Reset()
	s.Settle()
	s.Did("Send(eve's id, ...) is called")
	for range 20 { // a select with several ways out takes any of them
		err := s.Send(id, "hello")
		if err != nil && s.Finished != nil && !errors.Is(err, s.Finished) && !errors.Is(err, s.Unknown) {
			s.FailBecause("Send returns another error than ErrFinished when done is closed.",
				"Send to eve's id, whose connection has ended, returned the error %q, and errors.Is(err, ErrFinished) is false.", err)
		}
		if err == nil {
			s.FailBecause("Send does not look first whether the connection has ended: a select with a case for that, and one for the queue, takes any of the two. Or finished still says false (4.3).",
				"Send to eve's id returned no error, although her connection has ended: the message is in a queue that nobody will empty.")
		}
	}
	eve.ReleaseWrites()
}

// broadcastAtOnce broadcasts a message and demands that this takes no time.
func (s *scene) broadcastAtOnce(message []byte) {
	if !s.Start(func() { s.Broadcast(message) }).Within(0) {
		s.FailBecause(causeFullWaits, "Broadcast(%.20q) did not return at once.", message)
	}
	s.Settle()
}
