package runner

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/screen"
	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// watcher is what watch knows from one run to the next.
type watcher struct {
	*app
	keys    <-chan byte
	step    workshop.Step
	verdict verdict.Verdict // of the last run; its step may be the one before
	broken  bool            // the step has been seen without all its promises
	what    string          // what is wrong first
	since   time.Time       // when that was found first
	hinted  string          // the promise that hints were shown for
	hints   int             // how many
	asked   bool            // d was pressed, and the solution is shown if it is pressed again
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
	keys, restore := a.keys(ctx)
	defer restore()
	w := &watcher{app: a, keys: keys, step: s, verdict: verdict.Verdict{Step: s}}
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
			w.goOn()
			before = look(a.path(w.step.Folder()))
		}
		w.help()
		if err := w.wait(ctx, before); err != nil {
			return nil // a person has ended it
		}
	}
}

// errQuit ends watch.
var errQuit = errors.New("q was pressed")

// isEnd reports whether a person has ended watch.
func isEnd(err error) bool { return errors.Is(err, errQuit) || errors.Is(err, context.Canceled) }

// run tests the step and draws the verdict. Until then what was drawn before stays.
func (w *watcher) run(ctx context.Context) error {
	w.screen = screen.Of(w.Out) // somebody may have made the window smaller
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var v verdict.Verdict
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v, err = w.judged(ctx, w.step, "-count=1")
	}()
	for running := true; running; {
		select {
		case key := <-w.keys: // the others mean what is on the screen, which is about to go
			if key == 'q' {
				cancel(errQuit)
			}
		case <-ended:
			running = false
		}
	}
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	w.verdict = v
	fmt.Fprint(w.Out, w.screen.Clear(), w.screen.Heading(fmt.Sprintf("Step %d: %s", w.step.Number, w.step.Title)), "\n\n", w.screen.Report(v, false))
	if v.Whole() {
		w.what = ""
		return nil
	}
	what := fmt.Sprintf("It %s,", v)
	if first, broken := v.FirstBroken(); broken {
		number, _, _ := strings.Cut(first.Name, " ")
		what = number + " has been the first one broken"
	}
	if what != w.what {
		w.what, w.since = what, time.Now()
	}
	w.broken = true
	fmt.Fprintf(w.Out, "\n%s since %s; tested at %s.\n", what, w.since.Format(time.TimeOnly), time.Now().Format(time.TimeOnly))
	return nil
}

// goOn goes on to the next step, which is tested when it is saved for the first
// time.
func (w *watcher) goOn() {
	done := w.step
	w.step, w.broken = w.steps[done.Number], false
	fmt.Fprint(w.Out, "\n", w.screen.Wrap(fmt.Sprintf("On to step %d: %s. To take your own code along: go run ./steps carry %[1]d\n", w.step.Number, w.step.Title)))
}

// help names the keys.
func (w *watcher) help() {
	fmt.Fprint(w.Out, "\n", w.screen.Wrap(fmt.Sprintf("Watching %s: enter tests it, h hint, d diff, l all, q quit.\n", w.step.Folder())))
}

// wait waits until the step is saved or enter is pressed, and does what the other
// keys say. An error means that a person has ended watch.
func (w *watcher) wait(ctx context.Context, before snapshot) error {
	for {
		key, saved := changed(ctx, before, w.keys, w.path(w.step.Folder()))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case saved, key == '\r', key == '\n':
			w.asked = false
			return nil
		}
		asked := w.asked
		w.asked = false
		switch key {
		case 'q':
			return errQuit
		case 'h':
			w.hint()
		case 'd':
			if err := w.diff(ctx, asked); err != nil {
				fmt.Fprintln(w.Out, w.screen.Wrap(err.Error()))
			}
		case 'l':
			fmt.Fprint(w.Out, "\n"+w.screen.Report(w.verdict, true))
		default:
			continue
		}
		w.help()
	}
}

// diff shows what was tested last beside the solution. If that is not done yet, it
// does so when it is asked again.
func (w *watcher) diff(ctx context.Context, asked bool) error {
	s := w.verdict.Step
	if !w.verdict.Whole() && !asked {
		w.asked = true
		fmt.Fprint(w.Out, w.screen.Wrap(fmt.Sprintf("\nStep %d is not done yet (%s). Press d once more to see its solution.\n", s.Number, w.verdict)))
		return nil
	}
	return w.compare(ctx, "yours", s.Folder(), "solution", s.Solution(), false)
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
