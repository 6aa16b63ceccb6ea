package contract

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/wsworkshop/steps/internal/wstest"
)

// The fuzz targets hold the server of the last step to what must be true whatever
// a peer sends. They know nothing of the server either: a model of RFC 6455 (see
// reading) says what is valid, and two healthy peers see what comes of it.

// maxStream is how much of an input is sent, in bytes.
const maxStream = 2 << 10

// fuzzScene runs a scenario for one input, and ends it: everybody leaves, and
// nothing of them is left.
func fuzzScene(t *testing.T, start func(Config) Server, promise string, cfg Config, play func(*scene)) {
	about := wstest.About{Promise: promise, Read: "steps/contract/fuzz.go"}
	wstest.Run(t, about, func(b *wstest.Bench) {
		cfg.Log = b.Log.Logger()
		s := &scene{Bench: b, Server: start(cfg), step: Steps}
		b.Serve(s.HTTP, s.end)
		defer func() {
			if whole := b.Whole(); t.Failed() && strings.Count(whole, "\n") > 12 { // more than the failure tells
				t.Logf("the whole story:\n%s", whole)
			}
		}()
		play(s)
		s.Pass(grace)
		s.hold(countIsRight, s.online() == 0, "GET /online says %d, but everybody has left.", s.online())
		s.hold(noPanic, s.panicked() == "", "something has panicked.")
	})
}

// panicked returns the log record that has the stack of a panic, or "".
func (s *scene) panicked() string {
	for _, r := range s.Log.Records() {
		texts := []string{r.Message}
		for _, a := range r.Attrs {
			texts = append(texts, a.Value.String())
		}
		if slices.ContainsFunc(texts, stack.MatchString) {
			return r.String()
		}
	}
	return ""
}

var stack = regexp.MustCompile(`goroutine \d+ \[running`)

// FuzzFrames sends bytes after a good handshake. Each byte of cuts cuts off one
// piece, of half its value and one byte; after an odd one a second passes.
func FuzzFrames(f *testing.F, start func(Config) Server) {
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		stream, cuts = stream[:min(len(stream), maxStream)], cuts[:min(len(cuts), 16)]
		fuzzScene(t, start, "whatever a peer sends after its handshake, it harms nobody", Config{}, func(s *scene) {
			ann, bob, eve := s.Connect("ann"), s.Connect("bob"), s.Connect("eve")
			eve.NoPongs()
			eve.IgnoreClose()
			s.Did("eve sends %d bytes (%s): %.400q", len(stream), read(stream), stream)
			rest := stream
			for _, cut := range cuts {
				n := min(int(cut)/2+1, len(rest))
				eve.SendRaw(rest[:n])
				s.Settle()
				if rest = rest[n:]; cut%2 == 1 {
					s.Pass(time.Second)
				}
			}
			eve.SendRaw(rest)
			s.judge(stream, eve, ann, bob)
		})
	})
}

// judge demands that what eve has sent, stream, had the effect that it should, and
// that ann and bob notice nothing else. Eve answers neither pings nor close frames.
func (s *scene) judge(stream []byte, eve, ann, bob *wstest.Peer) {
	r := read(stream)
	s.Pass(grace + time.Duration(r.frames)*time.Second/messageRate)
	s.wantSame(comesBack, "ann", ann.Messages(), r.messages, false)
	s.wantSame(comesBack, "bob", bob.Messages(), r.messages, false)
	s.wantSame(comesBack, "eve", eve.Messages(), r.messages, r.ends != nil)
	s.wantPongs(eve, r.pings, r.ends != nil)
	s.wantGoodClose(eve, r.ends, r.ends != nil)
	if r.ends == nil {
		s.hold(staysOpen, !eve.Gone(), "the server has closed eve's connection.")
		if r.between {
			s.chat(eve, ann, bob)
		}
		s.Pass(pongWait)
		s.wantGoodClose(eve, nil, false)
		s.Pass(grace)
	}
	s.hold(gone, eve.Gone(), "eve's connection is still open on the server's side.")
	s.wantUndisturbed(ann, bob)
}

// wantUndisturbed demands that ann and bob, and nobody else, are still there, and
// lets them leave.
func (s *scene) wantUndisturbed(ann, bob *wstest.Peer) {
	s.chat(ann, bob)
	s.chat(bob, ann)
	s.hold(countIsRight, s.online() == 2, "GET /online says %d, but ann and bob are connected.", s.online())
	ann.Leave()
	bob.Leave()
}

