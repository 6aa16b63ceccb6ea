package wstest

import (
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest/testdata/wrong"
	"github.com/gorilla/websocket"
)

var about = About{Promise: "0.1 all is well", Cause: "a mistake.", Read: "README.md#task-0.1"}

// play runs a scenario that must go well, in this process.
func play(t *testing.T, serve func(*websocket.Conn), scenario func(*Bench)) {
	t.Helper()
	Run(t, about, func(b *Bench) {
		b.Serve(wrong.Server(serve), nil)
		scenario(b)
	})
}

// wantReport runs a scenario that must fail, in a process of its own, and demands
// that what is seen there is the given text. Each line number there is N.
func wantReport(t *testing.T, server *http.Server, scenario func(*Bench), seen string) {
	t.Helper()
	wantReportOf(t, watchPeriod, server, scenario, seen)
}

// wantReportOf is wantReport with a watch that looks once in each period.
func wantReportOf(t *testing.T, period time.Duration, server *http.Server, scenario func(*Bench), seen string) {
	t.Helper()
	if os.Getenv(reportVar) != "" {
		run(t, about, period, func(b *Bench) {
			server.ErrorLog = slog.NewLogLogger(b.Log, slog.LevelError)
			b.Serve(server, nil)
			scenario(b)
		})
		return
	}
	report := runChild(t, about, childTime)
	_, got, _ := strings.Cut(report, "Seen:     ")
	got, _, _ = strings.Cut(got, "\nPromised: ")
	got = strings.ReplaceAll(lineNumber.ReplaceAllString(got, ".go:N"), "\n          ", "\n")
	if got != seen {
		t.Errorf("\ngot  %s\nwant %s\nin the report\n%s", got, seen, report)
	}
}

var lineNumber = regexp.MustCompile(`\.go:\d+`)

// connect is the scenario in which ann connects.
func connect(b *Bench) { b.Connect("ann") }

// try is connect for a server that does not get as far as to leave her alone.
func try(b *Bench) {
	b.Handshake("ann", Request{})
	b.Settle()
}

func TestServerThatIsNotMadeIsReported(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		Run(t, About{Lax: true}, func(*Bench) { wrong.NeverMade() })
		return
	}
	report := runChild(t, about, childTime)
	if !strings.Contains(report, "Seen:     the server is not made: NeverMade (wrong.go:") || !strings.Contains(report, "), waiting in a select\n") {
		t.Errorf("got\n%s", report)
	}
}

func TestServerThatDoesAllRightPasses(t *testing.T) {
	play(t, wrong.Echo, func(b *Bench) {
		ann := b.Connect("ann")
		ann.Send("hello")
		ann.WantText("hello")
		b.Call("nothing", 0, func() {})
		peers, answers := b.HandshakeAll("peer", 30, Request{})
		if len(peers) != 30 || len(answers) != 30 {
			b.Fail("%d peers got in.", len(peers))
		}
		if raw := b.Dial("eve"); raw.Gone() {
			b.Fail("the server closed eve's connection at once.")
		}
	})
}

func TestPeersComeFromAnyAddress(t *testing.T) {
	from := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr })}
	Run(t, about, func(b *Bench) {
		b.Serve(server, nil)
		seen := make(map[string]bool)
		for _, ip := range []string{"192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "", ""} {
			b.Handshake("ann", Request{IP: ip, Plain: true})
			got := <-from
			host := got[:strings.LastIndex(got, ":")]
			if ip != "" && strings.Trim(host, "[]") != ip || seen[host] {
				b.Fail("a peer from %q comes from %q.", ip, got)
			}
			seen[host] = true
		}
	})
}

func TestCallsAreTimedToTheNanosecond(t *testing.T) {
	play(t, wrong.Echo, func(b *Bench) {
		for _, c := range []struct {
			takes, limit time.Duration
			within       bool
		}{{0, 0, true}, {1, 0, false}, {time.Hour, time.Hour, true}, {time.Hour + 1, time.Hour, false}} {
			call := b.Start(func() { time.Sleep(c.takes) })
			if got := call.Within(c.limit); got != c.within {
				b.Fail("a call that takes %v is within %v: %v.", c.takes, c.limit, got)
			}
			b.Pass(2)
			if !call.Returned() {
				b.Fail("a call that takes %v has not returned.", c.takes)
			}
		}
	})
}

