package contract

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// broadcastLog is the contract of step 9: one log of all broadcasts in place of a
// queue of them for each peer.
var broadcastLog = []Promise{
	{
		Task: "9.1", Name: "what waits for a peer goes out in one write, one frame a message, and waits for nothing more",
		cause: "broadcasts are written one by one, or one is held back until another comes, or the write pump is not woken when there is something.",
		test: func(t *trial) {
			t.scene(oneWrite)
			t.scene(bothTypes)
			t.scene(everyLength)
			t.scene(pongBefore)
			t.scene(twoBatches)
			t.scene(failingWrite)
		},
	},
	{
		Task: "9.1", Name: "a broadcast is put down once: thousands may wait, for everybody in the same order",
		cause: "each client has a list of its own of what waits for it; or two broadcasts at once reach the clients in different orders.",
		test: func(t *trial) {
			t.scene(manyShort)
			t.scene(oneOrder)
			t.scene(costOfOne)
			t.scene(joinInAFlood)
			welcome(t)
			t.scene(tooBigToBroadcast)
		},
		meets: true,
	},
	{
		Task: "9.2", Name: "however much waits for a peer, each write is short: a slow line keeps up, and pings come between",
		cause: "all that waits goes out in one write, or the write pump does not look for anything else between two writes.",
		test: func(t *trial) {
			t.scene(slowLine)
			t.scene(slowPings)
			t.scene(manyChunks)
		},
	},
	{
		Task: "9.3", Name: "a peer that has fallen behind the log is cut off without a gap, and holds no more than the log",
		cause: "the cursor of a peer is not compared with the beginning of the log; or something beside the log holds what was broadcast.",
		test: func(t *trial) {
			t.scene(notBehindYet)
			t.scene(fallBehind)
			t.scene(readTooLate)
			t.scene(atTheEdge)
			t.scene(holdNoMore)
		},
	},
	{
		Task: "9.4", Name: "messages to one id, pings and close frames reach a busy peer, and a shutdown delivers all that was broadcast",
		cause: "at the end of a connection only the queue is written, and not what still stands in the log.",
		test: func(t *trial) {
			t.scene(allBeforeTheEnd)
			t.scene(littleBeforeTheEnd)
			t.scene(goodbyeWithAGap)
			t.scene(afterTheEnd)
			t.scene(endInAFlood)
			t.scene(busyPeer)
			t.scene(pingBetween)
			t.scene(closeBetween)
		},
	},
}

// manyShort lets more messages wait than step 8 had room for, twice.
func manyShort(s *scene) {
	const all = 20_000
	ann := s.Connect("ann")
	for _, prefix := range []string{"news", "more"} {
		ann.StopReading()
		s.Did("%d short messages are broadcast", all)
		news := texts(prefix, all)
		for i, text := range news {
			s.Broadcast([]byte(text))
			if i < 200 {
				s.Settle()
			}
		}
		s.Settle()
		const cause = "what waits is counted in messages, not in bytes; or what was written is still counted."
		const saw = "ann was cut off. Each message has about ten bytes, so that all of them are far less than the log holds."
		if ann.Gone() {
			s.FailBecause(cause, saw)
		}
		ann.ResumeReading()
		for i, text := range news {
			got, ok := ann.Next()
			if !ok && ann.Gone() {
				s.FailBecause(cause, saw)
			}
			if !ok || string(got.Payload) != text {
				s.FailBecause(s.causeLost(), "message %d of %d was lost, or another came instead.", i+1, all)
			}
		}
	}
}

// oneOrder lets two goroutines broadcast at the same moment, again and again.
func oneOrder(s *scene) {
	const rounds = 300
	peers, _ := s.HandshakeAll("peer", 40, wstest.Request{})
	s.Settle()
	s.Did("%d times two goroutines call Broadcast at once", rounds)
	s.together(rounds, time.Millisecond, func(side, round int) {
		s.Broadcast(fmt.Appendf(nil, "%d of goroutine %d", round, side))
	})
	s.Settle()
	first := peers[0].Messages()
	for _, p := range peers[1:] {
		got := p.Messages()
		if len(got) != len(first) || len(got) != 2*rounds {
			s.Fail("%s got %d messages, and %s got %d. Each should have got %d.", peers[0].Name, len(first), p.Name, len(got), 2*rounds)
		}
		for i := range got {
			if string(got[i].Payload) != string(first[i].Payload) {
				s.FailBecause("a message is handed to the clients one after the other, and meanwhile another message to others. It must get its place once, for all, under one lock.",
					"message %d of %s was %q, and that of %s was %q. All should see the same order.", i+1, peers[0].Name, first[i].Payload, p.Name, got[i].Payload)
			}
		}
	}
}

