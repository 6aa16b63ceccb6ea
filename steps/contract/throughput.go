package contract

import (
	"io"
	"runtime"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// throughput is the contract of step 9, which is optional: many messages, one
// write.
var throughput = []Promise{
	{
		Task: "9.1", Name: "a send queue is bounded in bytes, not in messages",
		cause: "add counts messages instead of bytes, or drop does not give back what was written, or does not wake the write pump for what is left.",
		test: func(t *trial) {
			t.scene(manyShort)
			t.scene(tooManyEmpty)
			t.scene(roomComesBack)
			t.scene(roomForWhatIsLeft)
			t.scene(framesOnce)
			t.scene(allBeforeTheEnd)
		},
	},
	{
		Task: "9.2", Name: "what waits for a peer goes out in one write, one frame a message, and waits for nothing",
		cause: "the frames that were taken from the queue are written one by one, or the connection below gorilla's is not a corkedConn; or drop does not wake the write pump; or a buffer goes back into the pool with something in it; or Write keeps the lock while it writes.",
		test: func(t *trial) {
			t.scene(oneWrite)
			t.scene(bothTypes)
			t.scene(everyLength)
			t.scene(slowLine)
			t.scene(pongBefore)
			t.scene(slowPings)
			t.scene(pingBetween)
			t.scene(twoBatches)
			t.scene(closeBetween)
			t.scene(failingWrite)
		},
	},
}

// manyShort lets more messages wait than step 8 had room for, twice.
func manyShort(s *scene) {
	const all = 20_000
	ann := s.Connect("ann")
	for round, cause := range []string{
		"the queue has room for a number of messages, not of bytes.",
		"not all that add has counted is given back by drop.",
	} {
		ann.StopReading()
		s.Did("%d short messages are broadcast", all)
		news := texts("news", all)
		for i, text := range news {
			s.Broadcast([]byte(text))
			if i < 200 {
				s.Settle()
			}
		}
		s.Settle()
		if ann.Gone() {
			s.FailBecause(cause, "ann was cut off, in round %d. Each message counts about 75 bytes, and her queue has room for %d. Between the rounds she read all of them.", round+1, sendQueueBytes)
		}
		ann.ResumeReading()
		ann.WantText(news...)
	}
}

// tooManyEmpty fills a queue with messages that have no bytes.
func tooManyEmpty(s *scene) {
	// So many wait, so many are being written, which may count or not, and some more.
	const all = sendQueueBytes/frameCost + maxMessageSize/2 + 1000
	ann := s.Connect("ann")
	ann.StopReading()
	s.Did("%d empty messages are broadcast", all)
	for range all {
		s.Broadcast(nil)
	}
	s.Pass(grace)
	if !ann.Gone() {
		s.FailBecause("only the bytes of messages are counted. A message that waits takes memory, however short it is: count frameCost for each, too.",
			"ann, who reads nothing, has not been cut off, although %d messages wait for her.", all)
	}
}

// roomComesBack fills a queue nearly, several times.
func roomComesBack(s *scene) {
	const nearly = sendQueueSize - 4
	ann := s.Connect("ann")
	for range 3 {
		ann.StopReading()
		s.Did("%d messages of %d bytes are broadcast", nearly, sendQueueBytes/sendQueueSize-frameCost)
		news := s.heavy("news", nearly)
		for _, text := range news {
			s.Broadcast([]byte(text))
		}
		s.Settle()
		if ann.Gone() {
			s.FailBecause("what was written is not taken off the count again.",
				"ann was cut off, although no more waited for her than her queue has room for.")
		}
		ann.ResumeReading()
		for i, text := range news {
			if got, ok := ann.Next(); !ok || string(got.Payload) != text {
				s.FailBecause("take and drop disagree about which frames were written: some are lost, or come twice.",
					"message %d of %d was lost, or another came instead.", i+1, nearly)
			}
		}
	}
}

// roomForWhatIsLeft has a peer take a part of a queue that is nearly full.
func roomForWhatIsLeft(s *scene) {
	const nearly, read, more = sendQueueSize - 4, 8, 14
	eve := s.Dial("eve")
	s.Did("eve connects, %d messages of about 32 KiB are broadcast, she reads %d of them, and %d more are broadcast", nearly, read, more)
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, read*maxMessageSize)
	eve.Read(buf)
	s.Settle()
	for i, text := range s.heavy("news", nearly+more) {
		if i == nearly {
			s.Settle()
			io.ReadFull(eve, buf)
			s.Settle()
		}
		s.Broadcast([]byte(text))
	}
	s.Pass(grace)
	if !eve.Gone() {
		s.FailBecause("drop gives back more than was written. What is left in the queue still counts.",
			"eve has not been cut off, although %d messages wait for her, and her queue has room for %d.", nearly-read+more, sendQueueSize)
	}
}

