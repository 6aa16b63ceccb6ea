package runner

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// pollPeriod is how often watch and serve look whether a file has changed. They
// poll because network mounts, virtual machines and containers lose the events
// that a system sends.
const pollPeriod = 50 * time.Millisecond

// snapshot is what a folder's Go files look like from outside.
type snapshot map[string]fileStamp

type fileStamp struct {
	size     int64
	modified time.Time
}

// look returns the snapshot of the Go files in a folder.
func look(dir string) snapshot {
	all := make(snapshot)
	paths, _ := filepath.Glob(filepath.Join(dir, "*.go")) // the pattern is a good one
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil { // else an editor has just replaced it
			all[filepath.Base(path)] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return all
}

// changed returns when the folder does not look as before any more, and is quiet
// again: an editor may write a file in several goes. It reports false if ctx ends,
// or a key comes, which it returns.
func changed(ctx context.Context, dir string, before snapshot, keys <-chan byte) (key byte, ok bool) {
	poll := time.NewTicker(pollPeriod)
	defer poll.Stop()
	last := before
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case key := <-keys:
			return key, false
		case <-poll.C:
		}
		now := look(dir)
		if maps.Equal(now, last) && !maps.Equal(now, before) {
			return 0, true
		}
		last = now
	}
}

// watcher is what watch knows from one run to the next.
type watcher struct {
	*app
	step    workshop.Step
	verdict verdict.Verdict
	since   time.Time // when the first promise that is broken now was found so
	hints   int       // already shown for it
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
	w := &watcher{app: a, step: s}
	word := ""
	for {
		// What is saved from here on, also during the run, starts the next one.
		before := look(a.path(w.step.Folder()))
		if err := w.run(ctx, word); err != nil {
			return err
		}
		word = ""
		if w.verdict.Whole() && w.step.Number < len(a.steps) {
			next := a.steps[w.step.Number]
			word = a.screen.Heading(fmt.Sprintf("Step %d keeps all its promises.", w.step.Number)) +
				fmt.Sprintf(" On to step %d: read %s.\n", next.Number, next.Lesson())
			w.step, w.verdict = next, verdict.Verdict{}
			continue
		}
		for again := false; !again; {
			key, saved := changed(ctx, a.path(w.step.Folder()), before, keys)
			if ctx.Err() != nil {
				return nil
			}
			if again = saved; saved {
				continue
			}
			switch key {
			case 'q':
				return nil
			case '\r', '\n':
				again = true
			case 'h':
				w.hint()
			case 'd':
				err = a.compare(ctx, "yours", w.step.Folder(), "solution", w.step.Solution(), false)
			case 'l':
				fmt.Fprint(a.Out, "\n"+a.screen.Report(w.verdict, true))
			}
			if err != nil {
				return err
			}
		}
	}
}

// run tests the step and draws the verdict under a word.
func (w *watcher) run(ctx context.Context, word string) error {
	fmt.Fprint(w.Out, w.screen.Clear(), word, w.screen.Heading(fmt.Sprintf("Step %d: %s", w.step.Number, w.step.Title)), "\n\n")
	v, err := w.of(ctx, w.step, true)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	was, _ := w.verdict.FirstBroken()
	now, broken := v.FirstBroken()
	if w.since.IsZero() || was.Name != now.Name || v.Trouble != w.verdict.Trouble {
		w.since, w.hints = time.Now(), 0
	}
	w.verdict = v
	fmt.Fprint(w.Out, w.screen.Report(v, false))
	if v.Whole() && w.step.Number < len(w.steps) {
		return nil // and on to the next step
	}
	if broken || v.Trouble != "" {
		fmt.Fprintf(w.Out, "\nSince %s. Now it is %s.", w.since.Format(time.TimeOnly), time.Now().Format(time.TimeOnly))
	}
	fmt.Fprint(w.Out, "\nWatching ", w.step.Folder(), ". Keys: enter run again, h hint, d solution, l all messages, q quit.\n")
	return nil
}

// hint shows the next hint for the first promise that is broken.
func (w *watcher) hint() {
	first, broken := w.verdict.FirstBroken()
	if !broken {
		fmt.Fprintln(w.Out, "No promise is broken.")
		return
	}
	task, _ := w.steps[first.Step-1].Task(first.Task)
	switch {
	case w.hints == 0:
		fmt.Fprintf(w.Out, "\n%s\n", w.screen.Heading(task.Number+" "+task.Title))
	case w.hints == len(task.Hints):
		fmt.Fprintln(w.Out, "There are no more hints. d shows the solution.")
		return
	}
	fmt.Fprintf(w.Out, "\n%s\n", hintText(task.Hints[w.hints]))
	w.hints++
	if w.hints == len(task.Hints)-1 {
		fmt.Fprint(w.Out, "\nThe next hint is nearly the code: h shows it.\n")
	} else if w.hints < len(task.Hints) {
		fmt.Fprint(w.Out, "\nh shows another one.\n")
	}
	fmt.Fprintln(w.Out, strings.Repeat("-", 20))
}
