package gates

import (
	"bytes"
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

var (
	long     = flag.Bool("long", false, "run the gates that take minutes, too")
	fuzztime = flag.Duration("fuzztime", 10*time.Second, "how long the gate of the fuzz targets runs each of them")
)

// fuzzTargets are the fuzz targets of the last solution.
var fuzzTargets = []string{"FuzzFrames", "FuzzHandshake", "FuzzActions", "FuzzPosition"}

// rightServers are the tests of servers that are right and of another design.
const rightServers = "^Test(HubGoroutine|Contexts|Shards|Detached|SharedLog)$"

// rightFolder has changes of the last solution that make it another right server, in the
// form of the mistakes.
const rightFolder = "solutions/gates/testdata/right"

// No bytes and no order of events break the last server.
func TestFuzzFindsNothing(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: go test ./solutions/gates -long -run Fuzz")
	}
	executions := 0
	for _, target := range fuzzTargets {
		output := goTest(t, "-run=^$", "-fuzz=^"+target+"$", fmt.Sprint("-fuzztime=", *fuzztime), "./solutions/"+last)
		counts := regexp.MustCompile(`execs: (\d+)`).FindAllSubmatch(output, -1)
		if counts == nil {
			t.Fatalf("%s has not run:\n%s", target, output)
		}
		n, err := strconv.Atoi(string(counts[len(counts)-1][1]))
		if err != nil || n == 0 {
			t.Fatalf("%s has tried nothing:\n%s", target, output)
		}
		executions += n
	}
	t.Logf("fuzz: %d inputs tried with %d targets, no failure", executions, len(fuzzTargets))
}

// The last server speaks the protocol as RFC 6455 has it.
func TestProtocolIsKept(t *testing.T) {
	if !*long {
		t.Skip("go test ./solutions/... runs it already, without the figure")
	}
	output := goTest(t, "-v", "-count=1", "-run=^TestProtocol$", "./solutions/"+last)
	figure := regexp.MustCompile(`protocol: .*`).Find(output)
	if figure == nil {
		t.Fatalf("TestProtocol has told no figure:\n%s", output)
	}
	t.Logf("%s", figure)
}

// Servers of other designs keep all promises.
func TestRightServersPass(t *testing.T) {
	if !*long {
		t.Skip("go test ./steps/contract runs it already, without the figure")
	}
	output := goTest(t, "-v", "-count=1", "-run="+rightServers, "./steps/contract")
	passed := regexp.MustCompile(`(?m)^--- PASS: `).FindAll(output, -1)
	if len(passed) < 4 {
		t.Fatalf("%d right servers of other designs have passed, and at least 4 should:\n%s", len(passed), output)
	}
	variants := readMistakes(t, rightFolder, last)
	if len(variants) < 2 {
		t.Errorf("%s has %d variants of the last solution, and should have at least 2.", rightFolder, len(variants))
	}
	for _, v := range variants {
		goTest(t, "-count=1", "-overlay="+v.overlay(t), "./solutions/"+last)
	}
	t.Logf("right servers: %d of other designs pass, %d variants of the last solution, and the solutions", len(passed), len(variants))
}

// goTest runs go test in the root of the repository, demands that it passes, and
// returns what it printed.
func goTest(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test"}, args...)...)
	cmd.Dir = root
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, tail(output.String(), 60))
	}
	return output.Bytes()
}