// framesOnce counts what Broadcast allocates, with many receivers.
func framesOnce(s *scene) {
	const receivers, all = 100, 40
	peers, _ := s.HandshakeAll("peer who does not read", receivers, wstest.Request{})
	for _, p := range peers {
		p.Stall()
	}
	s.Broadcast([]byte("news"))
	s.Settle()
	s.Did("%d messages are broadcast to them", all)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range all {
		s.Broadcast([]byte("news"))
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > receivers*all/2 {
		s.FailBecause("each receiver gets a frame of its own. Broadcast must make the frame, once, and queue the same one for all.",
			"Broadcast has allocated memory %d times for %d messages to %d receivers.", n, all, receivers)
	}
	for _, p := range peers {
		p.Reset()
	}
}

// allBeforeTheEnd shuts down while more waits than some writes take: a select may
// take some batches before it sees the end.
func allBeforeTheEnd(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	news := texts("news", 1000)
	s.Did("%d messages of about 1,000 bytes are broadcast", len(news))
	for i := range news {
		news[i] = padded(news[i], 1000+frameCost)
		s.Broadcast([]byte(news[i]))
	}
	s.Settle()
	down := s.shutDown(time.Minute)
	s.Settle()
	ann.ResumeReading()
	for i, text := range news {
		if got, ok := ann.Next(); !ok || string(got.Payload) != text {
			s.FailBecause("flush writes one batch, and not all that is queued. Or a buffer comes out of the pool with something in it: Reset it before you put it back.",
				"ann got %d of the %d messages that had been queued before Shutdown.", i, len(news))
		}
	}
	ann.WantClose(1001)
	s.wantNil(down)
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
	const cause = "a frame has the wrong length bytes: up to 125 the length is in the second byte; 126 there stands for two bytes of length behind it, and 127 for eight (RFC 6455, section 5.2)."
	ann := s.Connect("ann")
	lengths := []int{0, 1, 125, 126, 127, 4096, 65535, 65536, 70_000}
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

// slowLine has a peer take one large message in five seconds.
func slowLine(s *scene) {
	eve := s.Dial("eve")
	s.Did("eve connects, 41 messages of about 32 KiB are broadcast, and she reads 32 KiB in five seconds")
	eve.Write(wstest.Request{}.Bytes("/ws"))
	buf := make([]byte, maxMessageSize)
	eve.Read(buf)
	s.Settle()
	news := s.heavy("news", 40)
	for _, text := range append(news, news[0]) {
		s.Broadcast([]byte(text))
	}
	var stream []byte
	for range news {
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		if err != nil {
			s.FailBecause("all that is queued goes out in one write, and that takes this peer longer than writeWait. take must stop at batchSize.",
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
		s.FailBecause("the write pump writes until the queue is empty, and does not look for a ping meanwhile. It must go back to its select after each batch.",
			"eve's queue was not empty for 200 s, and she got no ping in that time.")
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
	s.Did("eve connects, and messages of 8 KiB are broadcast; she reads 32 KiB in six seconds, and sends pings")
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
		s.Pass(6 * time.Second)
		n, err := io.ReadFull(eve, buf)
		stream = append(stream, buf[:n]...)
		if err != nil {
			s.FailBecause("a pong that takes along what is held back has only the rest of its own deadline, which began when it was due. Write must give all of it writeWait anew.",
				"the server cut eve off, who takes 32 KiB in six seconds.")
		}
	}
	for n := 1; n > 0; stream = stream[n:] {
		var frame wstest.Frame
		var err error
		frame, n, err = wstest.ParseFrame(stream)
		if err != nil || n > 0 && frame.Op == wstest.OpText && string(frame.Payload) != long(8<<10) {
			s.FailBecause("what waits is written in pieces that end within a frame, and a pong may come between two of them. A batch must be whole frames, and go out in one write.",
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
		s.FailBecause("a buffer is used for another peer while it is still being written: it goes back into the pool too early, or all connections share one.",
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
		s.FailBecause("Write returns no error when its own write has failed, so that nobody learns of it.",
			"GET /online says %d, but a write to eve has failed, and 2 peers are left.", n)
	}
	if s.Send(id, "hello") == nil {
		s.Fail("Send to eve's id returned no error, although the write to her has failed.")
	}
	s.talk(ann, "still here?")
	bob.WantText("still here?")

	// What was in eve's buffer must not come to anybody else.
	ann.StopReading()
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	ann.ResumeReading()
	for i, text := range news {
		if got, ok := ann.Next(); !ok || string(got.Payload) != text {
			s.FailBecause("a buffer goes back into the pool with what a failed write has left in it. Reset it first.",
				"ann did not get message %d of %d as it was sent, after a write to eve had failed.", i+1, len(news))
		}
	}
}
