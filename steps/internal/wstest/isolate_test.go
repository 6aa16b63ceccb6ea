package wstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest/testdata/wrong"
)

// raceDetector reports whether this program has the race detector.
func raceDetector() bool {
	build, _ := debug.ReadBuildInfo()
	return slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// runChild runs the current test once more in a process of its own, and returns
// what that process reports.
func runChild(t *testing.T, about About, limit time.Duration) string {
	return NewChildren(t).run(t.Name(), limit).tell(about)
}

func TestPanicIsReportedWithItsPlace(t *testing.T) {
	wantReport(t, wrong.Server(wrong.InPump(wrong.Dereferences)), try,
		"the whole program died: panic: runtime error: invalid memory address or nil pointer dereference\n"+
			"in Dereferences (wrong.go:N), called by InPump.func1.1 (wrong.go:N)\nThat is: something was used that is nil.")
}

func TestSendOnClosedChannelIsExplained(t *testing.T) {
	wantReport(t, wrong.Server(wrong.InPump(wrong.SendsOnClosed)), try,
		"the whole program died: panic: send on closed channel\nin SendsOnClosed (wrong.go:N), called by InPump.func1.1 (wrong.go:N)\n"+
			"That is: one goroutine closed a channel while another still sent on it: let a done channel say that the connection has ended, and never close the queue.")
}

func TestConcurrentWriteIsExplained(t *testing.T) {
	wantReport(t, wrong.Server(wrong.WritesTwice), func(b *Bench) {
		ann := b.Connect("ann")
		ann.StopReading()
		ann.Send("hello")
		b.Settle()
	}, "the whole program died: panic: concurrent write to websocket connection\nin WritesTwice.func1 (wrong.go:N)\n"+
		"That is: two goroutines wrote to one connection at the same time: only the write pump may write messages and pings.")
}

func TestRepeatedReadIsExplained(t *testing.T) {
	wantReport(t, wrong.Server(wrong.InPump(wrong.ReadsOn)), connect,
		"the whole program died: panic: repeated read on failed websocket connection\nin ReadsOn (wrong.go:N), called by InPump.func1.1 (wrong.go:N)\n"+
			"That is: the read loop went on after an error: an error from ReadMessage is final, so return.")
}

func TestPanicOfTheBenchIsExplained(t *testing.T) {
	wantReport(t, wrong.Server(wrong.InPump(wrong.Echo)), func(b *Bench) {
		ann := b.Connect("ann")
		ann.PanicNextRead()
		ann.Send("hello")
		ann.Send("hello again")
		b.Settle()
	}, "the whole program died: panic: the test lets the socket's Read panic\nin Echo (wrong.go:N), called by InPump.func1.1 (wrong.go:N)\n"+
		"That is: the test let the connection panic in a pump, and nothing recovered in that goroutine.")
}

func TestConcurrentMapWritesAreExplained(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector sees it first")
	}
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("the runtime sees it only while two goroutines run at once")
	}
	wantReport(t, wrong.Server(wrong.WritesMaps), try,
		"the whole program died: fatal error: concurrent map writes\nin WritesMaps.func1 (wrong.go:N)\n"+
			"That is: a map was used by several goroutines at the same time: hold the mutex around each use.")
}

func TestDataRaceIsExplained(t *testing.T) {
	if !raceDetector() {
		t.Skip("this needs go test -race")
	}
	wantReport(t, wrong.Server(wrong.Races), try,
		"a data race: two goroutines used the same variable at the same time, and one of them wrote.\n"+
			"read in Races.func1 (wrong.go:N)\nprevious write in Races.func1 (wrong.go:N)")
}

func TestExitIsNoSuccess(t *testing.T) {
	wantReport(t, wrong.Server(wrong.InPump(wrong.Exits)), try,
		"the whole program died: panic: unexpected call to os.Exit(0) during test\nin Exits (wrong.go:N), called by InPump.func1.1 (wrong.go:N).")
}

