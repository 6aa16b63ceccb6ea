package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// RunBeyond holds the last solutions to what they do, and what no promise asks for:
// another server may do otherwise, and be right.
func RunBeyond(t *testing.T, start func(Config) Server) {
	for _, b := range []struct {
		name string
		cfg  Config
		play func(*scene)
	}{
		{"a peer that takes its queue too slowly is cut off 10 s after its end", Config{}, slowEnd},
		{"a peer that is still sending gets 2 s to see its close frame, however long it had been silent", Config{}, lateEnd},
		{"all bytes of an address are read at its rate, and nothing is lost", Config{Limits: &Limits{ByteRate: 1000}}, bytesPaced},
		{"empty fragments and control frames count with all their bytes", Config{Limits: &Limits{ByteRate: 1000}}, fragmentsPaced},
		{"who is slowed to a byte in ten seconds is not taken for dead", Config{Limits: &Limits{ByteRate: 0.1}}, slowestRate},
		{"all connections together have a cap, with 503", Config{Limits: &Limits{MaxConnections: 3}}, allTogether},
		{"without limits nobody is refused or slowed", Config{Limits: &Limits{}}, noLimits},
		{"refusals of one address are logged at a rate, with how many were left out", Config{}, refusalsLogged},
	} {
		t.Run(b.name, func(t *testing.T) { beyondScene(t, start, b.name, b.cfg, b.play) })
	}
	for _, b := range []struct {
		name string
		run  func(*testing.T, func(Config) Server, string)
	}{
		{"who is not authenticated gets 401, and the user of others is in each record", authenticated},
		{"the context of a hook is done when its connection has ended", hookContext},
		{"Shutdown does not wait for a hook that does not return", hookThatHangs},
	} {
		t.Run(b.name, func(t *testing.T) { b.run(t, start, b.name) })
	}
}

