package contract

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"example.com/wsworkshop/steps/internal/wstest"
)

// recovery is the contract of step 7: a panic ends one connection and no other.
var recovery = []Promise{
	{
		Task: "7.1", Name: "a panic in the message handler ends that connection only",
		cause: "nothing recovers in the goroutine that calls the handler. A panic that nobody recovers ends the whole program, and only the goroutine in which it happens can recover it, in a deferred function that itself calls recover. Or the panic is recovered, but the connection goes on: it must end as with an error. Or a lock was held while the handler ran, and the panic has left it locked.",
		test: func(t *trial) {
			t.panicScene(func(s *scene) {
				ann, id := s.connectID("ann")
				bob, cat := s.Connect("bob"), s.Connect("cat")
				ann.Send("panic")
				s.Pass(grace)
				s.wantOnlyGone(ann, bob, cat)
				s.wantPanicLogged(id)
			})
		},
	},
	{
		Task: "7.1", Name: "a panic in the hook of a joining client ends that connection only",
		cause: "the hook is called where nothing recovers, or before the client is sure to be taken out of the map again.",
		test: func(t *trial) {
			var joins atomic.Int64
			var anns atomic.Value // her id
			t.sceneFrom(func(s *scene) Config {
				return Config{OnJoin: func(id string) {
					if joins.Add(1) == 3 {
						anns.Store(id)
						panic(errors.New("the test lets this hook panic"))
					}
				}}
			}, func(s *scene) {
				bob, cat := s.Connect("bob"), s.Connect("cat")
				s.Did("the hook will panic for the next client")
				ann := s.Connect("ann")
				s.Pass(grace)
				s.FailUnless(joins.Load() == 3, "the hook was called %d times for 3 clients.", joins.Load())
				s.wantOnlyGone(ann, bob, cat)
				s.wantPanicLogged(anns.Load().(string))
			})
		},
	},
	{
		Task: "7.1", Name: "a handler that panics holds no lock",
		cause: "if the other promises about panics are broken too, mend them first. Otherwise a lock is held while the handler runs, and is not given back by the panic: call no foreign code under a lock. Or some panics are let through, such as those of the runtime: recover from all of them.",
		test: func(t *trial) {
			t.sceneFrom(func(s *scene) Config {
				return Config{
					OnJoin: func(id string) { s.Broadcast([]byte("somebody joins")) },
					OnMessage: func(id, text string) {
						s.Broadcast([]byte(text))
						s.Send(id, "for you alone")
						if text == "panic" {
							_ = []string{}[len(text)] // a panic of the runtime, as most are
						}
					},
				}
			}, func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				ann.WaitText("somebody joins")
				bob.Messages()
				ann.Send("panic")
				s.Pass(grace)
				ann.WantGone("its handler has panicked")
				bob.WantText("panic")
				s.Call("Broadcast", 0, func() { s.Broadcast([]byte("still there?")) })
				bob.WantText("still there?")
				bob.Send("yes")
				bob.WantText("yes", "for you alone")
				s.wantOnline(1)
			})
		},
	},
	{
		Task: "7.1", Name: "the program survives a panic",
		cause: "nothing recovers in the goroutine that calls the handler.",
		test: func(t *trial) {
			p := wstest.StartProcess(t.T, t.about, "panicking server")
			ann, bob := p.Connect("ann"), p.Connect("bob")
			ann.Send("panic")
			p.Did("its handler panics")
			ann.Send("and now?")
			ann.HasText("and now?") // or the end of the connection: now the panic is over, whatever it did
			bob.Send("hello")
			if !bob.HasText("hello") {
				p.Fail("bob's message did not come back after ann's handler had panicked. %s", p.Tail())
			}
			cat := p.Connect("cat")
			cat.Send("hello again")
			bob.WaitText("hello again")
		},
	},
	{
		Task: "7.2", Name: "a panic in either pump ends that connection only",
		cause: "nothing recovers in the pump's own goroutine: a recover in the goroutine that started it does not help. Or it recovers so far outside that finish is skipped.",
		test: func(t *trial) {
			for _, pump := range []struct {
				name string
				fail func(*scene, *wstest.Peer)
			}{
				{"write", func(s *scene, ann *wstest.Peer) {
					ann.PanicNextWrite()
					s.Broadcast([]byte("news"))
				}},
				{"read", func(s *scene, ann *wstest.Peer) {
					ann.PanicNextRead()
					ann.Send("news")
				}},
			} {
				t.scene(func(s *scene) {
					ann, id := s.connectID("ann")
					bob, cat := s.Connect("bob"), s.Connect("cat")
					s.Did("the next %s on ann's connection panics", pump.name)
					pump.fail(s, ann)
					bob.WantText("news")
					cat.WantText("news")
					s.Pass(grace)
					s.wantOnlyGone(ann, bob, cat)
					s.wantPanicLogged(id)
				})
			}
		},
	},
	{
		Task: "7.3", Name: "after a panic the peer is told 1011",
		cause: "the connection is closed without a close frame, or with another code: 1011 says that the server had an error (RFC 6455, section 7.4.1), and its reason says no more than that.",
		test: func(t *trial) {
			t.panicScene(func(s *scene) {
				bob := s.Connect("bob")
				for _, fail := range []func(*wstest.Peer){
					func(p *wstest.Peer) { p.Send("panic") },
					func(p *wstest.Peer) { p.PanicNextRead(); p.Send("hello") },
					func(p *wstest.Peer) { p.PanicNextWrite(); s.Broadcast([]byte("hello")) },
				} {
					ann := s.Connect("ann")
					s.Did("something panics in ann's connection")
					fail(ann)
					closing := ann.WantClose(1011)
					if strings.Contains(string(closing.Payload), "lets this") {
						s.Fail("the reason of the close frame, %q, tells the peer what went wrong inside. That is for the log.", closing.Payload[2:])
					}
					s.Pass(grace)
					ann.WantGone("it was sent a close frame 2 s ago")
				}
				bob.WantOpen("nothing has panicked in his connection")
			})
		},
	},
}

