package runner

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"time"
)

// part is a gate, or several, and how to run them.
type part struct {
	name string
	args []string // of go
}

var parts = []part{
	{"solutions", []string{"test", "-v", "./solutions/..."}},
	{"bench, contracts and runner", []string{"test", "-v", "./steps/contract/...", "./steps/internal/...", "./static/..."}},
	{"mistakes", []string{"test", "-v", "-long", "-timeout=30m", "-run=^TestMistakes", "./solutions"}},
	{"right servers", []string{"test", "-v", "-long", "-run=^TestRightServers", "./solutions"}},
	{"protocol", []string{"test", "-v", "-long", "-run=^TestProtocol", "./solutions"}},
	{"fuzz", []string{"test", "-v", "-long", "-timeout=30m", "-run=^TestFuzz", "./solutions"}},
	{"stress", []string{"test", "-v", "-long", "-timeout=30m", "-run=^TestNothingDependsOnLuck", "./solutions"}},
}

// figure is a line of a test's log that begins with the name of a part; passed is a
// test that has passed.
var (
	figure = regexp.MustCompile(`(?m)^ +\w+\.go:\d+: (\w[\w ]*: .*)$`)
	passed = regexp.MustCompile(`(?m)^ *--- PASS: `)
)

// verify runs every gate and prints a line with the figures of each.
func (a *app) verify(ctx context.Context, args []string) error {
	if _, err := parse(flag.NewFlagSet("verify", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	var failed error
	for _, p := range parts {
		began := time.Now()
		cmd := exec.CommandContext(ctx, "go", p.args...)
		cmd.Dir = a.root
		output, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		says := fmt.Sprintf("%s: %d tests passed", p.name, len(passed.FindAll(output, -1)))
		if found := figure.FindSubmatch(output); found != nil {
			says = string(found[1])
		}
		mark := "ok"
		if err != nil {
			mark, failed = "!!", errBroken
		}
		fmt.Fprintf(a.Out, " %s  %s (%v)\n", mark, says, time.Since(began).Round(time.Second/10))
		if err != nil {
			fmt.Fprintf(a.Out, "%s\n", bytes.TrimSpace(output))
		}
	}
	return failed
}