func TestWholeReport(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		play(t, wrong.Echo, func(b *Bench) {
			ann := b.Connect("ann")
			b.Pass(time.Minute)
			ann.Send("hello")
			ann.WantText("goodbye")
		})
	}
	want := `What happened (in the time of the test, not yours):
     0s  ann connects
     0s  1m0s pass
   1m0s  ann sends text "hello"
Seen:     ann got text "hello" instead of text "goodbye".
Promised: 0.1 all is well.
Usually:  a mistake.
Read:     README.md#task-0.1`
	if got := runChild(t, about, childTime); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPanicThatNetHTTPRecoversIsTold(t *testing.T) {
	wantReport(t, wrong.Server(wrong.Dereferences), func(b *Bench) {
		ann := b.Connect("ann")
		ann.Send("hello")
		ann.WantText("hello")
	}, "ann got no text \"hello\": the connection ended without a close frame (a browser calls this 1006).\n"+
		"ServeHTTP has panicked: runtime error: invalid memory address or nil pointer dereference, in Dereferences (wrong.go:N), called by Server.func1 (wrong.go:N)")
}

func TestGoroutineLeftBehindIsReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.LeavesReceiver), connect,
		"a goroutine is left behind:\nreceive (wrong.go:N), waiting to receive from a channel; started by LeavesReceiver (wrong.go:N)")
}

func TestGoroutineOfTheServerThatIsLeftIsReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.Echo), func(b *Bench) {
		wrong.Waits()
		b.Settle()
		b.Idle = b.LeftBehind()
		connect(b)
	}, "a goroutine is left behind:\nreceive (wrong.go:N), waiting to receive from a channel; started by Waits (wrong.go:N)")
	if report := runChild(t, about, childTime); !strings.Contains(report, "has a Stop for it") {
		t.Errorf("the cause is not that of a goroutine of the server itself:\n%s", report)
	}
}

func TestConnectionThatIsNotClosedIsReported(t *testing.T) {
	wantReport(t, wrong.KeepsOpen(), connect, "ann has left, but the server has not closed the connection.")
}

func TestServerThatAnswersNoHandshakeIsReported(t *testing.T) {
	wantReport(t, wrong.Mute(), connect,
		"ann could not connect: the server gave no answer (it was still silent after 5s). A handshake is answered with 101.")
}

func TestCallThatDoesNotReturnIsReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.Echo), func(b *Bench) {
		b.Call("Broadcast", time.Second, func() { time.Sleep(time.Second + 1) })
	}, "Broadcast has not returned after 1s.")
}

func TestTwoReadersAreReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.RawReadsTwice), connect,
		"two goroutines read from ann's connection at the same time.")
}

func TestTwoWritersAreReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.RawWritesTwice), func(b *Bench) {
		ann := b.Connect("ann")
		ann.StopReading()
		ann.Send("hello")
		b.Settle()
	}, "two goroutines wrote to ann's connection at the same time.")
}

func TestBytesThatAreNoFrameAreReported(t *testing.T) {
	wantReport(t, wrong.Server(wrong.ScribblesOver), connect,
		"ann got something that is no WebSocket frame: the bytes ff 68 do not begin a frame of a server.")
}

func TestComplaintOfNetHTTPIsReported(t *testing.T) {
	wantReport(t, wrong.AnswersTwice(), func(b *Bench) { b.Get("/") },
		`net/http complains in the server's log: ERROR "http: superfluous response.WriteHeader call from example.com/wsworkshop/steps/internal/wstest/testdata/wrong.AnswersTwice.func1 (wrong.go:N)"`)
}

// A panic that the server recovers itself is in its log only, and what is seen is often
// something else.
func TestPanicThatTheServerRecoversIsTold(t *testing.T) {
	log := NewLog()
	func() {
		defer func() {
			if v := recover(); v != nil {
				log.Logger().Error("panic", "where", "read pump", "value", v, "stack", string(debug.Stack()))
			}
		}()
		wrong.Dereferences(nil)
	}()
	b := &Bench{Log: log}
	got := lineNumber.ReplaceAllString(b.panicked(), ".go:N")
	want := "\nThe server has recovered a panic, and its log says: panic (read pump, runtime error: invalid memory address or nil pointer dereference), in Dereferences (wrong.go:N)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
