package gates

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/wsworkshop/steps/contract"
)

var stress = flag.Int("stress", 2, "how often the stress gate tests each server in each setting")

// setting is a way to run the promises that changes what happens when.
type setting struct {
	name   string
	race   bool
	procs  int
	slowed bool // the program is stopped for a moment, again and again
}

var settings = []setting{
	{name: "with the race detector", race: true, procs: 2},
	{name: "with the race detector, on one processor", race: true, procs: 1},
	{name: "on one processor", procs: 1},
	{name: "on two processors", procs: 2},
	{name: "stopped again and again", procs: 2, slowed: true},
}

// No promise fails by chance: all servers that are right keep all of theirs,
// many times, in any order, and while the machine has more to do than it can.
func TestNothingDependsOnLuck(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: go test ./solutions/gates -long -run Luck")
	}
	dir := t.TempDir()
	packages := []string{"steps/contract"} // the right servers of other designs
	for _, folder := range contract.Folders {
		packages = append(packages, "solutions/"+folder)
	}
	for _, folder := range packages {
		build(t, dir, folder, false)
		build(t, dir, folder, true)
	}

	// More at a time than there are processors: each disturbs the others.
	slots := make(chan struct{}, runtime.NumCPU()+1)
	var mu sync.Mutex // guards what follows
	runs, failures := 0, 0
	t.Run("each", func(t *testing.T) {
		var all sync.WaitGroup
		defer all.Wait()
		for _, s := range settings {
			for _, folder := range packages {
				all.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					output, err := s.run(testProgram(dir, folder, s.race), inRoot(folder))
					mu.Lock()
					defer mu.Unlock()
					runs += *stress
					if err != nil {
						failures++
						t.Errorf("%s, %s: %v\n%s", folder, s.name, err, tail(output, 60))
					}
				})
			}
		}
	})
	t.Logf("stress: %d runs of all promises of a server, %d failures", runs, failures)
}

// testProgram returns the path of a package's test program.
func testProgram(dir, folder string, race bool) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%t.test", filepath.Base(folder), race))
}

func build(t *testing.T, dir, folder string, race bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags=-w", fmt.Sprintf("-race=%t", race),
		"-o", testProgram(dir, folder, race), "./"+folder)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
}

// run runs a test program with this setting, and returns what it prints.
func (s setting) run(program, folder string) (string, error) {
	cmd := exec.Command(program, "-test.shuffle=on", fmt.Sprintf("-test.count=%d", *stress), "-test.timeout=0")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "WSWORKSHOP_NATIVE=1", fmt.Sprintf("GOMAXPROCS=%d", s.procs), "GORACE=atexit_sleep_ms=0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for s.slowed && runtime.GOOS == "linux" {
		select {
		case err := <-ended:
			return output.String(), err
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
		// Package syscall has no names for SIGSTOP and SIGCONT on Windows, where
		// this file must compile too.
		const stop, resume = syscall.Signal(19), syscall.Signal(18)
		cmd.Process.Signal(stop)
		<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond)
		cmd.Process.Signal(resume)
	}
	err := <-ended
	return output.String(), err
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
