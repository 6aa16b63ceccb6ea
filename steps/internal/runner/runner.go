// Package runner is the program behind "go run ./steps": the commands that a
// learner goes through the workshop with.
//
// Where the learner is it finds out anew by running the tests, each time: no file
// remembers it.
package runner

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/wsworkshop/steps/internal/screen"
	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// Streams are what the program reads and writes.
type Streams struct {
	In       *os.File
	Out, Err *os.File
}

// Run runs the program and returns its exit code: 0 when all is well, 1 when a
// promise is broken or something else went wrong, 2 for a wrong command line.
func Run(ctx context.Context, args []string, std Streams) int {
	a := &app{Streams: std, screen: screen.Of(std.Out)}
	err := a.run(ctx, args)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errBroken), errors.Is(err, context.Canceled):
		return 1
	case errors.As(err, &wrong):
		fmt.Fprintf(std.Err, "%v\nFor the commands: go run ./steps help\n", err)
		return 2
	}
	fmt.Fprintln(std.Err, screen.Of(std.Err).Wrap(err.Error()))
	return 1
}

// errBroken ends a command whose output has told already that a promise is broken.
var errBroken = errors.New("a promise is broken")

// usageError is a command line that cannot be understood.
type usageError string

func (e usageError) Error() string { return string(e) }

// app is one run of the program.
type app struct {
	Streams
	screen screen.Screen
	root   string
	steps  []workshop.Step
}

// command is what the program can do.
type command struct {
	name, args, does string
	run              func(*app, context.Context, []string) error
}

// commands is filled in by init: help is one of them and lists them.
var commands []command

func init() {
	commands = []command{
		{"status", "", "the map of the steps: where you are, and what is next (also without a command)", (*app).status},
		{"test", "[-all] [-race] [N]", "run the tests of step N, promise by promise; with -all each message, with -race for data races too", (*app).test},
		{"watch", "[N]", "the same on every save", (*app).watch},
		{"hint", "[N.k or N]", "a hint for a task, or for the first promise that is broken", (*app).hint},
		{"diff", "[-yes] [N]", "your step N beside the workshop's solution", (*app).diff},
		{"what-changed", "N", "what the solutions changed from step N-1 to step N", (*app).whatChanged},
		{"carry", "[-yes] [-by-hand] N", "take your own step N-1 into step N, with the new TODOs", (*app).carry},
		{"reset", "[-undo] N", "put step N back as it was, after saving your files; with -undo have them again", (*app).reset},
		{"serve", "[-solution] [N] [flags of the server]", "run the server of step N, and restart it on every save", (*app).serve},
		{"peer", "-stall|-vanish|-flood [-rate N] [-url ws://...]", "a client that reads nothing, answers nothing, or sends too much", (*app).peer},
		{"doctor", "", "see whether this machine has what the workshop needs", (*app).doctor},
		{"verify", "", "for contributors: run every gate, and print its figures", (*app).verify},
		{"help", "", "this list", (*app).help},
	}
}

func (a *app) run(ctx context.Context, args []string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if a.root, err = workshop.Root(dir); err != nil {
		return err
	}
	if a.steps, err = workshop.Load(a.root); err != nil {
		return err
	}
	name := "status"
	if len(args) > 0 && args[0] != "serve" && slices.ContainsFunc(args, isHelp) {
		return a.help(ctx, nil)
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(a, ctx, args)
		}
	}
	return usageError(fmt.Sprintf("there is no command %q.", name))
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func (a *app) help(context.Context, []string) error {
	fmt.Fprintln(a.Out, "go run ./steps [command]")
	fmt.Fprintln(a.Out)
	for _, c := range commands {
		fmt.Fprintf(a.Out, "  %s\n      %s\n", strings.TrimSpace(c.name+" "+c.args), c.does)
	}
	fmt.Fprint(a.Out, "\nN is the number of a step; without it a command takes the step where you are. status and test\n"+
		"take -json, for programs. The exit code is 0 if all is well, 1 if a promise is broken, and 2\n"+
		"for a wrong command line. (go run prints this code, and itself ends with 1 instead of it.)\n")
	return nil
}

// parse reads the flags of a command and returns its arguments, at most most of them.
func parse(flags *flag.FlagSet, args []string, most int) ([]string, error) {
	flags.SetOutput(io.Discard)
	var words []string
	for { // flags may also stand behind an argument
		if err := flags.Parse(args); err != nil {
			return nil, usageError(fmt.Sprintf("%s: %v.", flags.Name(), err))
		}
		if flags.NArg() == 0 {
			break
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
	if len(words) > most {
		return nil, usageError(fmt.Sprintf("%s: what is %q?", flags.Name(), words[most]))
	}
	return words, nil
}

// step returns the step that a command line names; without a name the one where
// the learner is.
func (a *app) step(ctx context.Context, words []string) (workshop.Step, error) {
	if len(words) == 0 {
		all, err := a.all(ctx)
		if err != nil {
			return workshop.Step{}, err
		}
		return screen.Here(all).Step, nil
	}
	for _, s := range a.steps {
		if words[0] == strconv.Itoa(s.Number) || path.Base(filepath.ToSlash(words[0])) == s.Name {
			return s, nil
		}
	}
	return workshop.Step{}, usageError(fmt.Sprintf("%q is no step: they are 1 to %d.", words[0], len(a.steps)))
}

// all tests all steps. Where nothing has been compiled yet, or the machine is busy,
// that takes a while: then it says so, and on a terminal for how long.
func (a *app) all(ctx context.Context) ([]verdict.Verdict, error) {
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		const patience = 2
		progress := screen.Of(a.Err)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-ended:
				fmt.Fprint(a.Err, progress.EndBar())
				return
			case <-tick.C:
			}
			if seconds == patience {
				fmt.Fprintln(a.Err, "Compiling and testing (the first time this takes a minute) ...")
			}
			if seconds >= patience {
				fmt.Fprint(a.Err, progress.Progress(fmt.Sprintf("%d s", seconds)))
			}
		}
	})
	defer waiting.Wait()
	defer close(ended)
	return verdict.All(ctx, a.root, a.steps)
}

// of tests one step with flags of go test, and a bar on a terminal.
func (a *app) of(ctx context.Context, s workshop.Step, flags ...string) (verdict.Verdict, error) {
	promised := 0
	for _, before := range a.steps[:s.Number] {
		promised += len(before.Promises)
	}
	done := 0
	fmt.Fprint(a.Out, a.screen.Bar(done, promised))
	v, err := verdict.Of(ctx, a.root, s, flags, func(string) {
		done = min(done+1, promised)
		fmt.Fprint(a.Out, a.screen.Bar(done, promised))
	})
	fmt.Fprint(a.Out, a.screen.EndBar())
	return v, err
}

// judged is of, and when all promises are kept, once more with the race detector:
// what has no lock may go well a thousand times.
func (a *app) judged(ctx context.Context, s workshop.Step, flags ...string) (verdict.Verdict, error) {
	v, err := a.of(ctx, s, flags...)
	if err != nil || !v.Whole() || v.Race || s.Number < screen.FirstRaces {
		return v, err
	}
	if _, err := a.checkRace(ctx); err != nil {
		v.NoRace = firstLine(err.Error()) + "."
		return v, ctx.Err()
	}
	fmt.Fprint(a.Out, a.screen.Progress("All promises are kept. Once more, with the race detector ..."))
	v, err = a.of(ctx, s, append(flags, "-race")...)
	fmt.Fprint(a.Out, a.screen.EndBar())
	return v, err
}
