package runner

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"regexp"
	"time"

	"example.com/wsworkshop/steps/internal/system"
)

// part is a gate, or several, and how to run them.
type part struct {
	name    string
	args    []string // of go
	figures bool     // it logs a line with its figures, which begins with its name
}

var parts = []part{
	{"solutions", []string{"test", "./solutions/...", "-v"}, false},
	{"bench, contracts and runner", []string{"test", "./steps/contract/...", "./steps/internal/...", "./static/...", "-v"}, false},
	{"commands", []string{"test", "./solutions/gates", "-v", "-timeout=30m", "-run=^TestCommandsDo", "-long"}, true},
	{"mistakes", []string{"test", "./solutions/gates", "-v", "-timeout=30m", "-run=^TestMistakes", "-long"}, true},
	{"right servers", []string{"test", "./solutions/gates", "-v", "-run=^TestRightServers", "-long"}, true},
	{"protocol", []string{"test", "./solutions/gates", "-v", "-run=^TestProtocol", "-long"}, true},
	{"fuzz", []string{"test", "./solutions/gates", "-v", "-timeout=30m", "-run=^TestFuzz", "-long"}, true},
	{"stress", []string{"test", "./solutions/gates", "-v", "-timeout=30m", "-run=^TestNothingDependsOnLuck", "-long"}, true},
}

// passed is a test that has passed; uneventful are the lines that hide one that
// has failed.
var (
	passed     = regexp.MustCompile(`(?m)^ *--- PASS: `)
	uneventful = regexp.MustCompile(`(?m)^( *--- (PASS|SKIP)|=== (RUN|PAUSE|CONT)) .*\n`)
)

// verify runs every gate and prints a line with the figures of each.
func (a *app) verify(ctx context.Context, args []string) error {
	if _, err := parse(flag.NewFlagSet("verify", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	var failed error
	for _, p := range parts {
		began := time.Now()
		done := a.working(p.name)
		output, err := system.Go(ctx, a.root, p.args...).CombinedOutput()
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		says, missing := figures(p, output)
		mark := "ok"
		if err != nil || missing {
			mark, failed = "!!", errBroken
		}
		fmt.Fprintf(a.Out, " %s  %s (%v)\n", mark, says, time.Since(began).Round(time.Second/10))
		if mark != "ok" {
			fmt.Fprintf(a.Out, "%s\n", bytes.TrimSpace(uneventful.ReplaceAll(output, nil)))
		}
	}
	return failed
}

// figures returns what a part has to say of itself, from what its tests have
// printed. Without any, nothing was tested.
func figures(p part, output []byte) (says string, missing bool) {
	if !p.figures {
		n := len(passed.FindAll(output, -1))
		return fmt.Sprintf("%s: %d tests passed", p.name, n), n == 0
	}
	line := regexp.MustCompile(`(?m)^ +\w+\.go:\d+: (` + p.name + `: .*)$`).FindSubmatch(output)
	if line == nil {
		return p.name + ": no figures", true
	}
	return string(line[1]), false
}