// costOfOne measures what broadcasts cost when many peers do not read.
func costOfOne(s *scene) {
	const receivers, all, each = 200, 30_000, 16 << 10
	peers, _ := s.HandshakeAll("peer who does not read", receivers, wstest.Request{})
	for _, p := range peers {
		p.Stall()
	}
	s.Settle()
	s.Did("a message of %d bytes is broadcast to them", heavySize)
	held := s.Heap()
	s.Broadcast([]byte(s.heavy("news", 1)[0]))
	s.Settle()
	if more := int64(s.Heap()) - int64(held); more > receivers*each {
		s.FailBecause("what goes out is copied for each peer that it is written to: with thousands of slow peers that is more than the whole log. Each write can take the same bytes, those of the log.",
			"%d bytes more are in use while the message is being written to %d peers, %d for each.", more, receivers, more/receivers)
	}
	s.Did("%d short messages are broadcast to them", all)
	held = s.Heap()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range all {
		s.Broadcast([]byte("news"))
		if i%100 == 0 {
			s.Settle() // it goes on, however long it takes
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > receivers*all/10 {
		s.FailBecause("something is made for each receiver. Broadcast must put the message down once.",
			"Broadcast has allocated memory %d times for %d messages to %d receivers.", n, all, receivers)
	}
	if more := int64(s.Heap()) - int64(held); more > 2*logBytes {
		s.FailBecause("each client has a list of its own of what waits for it, if only of pointers.",
			"%d bytes more are in use, for messages that have %d bytes together: they wait for %d receivers, but need to be there once.", more, 4*all, receivers)
	}
	if n := (after.TotalAlloc - before.TotalAlloc) / all; n > 2048 {
		s.FailBecause("a chunk is copied each time that something is appended to it. That is not needed: what was returned before ends where the new message begins, and does not change.",
			"Broadcast has allocated %d bytes for each message of 4 bytes.", n)
	}
	for _, p := range peers {
		p.Reset()
	}
}

// joinInAFlood lets peers join while somebody broadcasts. Each must get all messages
// from its first one on.
func joinInAFlood(s *scene) {
	const all, joining = 2000, 20
	s.Did("%d messages are broadcast; meanwhile %d peers connect", all, joining)
	var said atomic.Int64
	flood := s.Start(func() {
		for i := range all {
			s.Broadcast(fmt.Append(nil, i))
			said.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	var peers []*wstest.Peer
	var old []int // how many messages were broadcast before each of them came
	for range joining {
		time.Sleep(73 * time.Millisecond)
		old = append(old, int(said.Load()))
		p, _ := s.HandshakeQuietly(wstest.Request{})
		s.FailUnless(p != nil, "a peer could not connect during the flood.")
		peers = append(peers, p)
	}
	s.Pass(all * time.Millisecond)
	s.FailUnless(flood.Returned(), "Broadcast has not returned.")
	for i, p := range peers {
		got := p.Messages()
		if len(got) > all-old[i] {
			s.FailBecause("the cursor of a new client stands at the beginning of the log, or of a chunk. It must stand behind the last message.",
				"a peer connected when %d messages had been broadcast, and it got %s of them. It should get what is broadcast from then on.", old[i], got[0])
		}
		for i, f := range got {
			if want := fmt.Sprint(all - len(got) + i); string(f.Payload) != want {
				s.FailBecause("a peer's place in the log is not set once, before it begins to be sent to: what is broadcast in between comes twice, or never.",
					"a peer that connected during the flood got %s where %q should have come. It should get everything from its first message on, once.", f, want)
			}
		}
		s.FailUnless(len(got) > 0, "a peer that connected during the flood got nothing of it.")
	}
}

// welcome lets the hook of a joining client broadcast, on one processor: there the
// write pump may begin after that.
func welcome(t *trial) {
	t.sceneFrom(func(s *scene) Config {
		return Config{OnJoin: func(context.Context, string) { s.Broadcast([]byte("somebody joins")) }}
	}, func(s *scene) {
		defer onOneProcessor()()
		s.Did("the hook of a joining client broadcasts something")
		ann := s.Connect("ann")
		if got, ok := ann.Next(); !ok || string(got.Payload) != "somebody joins" {
			s.FailBecause("the place of a new client in the log is set too late: when its write pump begins, or after the hook. Set it before the client is in the hub.",
				"ann did not get what the hook has broadcast when she joined.")
		}
	})
}

// tooBigToBroadcast broadcasts a message that no peer could send.
func tooBigToBroadcast(s *scene) {
	ann := s.Connect("ann")
	const size = 100 << 10
	s.Did("Broadcast is called with %d bytes", size)
	err := s.Broadcast([]byte(long(size)))
	s.Settle()
	got := ann.Messages()
	switch {
	case err == nil && len(got) == 0:
		s.FailBecause("a message that does not fit into a chunk is left out without a word. Append returns an error then, and Broadcast returns that.",
			"Broadcast returned nil for %d bytes, and ann got nothing.", size)
	case err == nil && (len(got) != 1 || string(got[0].Payload) != long(size)):
		s.FailBecause("a message that does not fit into a chunk is cut, or its length does not fit into its length bytes. Refuse it, and let Broadcast return the error.",
			"Broadcast returned nil for one message of %d bytes, and ann got %s first.", size, got[0])
	case err != nil && len(got) > 0:
		s.Fail("Broadcast returned the error %q, but ann got something: %s.", err, got[0])
	}
	s.broadcastAtOnce([]byte("news"))
	ann.WantText("news")
}

// notBehindYet lets half a log wait for a peer.
func notBehindYet(s *scene) {
	const size = 1000
	ann := s.Connect("ann")
	ann.StopReading()
	news := texts("news", logBytes/size/2)
	s.Did("%d messages of %d bytes are broadcast", len(news), size)
	began := time.Now()
	for i := range news {
		news[i] += strings.Repeat(" ", size-len(news[i]))
		s.Broadcast([]byte(news[i]))
	}
	if took := time.Since(began); took > 0 {
		s.FailBecause("Broadcast waits for the slowest peer. It must wait for nobody: who falls behind is cut off.",
			"Broadcast took %v, because ann does not read.", took)
	}
	s.Pass(writeWait - time.Second)
	if ann.Gone() {
		s.FailBecause("a number of messages is what may wait for a peer. It should be the bytes of the log, for all peers together: 8 MiB.",
			"ann was cut off, although only %d bytes wait for her.", len(news)*size)
	}
	ann.ResumeReading()
	for i, text := range news {
		if got, ok := ann.Next(); !ok || string(got.Payload) != text {
			s.FailBecause(s.causeLost(), "message %d of %d was lost, or another came instead.", i+1, len(news))
		}
	}
}

// fallBehind broadcasts more than the log holds while some peers do not read.
func fallBehind(s *scene) {
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	more, _ := s.HandshakeAll("another one who does not read", 9, wstest.Request{})
	for _, p := range more {
		p.Stall()
	}
	s.Did("%d messages of %d bytes are broadcast", s.over(), heavySize)
	for _, text := range s.heavy("news", s.over()) {
		s.broadcastAtOnce([]byte(text))
		if got := ann.Messages(); len(got) != 1 || string(got[0].Payload) != text {
			s.Fail("ann, who reads, did not get each message at once.")
		}
	}
	s.evicted()
	for _, p := range append(more, eve) {
		if !p.Gone() {
			s.FailBecause("nothing ends the connection of a peer whose place in the log is gone.",
				"%s's connection is still open on the server's side. More than twice the log has been broadcast, and it has read nothing for more than %v.", p.Name, writeWait)
		}
	}
	s.wantOnline(1)
}

// readTooLate lets a peer read again when its place in the log is gone.
func readTooLate(s *scene) {
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	news := s.heavy("news", s.over())
	s.Did("%d messages of %d bytes are broadcast", len(news), heavySize)
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
		ann.Messages()
	}
	eve.ResumeReading()
	s.Pass(time.Second)
	s.broadcastAtOnce([]byte("goodbye"))
	ann.WantText("goodbye")
	s.Pass(time.Second)
	news = append(news, "goodbye")
	const read = "eve read again, when more than twice the log had been broadcast."
	got := eve.Messages()
	for i, f := range got {
		switch {
		case i < len(news) && string(f.Payload) == news[i]:
		case i == 0:
			s.FailBecause("the memory of a chunk is used for another one, while somebody still writes what it held. Take new memory for each chunk: what nobody needs is collected.",
				read+" The message that was being written to her by then should have been %.20q, and it was %.20q.", news[0], f.Payload)
		default:
			s.FailBecause("nothing compares her place with the beginning of the log, so that Next takes another chunk for hers; or she goes on at another place. She has lost messages then and cannot know it: cut her off.",
				read+" She got %.20q after %d messages, and it is not the next one.", f.Payload, i)
		}
	}
	if len(got) == len(news) {
		s.FailBecause("the log has no bound, or a much larger one than 8 MiB; or something else holds what was broadcast.",
			read+" She got all of it.")
	}
	closing := eve.ClosedWith()
	panicked := slices.ContainsFunc(s.Log.Records(), func(r wstest.Record) bool { return contains(r, "[running]:") })
	if panicked {
		s.FailBecause("what the cursor returns is taken from a chunk that has another number by now: compare the numbers first.",
			read+" Something panicked in her connection then.")
	}
	const causeStatus = "closeStatus does not know the error of a cursor whose place is gone, and takes it for one of the protocol."
	if closing != nil && closing.CloseCode() == 1002 {
		s.FailBecause(causeStatus, read+" She got a %s, as if she had done something wrong.", closing)
	}
	s.Pass(grace)
	for _, r := range s.Log.Records() {
		if slices.ContainsFunc(r.Attrs, func(a slog.Attr) bool { return a.Value.String() == "1002" }) {
			s.FailBecause(causeStatus, read+" The log says that her connection has ended with 1002, as if she had done something wrong: %s", r)
		}
	}
	if !eve.Gone() {
		s.FailBecause("nothing compares her place with the beginning of the log; or the error is not returned.",
			read+" She got %d messages, and is still connected.", len(got))
	}
}

// atTheEdge looks for the number of messages with which a peer's place in the log is
// just gone. No two of them have the same size.
func atTheEdge(s *scene) {
	message := func(i int) string { return fmt.Sprintf("%*d", -25_000-10*i, i) }
	kept := func(n int) bool {
		eve, _ := s.HandshakeQuietly(wstest.Request{})
		s.FailUnless(eve != nil, "a peer could not connect.")
		s.Settle()
		eve.Stall()
		for i := range n {
			s.Broadcast([]byte(message(i)))
			if i == 0 {
				s.Settle() // now this one is being written
			}
		}
		s.Settle()
		eve.Unstall()
		time.Sleep(grace)
		s.Settle()
		got := eve.Messages()
		for i, f := range got {
			if string(f.Payload) != message(i) {
				s.FailBecause(causeEdge, "a peer read again when %d messages had been broadcast, of about 27,000 bytes each. It got %.20q after %d of them, and it is not the next one.", n, f.Payload, i)
			}
		}
		if len(got) < n && !eve.Gone() {
			s.FailBecause(causeEdge, "a peer read again when %d messages had been broadcast, of about 27,000 bytes each. After %d of them came something that is no message, and it is still connected.", n, len(got))
		}
		eve.Leave()
		return len(got) == n
	}
	s.Did("a peer stops reading, and reads again when a number of messages have been broadcast; then another one, with more or fewer, until its place in the log is just gone")
	for few, many := s.room(), 3*s.room(); many-few > 1; {
		if n := (few + many) / 2; kept(n) {
			few = n
		} else {
			many = n
		}
	}
}

const causeEdge = "a place that is just gone is still taken for a good one. In a ring of n chunks, chunk 0 is gone as soon as chunk n is begun."

// holdNoMore lets many peers stop reading, each at another place, and measures what
// they hold.
func holdNoMore(s *scene) {
	const peers, rounds = 40, 1000 // 32 MB
	s.Did("%d messages of %d bytes are broadcast; before each %d of them one more peer connects, and does not read", rounds, heavySize, rounds/peers)
	text := []byte(s.heavy("news", 1)[0])
	held := s.Heap()
	var stalled []*wstest.Peer
	for i := range rounds {
		if i%(rounds/peers) == 0 {
			p, _ := s.HandshakeQuietly(wstest.Request{})
			s.FailUnless(p != nil, "a peer could not connect.")
			p.Stall()
			s.Settle()
			stalled = append(stalled, p)
		}
		s.Broadcast(text)
		s.Settle()
	}
	const most = 2*logBytes + peers*128<<10 // twice of what is needed
	if more := int64(s.Heap()) - int64(held); more > most {
		s.FailBecause("a peer that does not read keeps alive what the log has let go of: its cursor leads to a chunk, and that to the next ones. Or each has a queue of its own.",
			"%d bytes more are in use, and %d would do: the log, and for each of %d peers what is being written to it.", more, most, peers)
	}
	for _, p := range stalled {
		p.Reset()
	}
}

// allBeforeTheEnd shuts down while more waits than some writes take: a select may
// take some batches before it sees the end.
func allBeforeTheEnd(s *scene) {
	ann, id := s.connectID("ann")
	ann.StopReading()
	const size = 1000
	news := texts("news", 1000)
	const direct = 30 // a select may take some of them before it sees the end
	s.Did("%d messages of %d bytes are broadcast, and %d are sent to ann's id", len(news), size, direct)
	for i := range news {
		news[i] += strings.Repeat(" ", size-len(news[i]))
		s.Broadcast([]byte(news[i]))
	}
	for range direct {
		s.Send(id, "for you alone")
	}
	s.Settle()
	down := s.shutDown(time.Minute)
	s.Settle()
	ann.ResumeReading()
	next, alone := 0, 0
	for {
		got, ok := ann.Next()
		switch {
		case !ok && next < len(news):
			s.FailBecause("when the connection is finished, the write pump writes what is queued, but not what stands in the log; or one write's worth of it.",
				"ann got %d of the %d messages that had been broadcast before Shutdown.", next, len(news))
		case !ok && alone != direct:
			s.FailBecause("when the connection is finished, the write pump writes what stands in the log, but not all that is queued for her alone.",
				"ann got %d of the %d messages to her id that had been sent before Shutdown.", alone, direct)
		case !ok:
			ann.WantClose(1001)
			s.wantNil(down)
			return
		case string(got.Payload) == "for you alone":
			alone++
		case next == len(news) || string(got.Payload) != news[next]:
			s.FailBecause("a write sends what was broadcast in place of a message to her id; or what was written stays, and goes out again with the next one.",
				"ann got %.20q after %d broadcasts, and it is not the next one.", got.Payload, next)
		default:
			next++
		}
	}
}

// littleBeforeTheEnd shuts down while something waits for many peers that is less than
// one write: each write pump may see the end before it, or after it.
func littleBeforeTheEnd(s *scene) {
	peers, _ := s.HandshakeAll("peer", 20, wstest.Request{})
	s.Settle()
	for _, p := range peers {
		p.Stall()
	}
	news := texts("news", 10)
	s.Did("they stop reading, and %d short messages are broadcast", len(news))
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	down := s.shutDown(time.Minute)
	s.Settle()
	s.Did("they read again")
	for _, p := range peers {
		p.Unstall()
	}
	for _, p := range peers {
		for i, text := range news {
			if got, ok := p.Next(); !ok || string(got.Payload) != text {
				s.FailBecause("when the connection is finished, the write pump does not write what stands in the log; or it compares chunks, and not the places in them.",
					"%s got %d of the %d messages that had been broadcast before Shutdown.", p.Name, i, len(news))
			}
		}
		p.WantClose(1001)
	}
	s.wantNil(down)
}

// goodbyeWithAGap shuts down when a peer's place in the log is gone, and lets the peer
// read again then.
func goodbyeWithAGap(s *scene) {
	eve := s.Connect("eve")
	eve.StopReading()
	news := s.heavy("news", s.over())
	s.Did("%d messages of %d bytes are broadcast", len(news), heavySize)
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	down := s.shutDown(time.Minute)
	s.Settle()
	eve.ResumeReading()
	s.Pass(grace)
	got := len(eve.Messages())
	if closing := eve.ClosedWith(); closing != nil && closing.CloseCode() == 1001 && got < len(news) {
		s.FailBecause("a connection that is finished is told so, also if the log has let go of what the peer was still to get. Who has lost something is cut off: a goodbye says that nothing is missing.",
			"eve got %d of the %d messages that had been broadcast before Shutdown, and then a %s.", got, len(news), closing)
	}
	s.wantNil(down)
}

// afterTheEnd broadcasts when Shutdown has begun: some peers have got everything by
// then, and one has not.
func afterTheEnd(s *scene) {
	ann, eve := s.Connect("ann"), s.Connect("eve")
	eve.StopReading()
	s.Did("%q is broadcast", "in time")
	s.broadcastAtOnce([]byte("in time"))
	down := s.shutDown(time.Minute)
	s.Settle()
	s.Did("%q is broadcast", "too late")
	s.Start(func() { s.Broadcast([]byte("too late")) })
	s.Settle()
	eve.ResumeReading()
	for _, p := range []*wstest.Peer{ann, eve} {
		p.WantText("in time")
		if p.HasText("too late") {
			s.FailBecause("what is broadcast goes into the log also after Shutdown has begun, and some peers have ended by then. A sender that gets its own message back must know that everybody has got it: refuse what comes after the end, under the lock under which the end begins.",
				"%s got a message that was broadcast after Shutdown had begun.", p.Name)
		}
		p.WantClose(1001)
	}
	s.wantNil(down)
}

// endInAFlood ends the connection of a peer that reads no faster than others talk, so
// that something waits for it all the time.
func endInAFlood(s *scene) {
	eve := s.Dial("eve")
	const period = 100 * time.Millisecond
	s.Did("eve connects; a message of %d bytes is broadcast each %v, and she reads one; after a second she sends text that is not UTF-8", heavySize, period)
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, heavySize+4) // a frame
	eve.Read(buf)
	s.Settle()
	text := []byte(s.heavy("news", 1)[0])
	for range 3 {
		s.Broadcast(text)
	}
	var stream []byte
	for i := range int(writeWait / period) {
		s.Broadcast(text)
		if i == int(time.Second/period) {
			eve.Write(wstest.Text("\xff").Bytes())
		}
		eve.SetReadDeadline(time.Now().Add(closeWait / 2))
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		if err != nil { // there was less to read: the close frame
			break
		}
		time.Sleep(period)
	}
	for n := 1; n > 0; stream = stream[n:] {
		var frame wstest.Frame
		frame, n, _ = wstest.ParseFrame(stream)
		if frame.Op == wstest.OpClose {
			if frame.CloseCode() != 1007 {
				s.Fail("eve got a %s, and not one with 1007.", frame)
			}
			return
		}
	}
	s.FailBecause("the write pump writes what is broadcast for as long as something is, and looks at done, or ends, only when nothing waits. At the end it must stop where the log ended then.",
		"eve got no close frame in the %v after her text, although she takes as much as is broadcast.", writeWait-time.Second)
}

// busyPeer has a peer that is always behind get a message of its own.
func busyPeer(s *scene) {
	eve := s.Dial("eve")
	s.Did("eve connects, 60 messages of %d bytes are broadcast and one is sent to her id; she reads 32 KiB in five seconds", heavySize)
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, maxMessageSize)
	eve.Read(buf)
	s.Settle()
	id := ""
	for _, r := range s.Log.Records() {
		if ids := idsOf(r); len(ids) > 0 {
			id = ids[0]
		}
	}
	for _, text := range s.heavy("news", 60) {
		s.Broadcast([]byte(text))
	}
	s.Send(id, "for you alone")
	var stream []byte
	for range 30 {
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		s.FailUnless(err == nil, "the server cut eve off, who takes 32 KiB in five seconds.")
		eve.Write([]byte("\x8a\x80\x00\x00\x00\x00")) // a pong: she lives
		s.Pass(5 * time.Second)
	}
	for n := 1; n > 0; stream = stream[n:] {
		var frame wstest.Frame
		frame, n, _ = wstest.ParseFrame(stream)
		if string(frame.Payload) == "for you alone" {
			return
		}
	}
	s.FailBecause("the write pump writes the log to its end before it looks for anything else. It must look for messages, pings and the end after each write.",
		"half of what was broadcast has reached eve, and not the message to her id.")
}

// oneWrite counts the server's writes.
func oneWrite(s *scene) {
	ann := s.Connect("ann")
	lone := func(text string) {
		wrote := ann.Writes()
		s.broadcastAtOnce([]byte(text))
		if got := ann.Messages(); len(got) != 1 || string(got[0].Payload) != text {
			s.FailBecause("the write pump is not woken: it must say that it waits in the moment in which it finds nothing, and Append must wake all who wait. Or a message is held back until another comes. Or the write pump waits before it takes what is there.",
				"ann, who reads, did not get %q at once.", text)
		}
		if n := ann.Writes() - wrote; n != 1 {
			s.Fail("the server made %d writes of one message.", n)
		}
	}
	lone("first")
	for range 2 {
		ann.StopReading()
		news := texts("news", 40)
		s.Did("%d messages are broadcast", len(news))
		for _, text := range news {
			s.broadcastAtOnce([]byte(text))
		}
		wrote := ann.Writes()
		ann.ResumeReading()
		for i, text := range news {
			got, ok := ann.Next()
			switch {
			case !ok && !ann.Gone():
				s.FailBecause("what is broadcast during a write comes with the next broadcast only: the write pump asks for more when its write is done. It must ask in the moment in which it takes what is there, under one lock.",
					"ann got %d of the %d messages, and nothing more. All but the first were broadcast while the server was writing to her.", i, len(news))
			case ok && len(got.Payload) > len(text):
				s.FailBecause("what waits is joined into one message. It goes out in one write, but each message stays a frame of its own.",
					"ann got %s where %q should have come.", got, text)
			case !ok || string(got.Payload) != text:
				s.FailBecause(s.causeLost(), "message %d of %d was lost, or another came instead.", i+1, len(news))
			}
		}
		if n := ann.Writes() - wrote; n != 1 {
			s.Fail("%d messages waited for ann, and the server made %d writes of them. There should be one.", len(news)-1, n)
		}
		lone("a lone message")
	}
}

// bothTypes has text and binary messages wait together.
func bothTypes(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	ann.StopReading()
	all := []wstest.Frame{wstest.Text("one"), wstest.Binary("\x02\xff"), wstest.Text("three"), wstest.Binary("\x04"), wstest.Binary("\x05")}
	for _, f := range all {
		bob.SendFrame(f)
		s.Settle()
	}
	ann.ResumeReading()
	for i, want := range all {
		got, ok := ann.Next()
		if !ok || string(got.Payload) != string(want.Payload) {
			s.FailBecause(s.causeLost(), "message %d of %d that had waited for ann was lost, or another came instead.", i+1, len(all))
		}
		if got.Op != want.Op {
			s.FailBecause("the first byte of a frame is made without the message's type.",
				"message %d that had waited for ann did not come as bob sent it, %s, but as %s.", i+1, want, got)
		}
	}
}

// everyLength has messages with each form of the length wait together, and come
// alone.
func everyLength(s *scene) {
	const cause = "a frame has the wrong length bytes: up to 125 the length is in the second byte; 126 there stands for two bytes of length behind it (RFC 6455, section 5.2)."
	ann := s.Connect("ann")
	lengths := []int{0, 1, 125, 126, 127, 255, 256, 4096, maxMessageSize}
	want := func(n int, cause, how string) {
		got, ok := ann.Next()
		if !ok || len(got.Payload) != n || string(got.Payload) != long(n) {
			s.FailBecause(cause, "a message of %d bytes %s did not come as it was.", n, how)
		}
	}
	for _, n := range lengths {
		s.Broadcast([]byte(long(n)))
		if n == 0 {
			want(n, "an empty message is left out. It is a message, with a header like any other.", "that came alone")
		} else {
			want(n, cause, "that came alone")
		}
	}
	ann.StopReading()
	s.Did("messages of %v bytes are broadcast, each twice", lengths)
	for _, n := range lengths {
		s.Broadcast([]byte(long(n)))
		s.Broadcast([]byte(long(n)))
		s.Settle()
	}
	ann.ResumeReading()
	for _, n := range lengths {
		want(n, causeBorder, "that had waited with others")
		want(n, causeBorder, "that had waited with others")
	}
}

const causeBorder = "from one chunk to the next a message is lost, comes twice, or is cut; or the cursor is not at the beginning there; or the next chunk waits for the next broadcast."

// manyChunks has messages of all sizes wait, far more than one write takes.
func manyChunks(s *scene) {
	ann := s.Connect("ann")
	for _, prefix := range []string{"news", "more"} {
		ann.StopReading()
		news := texts(prefix, 400)
		total := 0
		for i := range news {
			news[i] += strings.Repeat(" ", i*i%9000)
			total += len(news[i])
			s.broadcastAtOnce([]byte(news[i]))
		}
		s.Did("%d messages of up to 9,000 bytes are broadcast, %d bytes together", len(news), total)
		wrote := ann.Writes()
		ann.ResumeReading()
		for i, text := range news {
			got, ok := ann.Next()
			if !ok && ann.Gone() {
				s.FailBecause("what waits is counted in messages, as in a queue of each client.",
					"ann was cut off when %d messages were waiting for her, %d bytes together. The log has room for several times as much.", len(news), total)
			}
			if !ok || string(got.Payload) != text {
				s.FailBecause(causeBorder,
					"message %d of %d, of %d bytes, was lost, or another came instead.", i+1, len(news), len(text))
			}
		}
		if n := ann.Writes() - wrote; n > len(news)/4 {
			s.FailBecause("what waits is written message by message, or in pieces that are smaller than a chunk.",
				"%d messages waited for ann, and the server made %d writes of them.", len(news), n)
		}
	}
}

// slowLine has a peer take one large message in five seconds.
func slowLine(s *scene) {
	eve := s.Dial("eve")
	s.Did("eve connects, 41 messages of about 32 KiB are broadcast, and she reads 32 KiB in five seconds")
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, maxMessageSize)
	eve.Read(buf)
	s.Settle()
	news := s.heavy("news", 40)
	for _, text := range append(news, news[:4]...) {
		s.Broadcast([]byte(text))
	}
	var stream []byte
	for range news {
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		if err != nil {
			cause := "all that waits goes out in one write, and that takes this peer longer than writeWait. One write is a chunk at most."
			if len(stream) > 3*len(buf) {
				cause = "a write has no deadline of its own, but what is left of another's: each needs writeWait."
			}
			s.FailBecause(cause, "the server cut eve off, who takes 32 KiB in five seconds. She had %d bytes by then.", len(stream))
		}
		eve.Write([]byte("\x8a\x80\x00\x00\x00\x00")) // a pong: she lives
		s.Pass(5 * time.Second)
	}
	pings := 0
	for frame, n, _ := wstest.ParseFrame(stream); n > 0; frame, n, _ = wstest.ParseFrame(stream) {
		stream = stream[n:]
		if frame.Op == wstest.OpPing {
			pings++
		}
	}
	if pings == 0 {
		s.FailBecause("the write pump writes until nothing waits, and does not look for a ping meanwhile. It must go back to its select after each write.",
			"eve had something to take for 200 s, and she got no ping in that time.")
	}
}

// pongBefore has messages come together while a pong is being written: who wants to
// hold them back must not wait for that in a mutex, which would stop the time here.
func pongBefore(s *scene) {
	defer onOneProcessor()()
	ann := s.Connect("ann")
	ann.StopReading()
	ann.SendFrame(wstest.Ping("p"))
	s.Settle()
	news := texts("news", 4)
	s.Did("%d messages are broadcast", len(news))
	for _, text := range news {
		s.Broadcast([]byte(text))
	}
	s.Settle()
	ann.ResumeReading()
	ann.WantPong("p")
	ann.WantText(news...)
}

// slowPings has a peer on a slow line ping, so that its pongs wait for the write
// that is under way, and go out with what is held back by then.
func slowPings(s *scene) {
	eve := s.Dial("eve")
	s.Did("eve connects, and messages of 8 KiB are broadcast; she reads 32 KiB in four seconds, and sends pings")
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, 32<<10)
	eve.Read(buf)
	s.Settle()
	for range 48 {
		s.Broadcast([]byte(long(8 << 10)))
	}
	// One goroutine sends the pings: on TCP they would wait in the server's socket for
	// a read pump that is writing.
	s.Start(func() {
		for range 10 {
			eve.Write([]byte("\x89\x80\x00\x00\x00\x00"))
		}
	})
	var stream []byte
	for range 10 {
		s.Pass(4 * time.Second)
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		if err != nil {
			s.FailBecause("a write has only the rest of another's deadline: each needs writeWait of its own.",
				"the server cut eve off, who takes 32 KiB in four seconds.")
		}
	}
	for n := 1; n > 0; stream = stream[n:] {
		var frame wstest.Frame
		var err error
		frame, n, err = wstest.ParseFrame(stream)
		if err != nil || n > 0 && frame.Op == wstest.OpText && string(frame.Payload) != long(8<<10) {
			s.FailBecause("what waits is written in pieces that end within a frame, and a pong may come between two of them. One write has whole frames.",
				"there is something else within a message that eve got.")
		}
	}
}

