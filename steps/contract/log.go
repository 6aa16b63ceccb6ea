package contract

import (
	"fmt"
	"io"
	"runtime"
	"strings"
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
			t.scene(manyChunks)
			t.scene(slowLine)
			t.scene(pongBefore)
			t.scene(slowPings)
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
			t.scene(tooBigToBroadcast)
		},
		meets: true,
	},
	{
		Task: "9.2", Name: "a peer that has fallen behind the log is cut off without a gap, and holds no more than the log",
		cause: "the cursor of a peer is not compared with the beginning of the log; or something beside the log holds what was broadcast.",
		test: func(t *trial) {
			t.scene(notBehindYet)
			t.scene(fallBehind)
			t.scene(readTooLate)
			t.scene(holdNoMore)
		},
	},
	{
		Task: "9.3", Name: "messages to one id, pings and close frames reach a busy peer, and a shutdown delivers all that was broadcast",
		cause: "at the end of a connection only the queue is written, and not what still stands in the log.",
		test: func(t *trial) {
			t.scene(allBeforeTheEnd)
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
		if ann.Gone() {
			s.FailBecause("what waits is counted in messages, not in bytes; or what was written is still counted.",
				"ann was cut off. Each message has about ten bytes, so that all of them are far less than the log holds.")
		}
		ann.ResumeReading()
		for i, text := range news {
			if got, ok := ann.Next(); !ok || string(got.Payload) != text {
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
	const receivers, all = 200, 30_000
	peers, _ := s.HandshakeAll("peer who does not read", receivers, wstest.Request{})
	for _, p := range peers {
		p.Stall()
	}
	s.Broadcast([]byte("news"))
	s.Settle()
	s.Did("%d short messages are broadcast to them", all)
	held := s.Heap()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range all {
		s.Broadcast([]byte("news"))
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
	for _, p := range peers {
		p.Reset()
	}
}

// joinInAFlood lets peers join while somebody broadcasts. Each must get all messages
// from its first one on.
func joinInAFlood(s *scene) {
	const all, joining = 2000, 20
	s.Did("%d messages are broadcast; meanwhile %d peers connect", all, joining)
	flood := s.Start(func() {
		for i := range all {
			s.Broadcast(fmt.Append(nil, i))
			time.Sleep(time.Millisecond)
		}
	})
	var peers []*wstest.Peer
	for range joining {
		p, _ := s.HandshakeQuietly(wstest.Request{})
		s.FailUnless(p != nil, "a peer could not connect during the flood.")
		peers = append(peers, p)
		time.Sleep(73 * time.Millisecond)
	}
	s.Pass(all * time.Millisecond)
	s.FailUnless(flood.Returned(), "Broadcast has not returned.")
	for _, p := range peers {
		got := p.Messages()
		for i, f := range got {
			if want := fmt.Sprint(all - len(got) + i); string(f.Payload) != want {
				s.FailBecause("a peer's place in the log is set before or after it begins to be sent to: what is broadcast in between comes twice, or never.",
					"a peer that connected during the flood got %s where %q should have come. It should get everything from its first message on, once.", f, want)
			}
		}
		s.FailUnless(len(got) > 0, "a peer that connected during the flood got nothing of it.")
	}
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
	case err == nil && (len(got) != 1 || string(got[0].Payload) != long(size)):
		s.FailBecause("a message that does not fit into a chunk is cut, or left out without a word.",
			"Broadcast returned nil for %d bytes, but ann did not get them as they were.", size)
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
	for i := range news {
		news[i] += strings.Repeat(" ", size-len(news[i]))
		s.Broadcast([]byte(news[i]))
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
	for i, f := range eve.Messages() {
		if i >= len(news) || string(f.Payload) != news[i] {
			s.FailBecause("a peer goes on at another place when its own is gone. It has lost messages then and cannot know it: cut it off.",
				"eve read again, when her place in the log was gone. She got %.20q after %d messages, and it is not the next one.", f.Payload, i)
		}
	}
	if closing := eve.ClosedWith(); closing != nil && closing.CloseCode() == 1011 {
		s.FailBecause("what the cursor returns is taken from a chunk that has another number by now: compare the numbers first.",
			"eve read again, when her place in the log was gone, and something panicked in her connection.")
	}
	s.Pass(grace)
	if !eve.Gone() {
		s.FailBecause("nothing compares a peer's place with the beginning of the log.",
			"eve read again, when her place in the log was gone, and she is still connected.")
	}
	s.broadcastAtOnce([]byte("goodbye"))
	ann.WantText("goodbye")
}

// holdNoMore lets many peers stop reading, each at another place, and measures what
// they hold.
func holdNoMore(s *scene) {
	const peers, rounds = 40, 1000 // 32 MB
	stalled, _ := s.HandshakeAll("peer", peers, wstest.Request{})
	s.Did("%d messages of %d bytes are broadcast; after each %d of them one more peer stops reading", rounds, heavySize, rounds/peers)
	text := []byte(s.heavy("news", 1)[0])
	held := s.Heap()
	for i := range rounds {
		if i%(rounds/peers) == 0 {
			stalled[i/(rounds/peers)].Stall()
		}
		s.Broadcast(text)
		s.Settle()
		for _, p := range stalled {
			p.Messages()
		}
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
	s.Did("%d messages of %d bytes are broadcast, and one is sent to ann's id", len(news), size)
	for i := range news {
		news[i] += strings.Repeat(" ", size-len(news[i]))
		s.Broadcast([]byte(news[i]))
	}
	s.Send(id, "for you alone")
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
		case !ok && alone != 1:
			s.FailBecause(causeNotFlushed, "ann did not get the message to her id that was sent before Shutdown.")
		case !ok:
			ann.WantClose(1001)
			s.wantNil(down)
			return
		case string(got.Payload) == "for you alone":
			alone++
		case next == len(news) || string(got.Payload) != news[next]:
			s.Fail("ann got %.20q after %d messages.", got.Payload, next)
		default:
			next++
		}
	}
}

// endInAFlood ends a connection while others go on talking.
func endInAFlood(s *scene) {
	ann := s.Connect("ann")
	s.Did("a message is broadcast each millisecond for 20 s; after a second ann begins a message that is too big")
	s.Start(func() {
		for range 20_000 {
			s.Broadcast([]byte("news"))
			time.Sleep(time.Millisecond)
		}
	})
	s.Pass(time.Second)
	ann.SendRaw([]byte("\x82\xfe\x80\x01\x00\x00\x00\x00"))
	s.Pass(closeWait)
	if closing := ann.ClosedWith(); closing == nil || closing.CloseCode() != 1009 {
		s.FailBecause("the write pump writes what is broadcast for as long as something is. At the end it must stop where the log ended then.",
			"ann got no close frame with 1009.")
	}
	s.Pass(20 * time.Second)
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
			s.FailBecause("a message is held back although nothing comes behind it: the last of those that were taken must go out at once, and what is held with it. Or the write pump waits before it takes.",
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
		ann.WantText(news...)
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
		if !ok || got.Op != want.Op || string(got.Payload) != string(want.Payload) {
			s.FailBecause("the first byte of a frame is made without the message's type.",
				"message %d that had waited for ann did not come as bob sent it: %s.", i+1, want)
		}
	}
}

// everyLength has messages with each form of the length wait together, and come
// alone.
func everyLength(s *scene) {
	const cause = "a frame has the wrong length bytes: up to 125 the length is in the second byte; 126 there stands for two bytes of length behind it (RFC 6455, section 5.2)."
	ann := s.Connect("ann")
	lengths := []int{0, 1, 125, 126, 127, 255, 256, 4096, maxMessageSize}
	want := func(n int, how string) {
		got, ok := ann.Next()
		if !ok || len(got.Payload) != n || string(got.Payload) != long(n) {
			s.FailBecause(cause, "a message of %d bytes %s did not come as it was.", n, how)
		}
	}
	for _, n := range lengths {
		s.Broadcast([]byte(long(n)))
		want(n, "that came alone")
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
		want(n, "that had waited with others")
		want(n, "that had waited with others")
	}
}

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
			if got, ok := ann.Next(); !ok || string(got.Payload) != text {
				s.FailBecause("from one chunk to the next a message is lost, comes twice, or is cut.",
					"message %d of %d, of %d bytes, was lost, or another came instead.", i+1, len(news), len(text))
			}
		}
		if n := ann.Writes() - wrote; n > len(news)/4 {
			s.Fail("%d messages waited for ann, and the server made %d writes of them.", len(news), n)
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
			s.FailBecause("all that waits goes out in one write, and that takes this peer longer than writeWait. One write is a chunk at most.",
				"the server cut eve off, who takes 32 KiB in five seconds. She had %d bytes by then.", len(stream))
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

// pingBetween has a peer ping while messages wait for it.
func pingBetween(s *scene) {
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
		s.Broadcast([]byte(text))
	}
	s.Settle()
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