// What a promise usually breaks by has nothing to do with a server that breaks down.
func TestABreakdownHasACauseOfItsOwn(t *testing.T) {
	about := About{Promise: "4.1 a promise", Cause: "the queue", Read: "5#mistakes", Step: 5}
	own := About{Promise: about.Promise, Cause: about.Cause, Read: "4#task"}
	const crash, race = "panic: oh no\n", "WARNING: DATA RACE\n\n=================="
	for _, c := range []struct {
		about      About
		of         ending
		want, lack string
	}{
		{about, ending{failed: true, output: crash}, "Read:     5#mistakes", "Usually:"},
		{about, ending{failed: true, output: "exit", limit: time.Second}, "Usually:  a loop without an end.\nRead:     5#mistakes", "the queue"},
		{about, ending{failed: true, output: "bye"}, "Usually:  one connection's error", "the queue"},
		{about, ending{failed: true, output: race}, "Usually:  the variable is not guarded", "the queue"},
		{own, ending{failed: true, output: race}, "one goroutine alone use it.\n          Or: the queue\nRead:     4#task", "#mistakes"},
		{own, ending{failed: true, output: crash}, "Usually:  the queue\nRead:     4#task", "#mistakes"},
		{own, ending{failed: true, output: "bye"}, "Usually:  one connection's error", "the queue"},
		{About{Cause: "no recover", Read: "7#task", Panics: true}, ending{failed: true, output: crash}, "Usually:  no recover\nRead:     7#task", "#mistakes"},
	} {
		if got := c.of.tell(c.about); !strings.Contains(got, c.want) || strings.Contains(got, c.lack) {
			t.Errorf("%q is told as\n%s\nwant %q, without %q", c.of.output, got, c.want, c.lack)
		}
	}
}

func TestChildThatDoesNotEndIsStopped(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		<-time.After(time.Hour)
	}
	report := runChild(t, about, 100*time.Millisecond)
	if !strings.Contains(report, "Seen:     no end after 100ms of real time, so the test was stopped.\n") {
		t.Errorf("got\n%s", report)
	}
}

func TestGarbageIsShownWithoutControlCharacters(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		fmt.Print(strings.Repeat("x", 3000), "\x00\xff the end")
		os.Exit(7)
	}
	report := runChild(t, about, childTime)
	if !strings.Contains(report, "Seen:     the server ended the whole program (with log.Fatal or os.Exit?). It printed:\n          xxx") ||
		!strings.Contains(report, "\uFFFD\uFFFD the end\nPromised: ") || len(report) > 2500 {
		t.Errorf("got\n%s", report)
	}
}

func TestOfWhatIsPrintedTheEndsAreKept(t *testing.T) {
	var e ends
	for range 5 * mostOfEnds / 1000 {
		e.Write([]byte(strings.Repeat("x", 999) + "\n"))
	}
	e.Write([]byte("the end"))
	got := e.String()
	if len(got) > 4*mostOfEnds || !strings.HasSuffix(got, "x\nthe end") || strings.Count(got, " bytes) ...") != 1 {
		t.Errorf("it keeps %d bytes, which end with %q", len(got), got[len(got)-20:])
	}
}

// A program that the server has started, and that lives on with its standard output.
func TestChildOfAChildHoldsNothingUp(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		sleep := exec.Command("sleep", "20")
		sleep.Stdout = os.Stdout
		if err := sleep.Start(); err != nil {
			t.Skip("there is no sleep here")
		}
		return
	}
	began := time.Now()
	if report := runChild(t, about, childTime); report != "" || time.Since(began) > 15*time.Second {
		t.Errorf("after %v the report is %q", time.Since(began), report)
	}
}

func TestPassingChildHasNoReport(t *testing.T) {
	if os.Getenv(reportVar) == "" {
		if report := runChild(t, about, childTime); report != "" {
			t.Errorf("got\n%s", report)
		}
	}
}