// pingBetween has a peer ping while messages wait for it, on one processor: there the
// write pump is ready with the next write before the read pump sends its pong.
func pingBetween(s *scene) {
	defer onOneProcessor()()
	ann := s.Connect("ann")
	ann.StopReading()
	news := texts("news", 40)
	for i, text := range news {
		s.Broadcast([]byte(text))
		if i%10 == 5 {
			ann.SendFrame(wstest.Ping("p"))
		}
		s.Settle()
	}
	ann.ResumeReading()
	s.Settle()
	if n := len(ann.Pongs()); n != 4 {
		s.FailBecause("what was broadcast goes out in place of whatever gorilla writes next, which may be a pong. It may take the place of a message only.",
			"ann sent 4 pings while messages waited for her, and got %d pongs.", n)
	}
	ann.WantText(news...)
	ann.WantPong("p")
}

// twoBatches has a write of several messages to one peer take long, while others go
// out to another one.
func twoBatches(s *scene) {
	defer onOneProcessor()()
	ann, eve := s.Connect("ann"), s.Dial("eve")
	s.Did("eve connects, and reads the first message only; ann gets all, twice")
	eve.Write(wstest.Request{}.Bytes("/ws"))
	eve.Read(make([]byte, 1024))
	s.Settle()
	var want []byte
	for _, prefix := range []string{"news", "more"} {
		ann.Stall()
		news := texts(prefix, 40)
		for _, text := range news {
			s.broadcastAtOnce([]byte(text))
			want = append(append(want, 0x81, byte(len(text))), text...)
		}
		if prefix == "news" {
			first := 2 + len(news[0])
			io.ReadFull(eve, make([]byte, first))
			want = want[first:]
		}
		ann.ResumeReading()
		ann.WantText(news...)
	}
	got := make([]byte, len(want))
	io.ReadFull(eve, got)
	if string(got) != string(want) {
		s.FailBecause("memory that is still being written to one peer is changed: a chunk is used again, or all connections share a buffer.",
			"eve, who took her messages more slowly than ann, did not get what was broadcast.")
	}
}

