package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// RunProtocol holds a server to RFC 6455, as a peer sees it that sends what no
// library would let it send: byte for byte, over loopback TCP, in real time.
//
// It judges what the RFC demands of a server. Where the RFC leaves freedom, a case
// says so, and each behaviour that it allows will do. In particular a server that
// must fail a connection SHOULD say why in a close frame (section 7.1.7), but
// need not; a close frame that comes must have a code that fits.
//
// In each case ann breaks or tries a rule, and bob, who is there all the time, gets
// of it what he should, and nothing else. After it a newcomer can connect and chat.
func RunProtocol(t *testing.T, start func(Config) Server) {
	var score protocolScore
	defer func() { t.Log(score) }()
	stuck := 0
	for _, s := range slices.Concat(protocolHandshake, protocolFrames, protocolMessages, protocolControl, protocolClose) {
		for _, c := range s.cases {
			began := time.Now()
			kept := t.Run(s.number+" "+c.name, func(t *testing.T) { score.try(t, start, s, c) })
			if !kept && !score.connected {
				t.Fatal("Nobody can connect, so nothing else was tried.")
			}
			if !kept && time.Since(began) > stuckAfter {
				stuck++
			}
			if stuck == mostStuck {
				t.Fatalf("The server has hung in %d cases, so the ones after them were not tried.", mostStuck)
			}
		}
	}
}

// stuckAfter tells a case that fails at once from one that has waited for what
// does not come.
const stuckAfter = 5 * time.Second

// protocolSection is a section of the RFC, or the part of one that some cases try.
type protocolSection struct {
	number string // "5.1"
	says   string // what it demands, and where it leaves freedom
	cause  string // what usually breaks it
	cases  []protocolCase
}

// protocolCase is one thing to try, with a sentence about what the server does.
type protocolCase struct {
	name string
	play func(*wire)
}

// protocolInput is what a client sends, and what it is.
type protocolInput struct{ name, sends string }

func (i protocolInput) String() string { return i.name }

// each returns a case for each input. Their names are formatted with it.
func each[T any](name string, play func(*wire, T), inputs ...T) []protocolCase {
	var cases []protocolCase
	for _, input := range inputs {
		cases = append(cases, protocolCase{fmt.Sprintf(name, input), func(w *wire) { play(w, input) }})
	}
	return cases
}

// protocolScore counts how a server has done.
type protocolScore struct {
	connected    bool // somebody has connected
	cases, kept  int
	failed, told int      // connections that the server has failed; with a close frame
	deviations   []string // where it breaks a MUST in a way that is known
}

func (s protocolScore) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "protocol: %d cases, ", s.cases)
	switch broken := s.cases - s.kept - len(s.deviations); {
	case broken > 0:
		fmt.Fprintf(&b, "%d broken", broken)
	case len(s.deviations) > 0:
		fmt.Fprintf(&b, "%d kept, known deviations: %d", s.kept, len(s.deviations))
	default:
		b.WriteString("all kept")
	}
	for _, d := range s.deviations {
		b.WriteString("\n  deviation: " + d)
	}
	if s.failed > 0 {
		fmt.Fprintf(&b, "\n  of %d connections that it has failed, %d were told why in a close frame (section 7.1.7: a SHOULD)", s.failed, s.told)
	}
	return b.String()
}

// try plays one case against a server of its own.
func (s *protocolScore) try(t *testing.T, start func(Config) Server, section protocolSection, c protocolCase) {
	s.cases++
	about := wstest.About{
		Promise: fmt.Sprintf("%s %s. RFC 6455: %s", section.number, c.name, section.says),
		Cause:   section.cause,
		Read:    "https://www.rfc-editor.org/rfc/rfc6455#section-" + section.number,
	}
	var server Server
	defer func() { server.end() }()
	w := &wire{score: s}
	wstest.RunTCP(t, about, func(log *wstest.Log) *http.Server {
		server = start(Config{Log: log.Logger()})
		return server.HTTP
	}, func(n *wstest.Network) {
		w.Network, w.Server = n, server
		w.bob = n.Connect("bob")
		s.connected = true
		w.conn = n.Dial("ann")
		defer w.conn.Close()
		c.play(w)
		w.conn.Close()
		w.bob.Want(w.relayed...)
		if w.over {
			return
		}
		carol := n.Connect("carol")
		w.bob.WantText("carol is here") // and nothing of ann's before it
		w.bob.Send("welcome")
		carol.WantText("welcome")
	})
	if w.deviation != "" {
		s.deviations = append(s.deviations, section.number+" "+c.name+": "+w.deviation)
		return
	}
	s.kept++
}
