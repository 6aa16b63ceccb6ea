package contract

import (
	"bytes"
	"runtime"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes in which the size of something matters: of a message, of
// what waits, of a payload.

// nothingInIt lets messages of both types be empty.
func nothingInIt(s *scene) {
	ann := s.Connect("ann")
	for _, f := range []wstest.Frame{wstest.Binary(""), wstest.Text(""), wstest.Binary("\x00"), wstest.Binary("")} {
		s.wantEcho(ann, f)
	}
}

// notUTF8Anywhere breaks a long text at many places.
func notUTF8Anywhere(s *scene) {
	const size = 30_000
	for _, at := range []int{0, 1, 511, 512, 513, 1023, 1024, 4095, 4096, 8191, 16_383, 16_384, size - 2, size - 1} {
		ann := s.Connect("ann")
		text := []byte(long(size))
		text[at] = 0xff
		s.Did("ann sends a text of %d bytes, of which byte %d cannot be in UTF-8", size, at)
		ann.SendFrame(wstest.Text(string(text)))
		s.wantRefusal(ann, 1007, "only a part of a text is checked. Each byte of it counts.")
		s.Pass(grace)
	}
	for _, cut := range []int{1, 2, 3} {
		ann := s.Connect("ann")
		text := long(size) + "\U0001F600"[:cut]
		s.Did("ann sends a text of %d bytes that ends within a character", len(text))
		ann.SendFrame(wstest.Text(text))
		s.wantRefusal(ann, 1007, "the end of a text is not checked: a character may be cut off there.")
		s.Pass(grace)
	}
	ann := s.Connect("ann")
	for _, text := range []string{strings.Repeat("é", size/2), "x" + strings.Repeat("世", size/3), strings.Repeat("\U0001F600", size/4)} {
		s.wantEcho(ann, wstest.Text(text)) // characters stand across whatever it is cut into
	}
}

// bigForTheDeaf writes a long message to a peer that does not read.
func bigForTheDeaf(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	s.Did("ann sends a message of 30,000 bytes, and does not read the answer")
	ann.SendQuietly(long(30_000))
	s.Pass(writeWait - time.Second)
	ann.WantOpen("the server has been writing to her for less than 10 s")
	s.Pass(time.Second + grace)
	if !ann.Gone() {
		s.FailBecause("a long message may take longer than a short one. writeWait is for each write, whatever its size.",
			"ann's connection is still open on the server's side, although the server has been writing to her for more than 10 s.")
	}
}

// deafToTheEnd refuses a peer that takes not even the close frame.
func deafToTheEnd(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	s.Did("ann sends text that is not UTF-8, and does not take the close frame")
	ann.SendFrame(wstest.Text("\xff"))
	s.Pass(writeWait + grace)
	if !ann.Gone() {
		s.FailBecause("the close frame is written without a deadline: WriteControl takes one, and the zero time.Time is none.",
			"ann's connection is still open on the server's side, %v after she should have been told 1007.", writeWait)
	}
}

// longPings sends pings with the longest payload there is (RFC 6455, section 5.5),
// and some shorter ones.
func longPings(s *scene) {
	ann := s.Connect("ann")
	for _, n := range []int{125, 124, 65, 64, 63, 1, 0} {
		payload := strings.Repeat("p", n)
		ann.SendFrame(wstest.Ping(payload))
		ann.WantPong(payload)
	}
}

// manyPings sends many pings, and takes no pong.
func manyPings(s *scene) {
	const pings, few = 1000, 50
	ann := s.Connect("ann")
	ann.StopReading()
	before := runtime.NumGoroutine()
	s.Did("ann sends %d pings, and does not read", pings)
	ping := wstest.Ping("p").Bytes()
	ann.SendRaw(bytes.Repeat(ping, pings))
	s.Pass(time.Second)
	if more := runtime.NumGoroutine() - before; more > few {
		s.FailBecause("each ping is answered by a goroutine of its own, which waits until the peer reads. The read pump can wait itself.",
			"the server has %d goroutines more than before.", more)
	}
	ann.ResumeReading()
}

// pongsWithPayload lets a peer live by pongs that nobody has asked for.
func pongsWithPayload(s *scene) {
	ann := s.Connect("ann")
	ann.NoPongs()
	for _, payload := range []string{"", "here", long(125)} {
		s.Pass(pongWait - 10*time.Second)
		s.Did("ann sends a pong with %d bytes of payload", len(payload))
		ann.SendFrame(wstest.Frame{Fin: true, Op: wstest.OpPong, Payload: []byte(payload)})
		s.Settle()
	}
	s.Pass(pongWait - 10*time.Second)
	if ann.Gone() || ann.ClosedWith() != nil {
		s.FailBecause("only a pong without a payload, or with one of the server's own, counts. Each pong shows that the peer is there.",
			"the server has ended ann's connection, although her last pong came 50 s ago.")
	}
}

// allThatWaits shuts down while a queue is full.
func allThatWaits(s *scene) {
	ann := s.Connect("ann")
	ann.StopReading()
	news := texts("news", sendQueueSize-2)
	s.Did("%d messages are broadcast: ann's queue is full, but for a place", len(news))
	for _, text := range news {
		s.broadcastAtOnce([]byte(text))
	}
	s.shutDown(time.Minute)
	s.Settle()
	ann.ResumeReading()
	for i, text := range news {
		if got, ok := ann.Next(); !ok || string(got.Payload) != text {
			s.FailBecause("the queue is emptied up to a number of messages only.",
				"ann got %d of the %d messages that were queued before Shutdown.", i, len(news))
		}
	}
	ann.WantClose(1001)
}