// chat lets p say something that it and all others hear.
func (s *scene) chat(p *wstest.Peer, others ...*wstest.Peer) {
	text := wstest.Text(p.Name + " is still here")
	p.SendFrame(text)
	s.Settle()
	for _, hears := range append(others, p) {
		s.wantSame(undisturbed, hears.Name, hears.Messages(), []wstest.Frame{text}, false)
	}
}

// wantPongs demands that the pings with these payloads were answered.
func (s *scene) wantPongs(p *wstest.Peer, payloads []string, mayLose bool) {
	got := p.Pongs()
	for i, pong := range got {
		s.hold(pongs, i < len(payloads), "%s has sent %d pings, and got %d pongs.", p.Name, len(payloads), len(got))
		s.hold(pongs, string(pong.Payload) == payloads[i], "%s got a %s for its %s.", p.Name, pong, wstest.Ping(payloads[i]))
	}
	s.hold(pongs, mayLose || len(got) == len(payloads), "%s has sent %d pings, and got %d pongs.", p.Name, len(payloads), len(got))
}

// invariant is a sentence that holds whatever a peer sends.
type invariant string

const (
	noPanic       invariant = "nothing that a peer sends makes the server panic"
	comesBack     invariant = "each valid message before the first violation reaches everybody, whole, once and in order"
	closesRight   invariant = "a violation or a close frame gets one close frame, with a code that fits, and then the end of the connection"
	staysOpen     invariant = "a peer that has done nothing wrong keeps its connection"
	pongs         invariant = "each ping is answered with its payload, in order"
	gone          invariant = "a peer that is silent, does not read, or has violated the protocol is gone in time"
	undisturbed   invariant = "the healthy peers still chat"
	countIsRight  invariant = "GET /online tells how many are connected, and 0 when all have left"
	aloneIsAlone  invariant = "a message to one peer reaches that peer and no other"
	validUpgrade  invariant = "a request gets 101 if, and only if, it is a handshake of RFC 6455 from an allowed origin"
	answered      invariant = "a request is answered or its connection closed, and no answer says that the server has failed"
	shutdownEnds  invariant = "Shutdown returns soon after its context is done, and nobody is let in after it"
	shutdownTells invariant = "every peer gets what was queued for it, then 1001"
)

// breaks ends the scenario with what was seen and the invariant that it breaks: the
// first one, if the log says that something has panicked.
func (s *scene) breaks(law invariant, saw string, args ...any) {
	saw = fmt.Sprintf(saw, args...)
	if record := s.panicked(); record != "" {
		law, saw = noPanic, saw+"\nIn the log: "+record
	}
	s.Fail("%s\nBroken: %s.", saw, law)
}

// hold fails unless ok.
func (s *scene) hold(law invariant, ok bool, saw string, args ...any) {
	if !ok {
		s.breaks(law, saw, args...)
	}
}

// wantSame demands that got is want, or begins as want does if the rest may be lost.
func (s *scene) wantSame(law invariant, who string, got, want []wstest.Frame, mayLose bool) {
	for i, f := range got {
		if i >= len(want) {
			s.breaks(law, "%s got %d messages, and the last %d, beginning with %s, nobody has sent.", who, len(got), len(got)-i, f)
		}
		if f.Op != want[i].Op || string(f.Payload) != string(want[i].Payload) {
			s.breaks(law, "%s got as message %d of %d %s instead of %s.", who, i+1, len(want), f, want[i])
		}
	}
	if len(got) < len(want) && !mayLose {
		s.breaks(law, "%s got %d of %d messages. The next is %s.", who, len(got), len(want), want[len(got)])
	}
}

// wantGoodClose demands that p got at most one close frame, with one of codes, and
// nothing after it.
func (s *scene) wantGoodClose(p *wstest.Peer, codes []int, must bool) {
	closing := p.ClosedWith()
	if closing == nil {
		s.hold(closesRight, !must, "%s got no close frame.", p.Name)
		return
	}
	if late := p.AfterClose(); late != nil {
		s.breaks(closesRight, "after its close frame the server sent %s a %s.", p.Name, late)
	}
	if n := len(closing.Payload); n == 1 || n >= 2 && (!maySend(closing.CloseCode()) || !utf8.Valid(closing.Payload[2:])) {
		s.breaks(closesRight, "%s got a %s, which nobody may send.", p.Name, closing)
	}
	if !slices.Contains(codes, closing.CloseCode()) {
		s.breaks(closesRight, "%s got a %s instead of one with %v.", p.Name, closing, codes)
	}
}
