package contract

import (
	"io"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// RunBeyond holds the last solution to what it does, and what no promise asks for:
// another server may do otherwise, and be right.
func RunBeyond(t *testing.T, start func(Config) Server) {
	for _, b := range []struct {
		name string
		play func(*scene)
	}{
		{"a peer that takes its queue too slowly is cut off 10 s after its end", slowEnd},
		{"a peer that is still sending gets 2 s to see its close frame, however long it had been silent", lateEnd},
	} {
		t.Run(b.name, func(t *testing.T) { fuzzScene(t, start, b.name, Config{}, b.play) })
	}
}

// slowEnd lets a peer break the protocol, and then take one message in nine
// seconds: each write is in time, but all of them would take minutes.
func slowEnd(s *scene) {
	eve := s.Dial("eve")
	s.Did("eve connects, and 60 messages of 30,000 bytes are broadcast, which she does not read")
	eve.Write(wstest.Request{}.Bytes("/ws"))
	eve.Read(make([]byte, 1024))
	s.Settle()
	for range 60 {
		s.Broadcast([]byte(long(30_000)))
	}
	s.Settle() // the server is writing to her from now on
	s.Did("eve sends a frame without a mask, which ends her connection, and reads one message 9 s later")
	eve.Write([]byte("\x81\x02hi"))
	s.Pass(writeWait - time.Second)
	s.hold(closesRight, !eve.Gone(), "the server has not given eve 10 s to take what was queued for her.")
	io.ReadFull(eve, make([]byte, 4+30_000))
	s.Pass(time.Second + grace)
	s.hold(gone, eve.Gone(), "eve's connection is still open on the server's side.")
}

// lateEnd lets a peer break the protocol when its read deadline is near.
func lateEnd(s *scene) {
	ann := s.Connect("ann")
	ann.NoPongs()
	ann.IgnoreClose()
	s.Pass(pongWait - time.Second)
	s.Did("ann begins a message that is too big")
	ann.SendRaw([]byte("\x82\xfe\x80\x01\x00\x00\x00\x00"))
	ann.WantClose(1009)
	s.Pass(closeWait - time.Second/2)
	s.hold(closesRight, !ann.Gone(), "the server has closed the socket before ann could answer the close frame.")
	s.Pass(grace)
	s.hold(gone, ann.Gone(), "ann's connection is still open on the server's side.")
}