// beyondScene runs a scenario with a server of this configuration.
func beyondScene(t *testing.T, start func(Config) Server, name string, cfg Config, play func(*scene)) {
	about := wstest.About{Promise: name, Read: "steps/contract/beyond.go"}
	wstest.Run(t, about, func(b *wstest.Bench) {
		cfg.Log = b.Log.Logger()
		s := &scene{Bench: b, Server: start(cfg), step: Steps}
		b.Serve(s.HTTP, s.end)
		play(s)
		s.hold(noPanic, s.panicked() == "", "something has panicked.")
	})
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

// slowed is what [RunBeyond] demands of the byte rate.
const slowed invariant = "the bytes of an address are read at its rate, all of them, and nobody else waits"

// bytesPaced has two connections of one address send at once, and one of another.
func bytesPaced(s *scene) {
	home := wstest.Request{IP: "10.9.0.1"}
	ann, bob, cat := s.ConnectFrom("ann", home), s.ConnectFrom("bob", home), s.Connect("cat")
	const each, size = 20, 494 // and 6 bytes of header: 500
	s.Did("ann and bob, from one address, send %d messages of %d bytes each; 1,000 bytes a second are allowed, 2,000 at once", each, size)
	for i := range each {
		text := fmt.Sprint(i) + strings.Repeat(" ", size)
		ann.SendRaw(frame(fin|opText, text[:size]))
		bob.SendRaw(frame(fin|opText, text[:size]))
	}
	got := 0
	for second := range each {
		s.Settle()
		got += len(cat.Messages())
		most := 2000/500 + 1000/500*second
		s.hold(slowed, got <= most+2 && got >= most-5, "after %d s cat has got %d messages of 500 bytes, and not about %d.", second, got, most)
		dan := fmt.Sprint("cat ", second)
		cat.SendQuietly(dan)
		s.Settle()
		s.hold(slowed, cat.HasText(dan), "cat's own message did not come back at once.")
		s.Pass(time.Second)
	}
	s.Pass(5 * time.Second)
	got += len(cat.Messages())
	s.hold(slowed, got == 2*each, "cat has got %d of the %d messages.", got, 2*each)
}

// fragmentsPaced has a peer send what is no message.
func fragmentsPaced(s *scene) {
	ann := s.Connect("ann")
	s.Did("ann sends the first fragment of a message, and 1,000 empty ones and 500 pongs behind it; 1,000 bytes a second are allowed")
	ann.SendRaw(frame(opText, "begin"))
	for range 500 {
		ann.SendRaw(append(append(frame(opMore, ""), frame(fin|opPong, "")...), frame(opMore, "")...))
	}
	ann.SendRaw(frame(fin|opMore, "end"))
	s.Pass(5 * time.Second)
	s.hold(slowed, len(ann.Messages()) == 0, "the message has come back after 5 s, although its frames have 9,000 bytes.")
	s.Pass(5 * time.Second)
	s.hold(slowed, len(ann.Messages()) == 1, "the message has not come back after 10 s, although its frames have 9,000 bytes.")
}

// slowestRate has a peer wait for each byte for longer than the wait for a pong.
func slowestRate(s *scene) {
	ann := s.Connect("ann")
	s.Did("ann sends a message of 10 bytes; one byte in ten seconds is allowed")
	ann.SendRaw(frame(fin|opText, "0123"))
	s.Pass(3 * pongWait)
	s.hold(slowed, ann.HasText("0123"), "her message has not come back after %v.", 3*pongWait)
	s.hold(lively, !ann.Gone(), "the server has closed ann's connection.")
}

// allTogether fills the server.
func allTogether(s *scene) {
	ann := s.Connect("ann")
	s.Connect("bob")
	s.Connect("cat")
	_, answer := s.Handshake("dan", wstest.Request{})
	s.hold(validUpgrade, answer.Status == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "", "three are connected, which is the cap; dan should get 503 with Retry-After: %s.", answer)
	for range 20 {
		s.HandshakeQuietly(wstest.Request{Plain: true}) // fails, and gives its place back
	}
	s.Did("ann leaves")
	ann.Leave()
	s.Pass(grace)
	in, _ := s.HandshakeAll("a newcomer", 10, wstest.Request{})
	s.hold(validUpgrade, len(in) == 1, "%d newcomers got in, and there was room for one.", len(in))
}

// noLimits does more than any limit allows.
func noLimits(s *scene) {
	in, _ := s.HandshakeAll("ann", 300, wstest.Request{IP: "10.9.0.1"})
	s.hold(validUpgrade, len(in) == 300, "%d of 300 got in, and no limit is set.", len(in))
	s.Did("one of them sends 200 messages in one go")
	in[0].SendRaw(inOneGo(texts("news", 200)))
	s.Settle()
	s.hold(slowed, len(in[1].Messages()) == 200, "not all of them have arrived at once.")
}

// refusalsLogged has an address try and try.
func refusalsLogged(s *scene) {
	const tries = 200
	s.Did("10.9.0.1 tries %d handshakes, from a page that may not", tries)
	for range tries {
		s.HandshakeQuietly(wstest.Request{IP: "10.9.0.1", Header: http.Header{"Origin": {"https://evil.example"}}})
	}
	records := len(s.Log.Records())
	s.hold(logsLittle, records > 0 && records <= 10, "the log has %d records of it.", records)
	s.Pass(10 * time.Second)
	s.HandshakeQuietly(wstest.Request{IP: "10.9.0.1", Header: http.Header{"Origin": {"https://evil.example"}}})
	last := s.Log.Records()[len(s.Log.Records())-1]
	s.hold(logsLittle, contains(last, fmt.Sprint(tries-records)), "10 s later it tries once more, and the record of that does not say that %d were left out: %s.", tries-records, last)
}

const (
	logsLittle invariant = "a flood of refusals does not fill the log"
	lively     invariant = "a peer that shows signs of life is not cut off"
	known      invariant = "nobody connects whom Authenticate does not know"
	hooksAlone invariant = "a hook can hold up its own connection, and nothing else"
)

func authenticated(t *testing.T, start func(Config) Server, name string) {
	cfg := Config{Authenticate: func(r *http.Request) (string, error) {
		if r.Header.Get("Authorization") != "Bearer good" {
			return "", errors.New("no ticket")
		}
		return "user 17", nil
	}}
	beyondScene(t, start, name, cfg, func(s *scene) {
		for _, ticket := range []string{"", "Bearer bad"} {
			_, answer := s.Handshake("eve", wstest.Request{IP: "10.9.0.1", Header: http.Header{"Authorization": {ticket}}})
			s.hold(known, answer.Status == http.StatusUnauthorized, "eve should get 401: %s.", answer)
		}
		before := len(s.Log.Records())
		ann := s.ConnectFrom("ann", wstest.Request{IP: "10.9.0.1", Header: http.Header{"Authorization": {"Bearer good"}}})
		s.talk(ann, "hello")
		ann.Leave()
		s.Pass(grace)
		for _, r := range s.Log.Records()[before:] {
			s.hold(known, contains(r, "user 17"), "a record of ann's connection does not name the user: %s.", r)
		}
		for range 2 * maxPerIP { // a refusal gives its slot back
			s.Handshake("eve", wstest.Request{IP: "10.9.0.1"})
			time.Sleep(time.Second)
		}
		s.ConnectFrom("ann", wstest.Request{IP: "10.9.0.1", Header: http.Header{"Authorization": {"Bearer good"}}})
	})
}

func hookContext(t *testing.T, start func(Config) Server, name string) {
	var running, ended atomic.Int64
	wait := func(ctx context.Context) {
		running.Add(1)
		<-ctx.Done()
		ended.Add(1)
	}
	cfg := Config{OnMessage: func(ctx context.Context, _, _ string) { wait(ctx) }}
	beyondScene(t, start, name, cfg, func(s *scene) {
		ann, bob := s.Connect("ann"), s.Connect("bob")
		ann.SendQuietly("hello")
		bob.SendQuietly("hello")
		s.Settle()
		s.hold(hooksAlone, running.Load() == 2 && ended.Load() == 0, "%d hooks run, and the contexts of %d are done. Two peers have sent a message, and are connected.", running.Load(), ended.Load())
		s.Did("so much is broadcast that both are cut off: they do not read")
		ann.Stall()
		bob.Stall()
		for range s.over() {
			s.Broadcast([]byte(long(heavySize)))
		}
		s.Pass(writeWait + grace)
		s.hold(hooksAlone, ended.Load() == 2, "the connections have ended, and the contexts of %d hooks of 2 are done.", ended.Load())
	})
}

func hookThatHangs(t *testing.T, start func(Config) Server, name string) {
	release := make(chan struct{})
	cfg := Config{OnMessage: func(_ context.Context, _, text string) {
		if text == "hang" {
			<-release
		}
	}}
	beyondScene(t, start, name, cfg, func(s *scene) {
		release = make(chan struct{}) // of the bubble
		ann, bob := s.Connect("ann"), s.Connect("bob")
		s.Did("ann's hook does not return")
		ann.SendQuietly("hang")
		s.Settle()
		down := s.shutDown(5 * time.Second)
		bob.WantClose(1001)
		ann.WantClose(1001)
		s.Pass(5*time.Second + closeWait)
		s.hold(hooksAlone, down.Returned(), "the context of Shutdown was done %v ago, and it has not returned.", closeWait)
		s.hold(hooksAlone, down.err != nil && strings.Contains(down.err.Error(), "1 hook"), "its error does not say that a hook still runs: %v.", down.err)
		close(release)
		s.Pass(grace)
	})
}