func TestChildThatDiesInSilenceHasFailed(t *testing.T) {
	if os.Getenv(reportVar) != "" {
		os.Exit(7)
	}
	if report := runChild(t, about, childTime); !strings.Contains(report, "the server ended the whole program") {
		t.Errorf("got\n%s", report)
	}
}

func TestChildrenRunAheadReportToTheirOwnTests(t *testing.T) {
	names := []string{"it passes", "it hangs", "it fails"}
	reports := make(map[string]string)
	var c *Children
	if Isolated() {
		c = NewChildren(t)
		c.Ahead(t, names, func(name string) bool { return name == names[1] })
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if c != nil {
				reports[name] = (<-c.ahead[t.Name()]).tell(about)
				return
			}
			switch name {
			case "it hangs":
				markStuck()
				sendReport("It has hung.")
				t.Fail()
			case "it fails":
				sendReport("It has failed.")
				t.Fail()
			}
		})
	}
	if c != nil && (reports["it passes"] != "" || reports["it hangs"] != "It has hung." || reports["it fails"] != "It has failed.") {
		t.Errorf("got %q", reports)
	}
}

func TestOddNamesAreFound(t *testing.T) {
	for _, name := range []string{
		"2.2 a silent peer is gone after 60 s", "GET /online", "a|b", "(a", "[a-z]", `a\b`, "a+b*c?", "^$", "ünï", "", "twice", "twice", "a\tb", "#00",
	} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(reportVar) != "" {
				t.Fatalf("this is %s", t.Name())
			}
			// A child that runs another test, or none, does not say this.
			report := runChild(t, about, childTime)
			if !strings.Contains(report, "this is "+t.Name()+"\n") || strings.Count(report, "--- FAIL") != 2 {
				t.Errorf("got\n%s", report)
			}
		})
	}
}

func TestPatternMatchesOneName(t *testing.T) {
	if got, want := exactly("TestServer/1.1_a.b"), `^TestServer$/^1\.1_a\.b$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A panic that the testing package has caught is told like any other.
func TestCrashesAreTranslated(t *testing.T) {
	for output, want := range map[string]string{
		"panic: oh no [recovered, repanicked]\n\ngoroutine 1 [running]:\n": "the whole program died: panic: oh no.",
		"panic: close of nil channel":                                      "the whole program died: panic: close of nil channel\nThat is: a channel was closed that was never made.",
		"WARNING: DATA RACE\nRead at 0x1 by goroutine 7:\n  net/http.Get()\n      /go/http.go:1 +0x1\n==================": "a data race: two goroutines used the same variable at the same time, and one of them wrote.",
		"what?\n": "the server ended the whole program (with log.Fatal or os.Exit?). It printed:\nwhat?",
	} {
		if got, _, _ := translate(output, 0); got != want {
			t.Errorf("translate(%q)\n= %s\nwant %s", output, got, want)
		}
	}
	for _, e := range explanations {
		if got, _, _ := translate("panic: "+e.says, 0); !strings.HasSuffix(got, e.means+".") {
			t.Errorf("%q is explained by %s", e.says, got)
		}
	}
}

// A clone may be in a folder with spaces in its name.
func TestDataRaceInAFolderWithSpacesHasItsPlaces(t *testing.T) {
	const report = `WARNING: DATA RACE
Read at 0x00c0001 by goroutine 9:
  example.com/wsworkshop/steps/03-hub.(*Hub).Len()
      /home/ann/my ws (2)/steps/03-hub/hub.go:42 +0x44

Previous write at 0x00c0001 by goroutine 8:
  example.com/wsworkshop/steps/03-hub.(*Hub).Add()
      C:/Users/ann b/ws/steps/03-hub/hub.go:30 +0x99
==================`
	said, _, _ := translate(report, 0)
	for _, want := range []string{"read in (*Hub).Len (hub.go:42)", "previous write in (*Hub).Add (hub.go:30)"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
}
