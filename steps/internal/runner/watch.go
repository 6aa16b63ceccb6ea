package runner

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"example.com/wsworkshop/steps/internal/screen"
	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// watcher is what watch knows from one run to the next.
type watcher struct {
	*app
	step    workshop.Step
	flags   []string        // of go test, for the next run
	verdict verdict.Verdict // of the last run
	broken  bool            // the step has been seen without all its promises
	failed  bool            // the go command has, so there is none
	note    string          // what led to the last run, if that was no save
	what    string          // what is wrong first
	since   time.Time       // when that was found first
	hinted  string          // the promise that hints were shown for
	hints   int             // how many
}

// watch runs the tests of a step on every save, and goes on to the next step when
// all its promises are kept.
func (a *app) watch(ctx context.Context, args []string) error {
	words, err := parse(flag.NewFlagSet("watch", flag.ContinueOnError), args, 1)
	if err != nil {
		return err
	}
	s, err := a.step(ctx, words)
	if err != nil {
		return err
	}
	var restore func()
	a.typed, restore = a.keys(ctx)
	defer restore()
	w := &watcher{app: a, step: s, verdict: verdict.Verdict{Step: s}}
	for {
		// What is saved from here on, also during the run, starts the next one.
		before := look(a.path(w.step.Folder()))
		err := w.run(ctx)
		switch {
		case isEnd(err):
			return nil
		case err != nil: // of the go command, such as a broken go.mod
			fmt.Fprintln(w.Out, w.screen.Wrap(err.Error()))
		case w.verdict.Whole() && w.broken && w.step.Number < len(a.steps) && maps.Equal(before, look(a.path(w.step.Folder()))):
			w.goTo(w.step.Number + 1)
			w.note = fmt.Sprintf("On to step %d: read %s first. c takes your own code along, b goes back.\n", w.step.Number, w.step.Lesson())
			continue
		}
		w.help()
		if err := w.wait(ctx, before); err != nil {
			return nil // a person has ended it
		}
	}
}

// goTo goes to a step.
func (w *watcher) goTo(number int) {
	w.step, w.broken, w.what = w.steps[number-1], false, ""
}

// errQuit ends watch.
var errQuit = errors.New("q was pressed")

// isEnd reports whether a person has ended watch.
func isEnd(err error) bool { return errors.Is(err, errQuit) || errors.Is(err, context.Canceled) }

// run tests the step and draws the verdict. Until then what was drawn before stays,
// and also after that what led here.
func (w *watcher) run(ctx context.Context) error {
	w.screen = screen.Of(w.Out) // somebody may have made the window smaller
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var v verdict.Verdict
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v, err = w.judged(ctx, w.step, append(w.flags, "-count=1")...)
	}()
	for running := true; running; {
		select {
		case key := <-w.typed: // the others mean what is on the screen, which is about to go
			if key == 'q' {
				cancel(errQuit)
			}
		case <-ended:
			running = false
		}
	}
	w.flags = nil
	if w.failed = err != nil; w.failed {
		return cmp.Or(context.Cause(ctx), err)
	}
	w.verdict = v
	if w.note == "" {
		fmt.Fprint(w.Out, w.screen.Clear())
	} else {
		fmt.Fprintln(w.Out)
	}
	fmt.Fprint(w.Out, w.screen.Heading(fmt.Sprintf("Step %d: %s", w.step.Number, w.step.Title)), "\n\n", w.screen.Report(v, false))
	w.broken = w.broken || !v.Whole()
	first, _ := v.FirstBroken() // without a name where it does not build
	if first.Name != w.what {
		w.what, w.since = first.Name, time.Now()
	}
	return nil
}

// help says how the step stands, also where the list above has left the screen, and
// names the keys.
func (w *watcher) help() {
	standing := ": " + w.verdict.String()
	if w.failed { // what is wrong with the go command stands above
		standing = ""
	} else if w.what != "" {
		standing += fmt.Sprintf("; broken first, since %s: %s", w.since.Format(time.TimeOnly), w.what)
	}
	fmt.Fprintf(w.Out, "\n%s", w.screen.Wrap(fmt.Sprintf("%sWatching %s%s\n%s\n", w.note, w.step.Folder(), standing, keysHelp)))
	w.note = ""
}