// panicScene runs a scenario with a message handler that broadcasts, but panics
// at the text "panic".
func (t *trial) panicScene(play func(*scene)) {
	t.sceneFrom(func(s *scene) Config {
		return Config{OnMessage: panicking(func() Server { return s.Server })}
	}, play)
}

func panicking(server func() Server) func(id, text string) {
	return func(id, text string) {
		if text == "panic" {
			panic("the test lets this handler panic")
		}
		server().Broadcast([]byte(text))
	}
}

// wantOnlyGone demands that gone's connection has ended, and that nobody else
// notices.
func (s *scene) wantOnlyGone(gone, bob, cat *wstest.Peer) {
	gone.WantGone("something has panicked in it")
	s.wantOnline(2)
	bob.Messages()
	cat.Messages()
	for _, p := range []*wstest.Peer{bob, cat} {
		p.Send("hello")
		bob.WantText("hello")
		cat.WantText("hello")
	}
	s.Connect("dan")
	s.wantOnline(3)
}

const causePanicLog = "the deferred function that recovers logs one record, with debug.Stack(): there the stack still shows where the panic came from. The client's own logger adds the id."

// wantPanicLogged demands one log record with a stack, and that it has the id.
func (s *scene) wantPanicLogged(id string) {
	var stacks []wstest.Record
	dumps := 0
	for _, r := range s.Log.Records() {
		if hasStack(r, ownPlaces...) {
			stacks = append(stacks, r)
		}
		if hasStack(r, "[running]:") {
			dumps++
		}
	}
	switch {
	case len(stacks) == 0:
		s.FailBecause(causePanicLog, "no log record has the stack of the panic, down to the line that panicked.")
	case max(len(stacks), dumps) > 1:
		s.FailBecause(causePanicLog, "%d log records have a stack, and not one.", max(len(stacks), dumps))
	case !slices.Contains(idsOf(stacks[0]), id):
		s.FailBecause(causePanicLog, "the log record of the panic does not have the id of ann's connection: %s", stacks[0])
	}
}

// ownPlaces are in the stack of each panic of these scenarios: it happens in the
// contract or in the bench.
var ownPlaces = []string{"steps/contract/recovery.go:", "steps/internal/wstest/conn.go:"}

// hasStack reports whether a log record has one of these places in it, as a stack
// has.
func hasStack(r wstest.Record, places ...string) bool {
	texts := []string{r.Message}
	for _, a := range r.Attrs {
		text := a.Value.String()
		if b, ok := a.Value.Any().([]byte); ok {
			text = string(b) // as a slog.TextHandler shows it
		}
		texts = append(texts, text)
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		return slices.ContainsFunc(places, func(place string) bool { return strings.Contains(text, place) })
	})
}

// servePanics is the program of the promise that it survives.
func servePanics(start func(Config) Server) {
	var server Server
	server = start(Config{Log: wstest.NewLog().Logger(), OnMessage: panicking(func() Server { return server })})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	fmt.Fprintln(os.Stderr, server.HTTP.Serve(listener))
	os.Exit(1)
}
