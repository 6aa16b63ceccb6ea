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
		fmt.Fprintln(std.Err, screen.Of(std.Err).Wrap(err.Error()))
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
	typed  <-chan byte // keys, while watch reads them; nil otherwise
}

// command is what the program can do.
type command struct {
	name, args    string
	does, more    string
	example, says string // and what the example does
	run           func(*app, context.Context, []string) error
}

// commands is filled in by init: help is one of them and lists them.
var commands []command

func init() {
	commands = []command{
		{"status", "[-json]", "the map of the steps: where you are, and what is next", "It is what comes without a command.",
			"status", "shows the map", (*app).status},
		{"test", "[-all] [-race] [-json] [N]", "run the tests of step N, promise by promise",
			"With -all each message is shown, and with -race the race detector watches at once. (Otherwise it does so when all promises are kept.)",
			"test -all 3", "tests step 3 and shows what each broken promise says", (*app).test},
		{"watch", "[N]", "the same on every save, with keys for most of what stands here", "When a step is done it goes on to the next one.",
			"watch 2", "tests step 2 whenever you save one of its files", (*app).watch},
		{"hint", "[-all] [N.k or N]", "a hint for a task, or for the first promise that is broken",
			"It asks before it shows the next one; with -all it does not.",
			"hint 4.2", "shows the first hint for task 4.2", (*app).hint},
		{"diff", "[-yes] [N]", "your step N beside the workshop's solution",
			"It asks if the step is not done yet; with -yes it does not.",
			"diff 2", "shows how your step 2 differs from the solution", (*app).diff},
		{"what-changed", "[-yes] N", "what the solutions changed from step N-1 to step N",
			"It asks if step N is not done yet, since it shows its solution; with -yes it does not.",
			"what-changed 4", "shows what step 4 adds to step 3", (*app).whatChanged},
		{"carry", "[-yes] [-by-hand] N", "take your own step N-1 into step N, with the new TODOs",
			"It asks if step N-1 is not done yet; with -yes it does not. Where the two do not fit together it changes nothing; with -by-hand it writes both versions, for you to settle.",
			"carry 3", "puts your step 2 into step 3", (*app).carry},
		{"reset", "[-undo] N", "put step N back as it was, after saving your files",
			"Your files go to a folder in .saved/. With -undo you have them again.",
			"reset 2", "begins step 2 anew", (*app).reset},
		{"serve", "[-solution] [N] [flags of the server]", "run the server of step N, and restart it on every save",
			"With -solution it is that of the workshop. serve N -h lists the flags of the server.",
			"serve 4 -addr 127.0.0.1:0", "runs your server of step 4 on a free port", (*app).serve},
		{"peer", "-stall|-vanish|-flood [-rate N] [-url ws://...]", "a client that reads nothing, answers nothing, or sends too much",
			"Without -url it connects to ws://127.0.0.1:8080/ws. -rate is for -flood: how many messages a second.",
			"peer -flood -rate 50", "sends 50 messages a second", (*app).peer},
		{"doctor", "", "see whether this machine has what the workshop needs", "", "doctor", "looks at Go, the race detector, the port and more", (*app).doctor},
		{"verify", "", "for contributors: run every gate, and print its figures", "It takes many minutes.", "verify", "runs them all", (*app).verify},
		{"help", "[command]", "this list, or one command with an example", "", "help carry", "explains carry", (*app).help},
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
	switch {
	case len(args) == 0:
	case isHelp(args[0]):
		name, args = "help", nil
	case !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	}
	if slices.ContainsFunc(args, isHelp) && (name != "serve" || isHelp(args[0])) { // serve N -h asks the server
		name, args = "help", []string{name}
	}
	c, err := a.command(name)
	if err != nil {
		return err
	}
	err = c.run(a, ctx, args)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return usageError(fmt.Sprintf("%v\nMore: go run ./steps help %s", err, c.name))
	}
	return err
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// command returns the command with a name. If there is none, the error names the one
// that may be meant.
func (a *app) command(name string) (command, error) {
	meant, most := "", 2 // how many letters of it may be wrong
	for _, c := range commands {
		if c.name == name {
			return c, nil
		}
		wrong := distance(name, c.name)
		if strings.HasPrefix(c.name, name) {
			wrong = 0
		}
		if wrong <= most {
			meant, most = c.name, wrong-1
		}
	}
	for _, s := range a.steps {
		if _, isTask := s.Task(name); isTask {
			meant = "hint " + name
		} else if name == strconv.Itoa(s.Number) {
			meant = "test " + name
		}
	}
	says := fmt.Sprintf("there is no command %q.", name)
	if meant != "" {
		says += fmt.Sprintf(" Did you mean: go run ./steps %s", meant)
	}
	return command{}, usageError(says + "\nFor the commands: go run ./steps help")
}

// distance returns how many letters have to be put in, taken out or changed to get
// from a to b (Levenshtein's distance).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from what there is of a, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// help lists the commands, or explains one.
func (a *app) help(_ context.Context, args []string) error {
	var b strings.Builder
	if len(args) > 0 {
		c, err := a.command(args[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "go run ./steps %s\n\n  %s\n", strings.TrimSpace(c.name+" "+c.args), c.does)
		if c.more != "" {
			fmt.Fprintf(&b, "  %s\n", c.more)
		}
		fmt.Fprintf(&b, "\nFor example:\n\n  go run ./steps %s\n      %s\n", c.example, c.says)
	} else {
		b.WriteString("go run ./steps [command]\n\n")
		for _, c := range commands {
			fmt.Fprintf(&b, "  %s\n      %s\n", strings.TrimSpace(c.name+" "+c.args), c.does)
		}
		b.WriteString("\nN is the number of a step; without it a command takes the step where you are.\n" +
			"More on a command, with an example: go run ./steps help carry\n\n" +
			"The exit code is 0 if all is well, 1 if a promise is broken, and 2 for a wrong\n" +
			"command line. (go run prints this code, and itself ends with 1 instead of it.)\n" +
			"With -json the output is for programs.\n")
	}
	wrap := a.screen
	if wrap.Width == 0 {
		wrap.Width = 80
	}
	fmt.Fprint(a.Out, wrap.Wrap(b.String()))
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

// working shows on a terminal what is being done, and for how long already, until done
// is called. Elsewhere it says so once, if it takes a while.
func (a *app) working(what string) (done func()) {
	progress := screen.Of(a.Err)
	ended := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		fmt.Fprint(a.Err, progress.Progress(what+" ..."))
		for seconds := 1; ; seconds++ {
			select {
			case <-ended:
				fmt.Fprint(a.Err, progress.EndBar())
				return
			case <-tick.C:
			}
			if seconds == 2 && progress.Width == 0 {
				fmt.Fprintln(a.Err, what+" ...")
			}
			fmt.Fprint(a.Err, progress.Progress(fmt.Sprintf("%s ... %d s", what, seconds)))
		}
	})
	return func() {
		close(ended)
		showing.Wait()
	}
}

// all tests all steps.
func (a *app) all(ctx context.Context) ([]verdict.Verdict, error) {
	defer a.working("Compiling and testing (a minute the first time)")()
	return verdict.All(ctx, a.root, a.steps)
}

// of tests one step with flags of go test, and a bar on a terminal.
func (a *app) of(ctx context.Context, s workshop.Step, flags ...string) (verdict.Verdict, error) {
	promised := 0
	for _, before := range a.steps[:s.Number] {
		promised += len(before.Promises)
	}
	note := ""
	if slices.Contains(flags, "-race") {
		note = ", with the race detector"
	}
	done := 0
	fmt.Fprint(a.Out, a.screen.Bar(done, promised, note+", compiling"))
	v, err := verdict.Of(ctx, a.root, s, flags, func(string) {
		done = min(done+1, promised)
		fmt.Fprint(a.Out, a.screen.Bar(done, promised, note))
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
	return a.of(ctx, s, append(flags, "-race")...)
}
