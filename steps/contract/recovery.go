package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// recovery is the contract of step 7: a panic ends one connection and no other.
var recovery = []Promise{
	{
		Task: "7.1", Name: "the hooks are called in order for one peer, at once for two, and in place of the broadcast",
		cause: "join and handle of the Server do not call Config.OnJoin and Config.OnMessage, or call them elsewhere than in the peer's own read pump.",
		test: func(t *trial) {
			hooksInOrder(t)
			hooksSideBySide(t)
			hooksUntilTheEnd(t)
		},
	},
	{
		Task: "7.2", Name: "a panic in the message handler ends that connection only",
		cause: "nothing recovers in the goroutine that calls the handler. A panic that nobody recovers ends the whole program, and only the goroutine in which it happens can recover it, in a deferred function that itself calls recover. Or the panic is recovered, but the connection goes on: it must end as with an error. Or guard does not set its result err. Or a lock was held while the handler ran, and the panic has left it locked. Or some panics are let through: recover from all of them, whatever their value.",
		test: func(t *trial) {
			type failure string // neither an error nor a string
			for _, value := range []any{
				panicText,
				failure(panicText),
				http.ErrAbortHandler, // of a meaning to net/http alone
			} {
				t.panicScene(value, func(s *scene) {
					ann, id := s.connectID("ann")
					bob, cat := s.Connect("bob"), s.Connect("cat")
					ann.Send("panic")
					ann.Send("and now?")
					s.Pass(grace)
					ann.WantGone("something has panicked in it")
					if got := bob.Messages(); len(got) > 0 {
						s.FailBecause("after the panic the handler is called for the messages that follow. Read them away: what the handler keeps for this peer may be half changed.",
							"bob got %s, which ann has sent after the message at which her handler panicked.", got[0])
					}
					s.wantOnlyGone(ann, bob, cat)
					s.wantPanicLogged(id, fmt.Sprint(value))
				})
			}
		},
	},
	{
		Task: "7.2", Name: "a panic in the hook of a joining client ends that connection only",
		cause: "the hook is called where nothing recovers, or before the client is sure to be taken out of the map again. Or guard does not set its result err.",
		test: func(t *trial) {
			var joins atomic.Int64
			var anns atomic.Value // her id
			t.sceneFrom(func(s *scene) Config {
				return Config{OnJoin: func(_ context.Context, id string) {
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
				s.wantPanicLogged(anns.Load().(string), "the test lets this hook panic")
			})
		},
	},
	{
		Task: "7.2", Name: "a handler that panics holds no lock",
		cause: "if the other promises about panics are broken too, mend them first. Otherwise a lock is held while the handler runs, and is not given back by the panic: call no foreign code under a lock. The same goes for a token, of which there are only so many: give it back in a deferred function. Or some panics are let through, such as those of the runtime: recover from all of them.",
		test: func(t *trial) {
			t.sceneFrom(func(s *scene) Config {
				return Config{
					OnJoin: func(_ context.Context, id string) { s.Broadcast([]byte("somebody joins")) },
					OnMessage: func(_ context.Context, id, text string) {
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

				const many = 30
				s.Did("%d more peers let their handlers panic, one after the other", many)
				for range many {
					p, _ := s.HandshakeQuietly(wstest.Request{})
					s.Settle()
					p.SendQuietly("panic")
					time.Sleep(grace)
				}
				bob.Messages()
				bob.Send("still yes")
				bob.WantText("still yes", "for you alone")
				s.wantOnline(1)
			})
		},
	},
	{
		Task: "7.2", Name: "the program survives a panic",
		cause: "nothing recovers in the goroutine that calls the handler. Or guard does not set its result err.",
		test: func(t *trial) {
			p := wstest.StartProcess(t.T, t.about, "panicking server")
			ann, bob := p.Connect("ann"), p.Connect("bob")
			ann.Send("panic")
			p.Did("its handler panics")
			if ann.HasTextBy("nothing, but the end", "panic") {
				p.FailBecause("handle does not call OnMessage.", "nothing has panicked: the message was broadcast, and the hook was not called.")
			}
			ann.WaitClose() // now the panic is over, whatever it did
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
		cause: "nothing recovers in the pump's own goroutine: a recover in the goroutine that started it does not help. Or it recovers so far outside that finish is skipped, or so far inside that a part of the pump is not covered: the pings. Or guard does not set its result err.",
		test: func(t *trial) {
			for _, pump := range []struct {
				name string
				fail func(*scene, *wstest.Peer)
				says bool // "news", to everybody
			}{
				{"write", func(s *scene, ann *wstest.Peer) {
					ann.PanicNextWrite()
					s.Broadcast([]byte("news"))
				}, true},
				{"write", func(s *scene, ann *wstest.Peer) {
					ann.PanicNextWrite()
					s.Pass(pingPeriod)
					s.Broadcast([]byte("news"))
				}, true},
				{"read", func(s *scene, ann *wstest.Peer) {
					ann.PanicNextRead()
					ann.Send("news")
				}, false}, // what was read before may be handed on by another goroutine, or not any more
			} {
				t.scene(func(s *scene) {
					ann, id := s.connectID("ann")
					bob, cat := s.Connect("bob"), s.Connect("cat")
					s.Did("the next %s on ann's connection panics", pump.name)
					pump.fail(s, ann)
					if pump.says {
						bob.WantText("news")
						cat.WantText("news")
					}
					s.Pass(grace)
					s.wantOnlyGone(ann, bob, cat)
					s.wantPanicLogged(id, "the test lets the socket's")
				})
			}
			t.scene(panicInABurst)
		},
	},
	{
		Task: "7.3", Name: "after a panic the peer is told 1011",
		cause: "the connection is closed without a close frame, or with another code: 1011 says that the server had an error (RFC 6455, section 7.4.1), and its reason says no more than that. Or the value of the panic, such as io.EOF, is taken for an error of the connection.",
		test: func(t *trial) {
			t.panicScene(fmt.Errorf(panicText+": %w", io.EOF), func(s *scene) {
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
					if strings.Contains(string(closing.Payload), "the test lets") {
						s.Fail("the reason of the close frame, %q, tells the peer what went wrong inside. That is for the log.", closing.Payload[2:])
					}
					s.Pass(grace)
					ann.WantGone("it was sent a close frame 2 s ago")
				}
				bob.WantOpen("nothing has panicked in his connection")
			})
			queuedBeforePanic(t)
			t.sceneWith(Config{OnJoin: func(context.Context, string) { panic("the test lets this hook panic") }}, func(s *scene) {
				ann := s.Connect("ann")
				s.Did("the hook panics for her")
				ann.WantClose(1011)
			})
		},
	},
}

// panicInABurst lets the write pumps of some peers panic while others broadcast, on
// one processor: who waits for such a pump waits for ever.
func panicInABurst(s *scene) {
	defer onOneProcessor()()
	ann, bob := s.Connect("ann"), s.Connect("bob")
	eves, _ := s.HandshakeAll("eve", 5, wstest.Request{})
	s.Settle()
	s.Did("the next write to each of them panics; ann and bob send 40 messages each in one go")
	for _, eve := range eves {
		eve.PanicNextWrite()
	}
	ann.SendRaw(inOneGo(texts("ann", 40)))
	bob.SendRaw(inOneGo(texts("bob", 40)))
	s.Pass(grace)
	for _, p := range []*wstest.Peer{ann, bob} {
		if n := len(p.Messages()); n != 80 {
			s.FailBecause("who broadcasts waits for a write pump that has ended; or the panic of one ends others.",
				"%s got %d of the 80 messages.", p.Name, n)
		}
	}
	for _, eve := range eves {
		eve.WantGone("something has panicked in her connection")
	}
	s.wantNil(s.shutDown(time.Minute))
}

// panicScene runs a scenario with a message handler that broadcasts, but panics
// with value at the text "panic".
func (t *trial) panicScene(value any, play func(*scene)) {
	t.sceneFrom(func(s *scene) Config {
		return Config{OnMessage: panicking(func() Server { return s.Server }, value)}
	}, play)
}

// panicText is what a message handler panics with, unless the scenario is about that.
const panicText = "the test lets this handler panic"

func panicking(server func() Server, value any) func(ctx context.Context, id, text string) {
	return func(_ context.Context, id, text string) {
		if text == "panic" {
			panic(value)
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

// wantPanicLogged demands one log record with a stack, and that it has the id and
// the value of the panic.
func (s *scene) wantPanicLogged(id, value string) {
	var stacks []wstest.Record
	dumps := 0
	for _, r := range s.Log.Records() {
		if contains(r, ownPlaces...) {
			stacks = append(stacks, r)
		}
		if contains(r, "[running]:") {
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
	case !contains(stacks[0], value):
		s.FailBecause("the stack does not show what recover has returned. Log that too: the peer is not told, so that it is nowhere else.",
			"the log record of the panic does not have its value, %q.", value)
	case stacks[0].Level < slog.LevelInfo:
		s.FailBecause("a log shows records from LevelInfo on, if nobody asks for more. A panic is an error.",
			"the log record of the panic has the level %s.", stacks[0].Level)
	}
}

// ownPlaces are in the stack of each panic of these scenarios: it happens in the
// contract or in the bench.
var ownPlaces = []string{"steps/contract/recovery.go:", "steps/internal/wstest/conn.go:"}

// contains reports whether a log record has one of these texts in it.
func contains(r wstest.Record, parts ...string) bool {
	texts := []string{r.Message}
	for _, a := range r.Attrs {
		text := a.Value.String()
		if b, ok := a.Value.Any().([]byte); ok {
			text = string(b) // as a slog.TextHandler shows it
		}
		texts = append(texts, text)
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	})
}

// servePanics is the program of the promise that it survives.
func servePanics(start func(Config) Server) {
	var server Server
	server = start(Config{Log: wstest.NewLog().Logger(), OnMessage: panicking(func() Server { return server }, panicText)})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	fmt.Fprintln(os.Stderr, server.HTTP.Serve(listener))
	os.Exit(1)
}
