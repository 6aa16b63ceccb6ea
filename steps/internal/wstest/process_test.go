package wstest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"example.com/wsworkshop/steps/internal/wstest/testdata/wrong"
)

// program serves until it gets a signal, the second of which it takes ill.
func program() {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	go wrong.Server(wrong.Echo).Serve(listener)
	if <-signals == os.Interrupt {
		<-signals
		os.Exit(2)
	}
}

func TestProcessServesAndExits(t *testing.T) {
	Become("program", program)
	p := StartProcess(t, about, "program")
	ann := p.Connect("ann")
	ann.Send("hello")
	ann.WantText("hello")
	if runtime.GOOS == "windows" {
		t.Skip("a process on Windows gets no signals")
	}
	p.Signal(syscall.SIGTERM)
	if state := p.WantExit("it got a SIGTERM"); state.ExitCode() != 0 {
		t.Errorf("%s; %s", state, p.Tail())
	}
	ann.WaitClose()
	ann.WantGone("the process has ended")
}

func TestProcessIsSignalledUntilItExits(t *testing.T) {
	Become("program", program)
	if runtime.GOOS == "windows" {
		t.Skip("a process on Windows gets no signals")
	}
	p := StartProcess(t, about, "program")
	if !p.SignalUntilExit(os.Interrupt) || p.State() != "exit status 2" {
		t.Errorf("the process has ended with %s; %s", p.State(), p.Tail())
	}
}

func TestProcessThatDiesAtOnceIsReported(t *testing.T) {
	Become("broken", func() { panic("no configuration") })
	if os.Getenv(reportVar) != "" {
		StartProcess(t, about, "broken")
		return
	}
	report := runChild(t, about, childTime)
	for _, want := range []string{
		"Seen:     the process has ended (exit status 2), although its first log record tells the address",
		"the whole program died: panic: no configuration",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
}

func TestLastLineOfAProcessCounts(t *testing.T) {
	Become("brief", func() { fmt.Fprint(os.Stderr, "127.0.0.1:1\nthe end") })
	p := StartProcess(t, about, "brief")
	p.wantLine(regexp.MustCompile("the end"), "that is its last line")
	p.WantExit("it does nothing more")
	p.wantLine(regexp.MustCompile("the end"), "it has not been forgotten")
}

func TestProcessDoesNotOutliveItsTest(t *testing.T) {
	Become("program", program)
	p := StartProcess(t, about, "program")
	p.stdin.Close()
	if state := p.WantExit("its standard input has ended"); state.ExitCode() != 3 {
		t.Errorf("%s", state)
	}
}

func TestServerOverTCPIsReached(t *testing.T) {
	RunTCP(t, about, func(*Log) *http.Server { return wrong.Server(wrong.Echo) }, func(n *Network) {
		ann := n.Connect("ann")
		ann.Send("hello")
		ann.WantText("hello")
		ann.StopReading()
		ann.ResumeReading()
		ann.Send("still here")
		ann.WantText("still here")
		ann.Close(1000, "")
		ann.WantClose(1000)
	})
}