const keysHelp = "enter:run r:race a:all h:hint d:diff c:carry s:serve l:list n:next b:back q:quit"

// wait waits until the tests are to run again, and does what the keys say. An error
// means that a person has ended watch.
func (w *watcher) wait(ctx context.Context, before snapshot) error {
	number := strconv.Itoa(w.step.Number)
	for {
		key, saved := changed(ctx, before, w.typed, w.path(w.step.Folder()))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if saved {
			key = '\n'
		}
		var err error
		switch key {
		case 'q':
			return errQuit
		case '\r', '\n':
			return nil
		case 'r':
			if _, err = w.checkRace(ctx); err == nil {
				w.flags = []string{"-race"}
				return nil
			}
		case 'n', 'b':
			to := w.step.Number + 1
			if key == 'b' {
				to -= 2
			}
			if to >= 1 && to <= len(w.steps) {
				w.goTo(to)
				return nil
			}
			err = fmt.Errorf("the steps are 1 to %d", len(w.steps))
		case 'c':
			err = w.carry(ctx, []string{number})
			if !maps.Equal(before, look(w.path(w.step.Folder()))) {
				w.note = fmt.Sprintf("Step %s has your code now.\n", number)
				return nil
			}
		case 's':
			err = w.serveUntilKey(ctx, number)
		case 'a':
			fmt.Fprint(w.Out, "\n"+w.screen.Report(w.verdict, true))
		case 'h':
			w.hint()
		case 'd':
			if w.mayShow(ctx, w.verdict) {
				err = w.compare(ctx, "yours", w.step.Folder(), "solution", w.step.Solution(), false)
			}
		case 'l':
			var all []verdict.Verdict
			if all, err = w.all(ctx); err == nil {
				fmt.Fprint(w.Out, w.screen.Map(all))
			}
		default:
			continue
		}
		if err != nil {
			fmt.Fprintln(w.Out, w.screen.Wrap("\n"+err.Error()))
		}
		w.help()
	}
}

// serveUntilKey runs the server of the step, on a free port if another program has its
// own, until a key is pressed.
func (w *watcher) serveUntilKey(ctx context.Context, step string) error {
	args := []string{step}
	if _, err := w.checkPort(ctx); err != nil {
		args = append(args, "-addr", "127.0.0.1:0")
	}
	fmt.Fprintln(w.Out, "\nAny key ends the server, and goes back to the tests.")
	ctx, end := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-w.typed:
			end()
		case <-ctx.Done():
		}
	})
	defer waiting.Wait()
	defer end()
	return w.serve(ctx, args)
}

// hint shows the next hint for the first promise that is broken.
func (w *watcher) hint() {
	first, broken := w.verdict.FirstBroken()
	switch {
	case w.verdict.Trouble != "":
		fmt.Fprintln(w.Out, "\nIt does not build: correct the first line that is named.")
		return
	case !broken:
		fmt.Fprintln(w.Out, "\nNo promise is broken.")
		return
	}
	if first.Name != w.hinted {
		w.hinted, w.hints = first.Name, 0
	}
	task, _ := w.steps[first.Step-1].Task(first.Task)
	switch {
	case w.hints == 0:
		fmt.Fprintf(w.Out, "\n%s%s\n", notOf(w.verdict.Step, first), w.screen.Heading(task.Number+" "+task.Title))
	case w.hints == len(task.Hints):
		fmt.Fprintln(w.Out, "\nThere are no more hints. d shows the solution.")
		return
	}
	fmt.Fprintf(w.Out, "\n%s\n", w.screen.Wrap(hintText(task.Hints[w.hints])))
	w.hints++
	if w.hints == len(task.Hints)-1 {
		fmt.Fprint(w.Out, "\nThe next hint is nearly the code: h shows it.\n")
	} else if w.hints < len(task.Hints) {
		fmt.Fprint(w.Out, "\nh shows another one.\n")
	}
}