// closeBetween has a peer close while messages wait for it.
func closeBetween(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	for _, text := range texts("news", 40) {
		s.broadcastAtOnce([]byte(text)) // the first one is being written, and the others wait
	}
	ann.Close(1000, "")
	s.Settle()
	ann.ResumeReading()
	ann.WantClose(1000)
	s.Pass(grace)
	if late := ann.AfterClose(); late != nil {
		s.FailBecause("frames go around gorilla, which knows that the close frame has been sent.",
			"after the close frame the server sent %s.", late)
	}
	s.wantOnline(0)
}

// failingWrite has a write of several messages fail.
func failingWrite(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	eve, id := s.connectID("eve")
	for _, p := range []*wstest.Peer{ann, bob, eve} {
		p.WantOpen("nobody has left")
	}
	eve.StopReading()
	news := texts("news", 40)
	for _, text := range news {
		s.Broadcast([]byte(text))
		s.Settle()
	}
	eve.FailNextWrite()
	eve.ResumeReading()
	s.Pass(grace)
	ann.WantText(news...)
	bob.WantText(news...)
	if n := s.online(); n != 2 {
		s.FailBecause("the error of the write is lost on the way to the write pump.",
			"GET /online says %d, but a write to eve has failed, and 2 peers are left.", n)
	}
	if s.Send(id, "hello") == nil {
		s.Fail("Send to eve's id returned no error, although the write to her has failed.")
	}
	s.talk(ann, "still here?")
	bob.WantText("still here?")

	// What was not written to eve must not come to anybody else.
	ann.StopReading()
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	ann.ResumeReading()
	for i, text := range news {
		if got, ok := ann.Next(); !ok || string(got.Payload) != text {
			s.FailBecause("what a failed write has left behind comes to somebody else.",
				"ann did not get message %d of %d as it was sent, after a write to eve had failed.", i+1, len(news))
		}
	}
}
