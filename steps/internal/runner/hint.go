package runner

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// hint shows the hints of a task, one after the other, as long as it is asked to.
func (a *app) hint(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hint", flag.ContinueOnError)
	all := flags.Bool("all", false, "")
	words, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	task, lesson, err := a.task(ctx, words)
	if err != nil || task.Number == "" {
		return err
	}
	fmt.Fprintf(a.Out, "%s\n", a.screen.Heading(task.Number+" "+task.Title))
	for i, text := range task.Hints {
		switch {
		case i == 0, *all:
		case i == len(task.Hints)-1:
			if !a.ask(ctx, "\nThe last hint is nearly the code. Show it?") {
				return nil
			}
		case !a.ask(ctx, "\nAnother hint?"):
			return nil
		}
		fmt.Fprintf(a.Out, "\n%s\n", a.screen.Wrap(hintText(text)))
	}
	fmt.Fprintf(a.Out, "\nThese are all. The task: %s#task-%s\n", lesson, task.Number)
	return nil
}

// task returns the task that a command line names. If it names a step, that is the
// task of the first broken promise; without a name, of the step where the learner is.
// It returns none if none is broken.
func (a *app) task(ctx context.Context, words []string) (task workshop.Task, lesson string, err error) {
	for _, s := range a.steps {
		if task, ok := s.Task(strings.Join(words, "")); ok {
			return task, s.Lesson(), nil
		}
	}
	s, err := a.step(ctx, words)
	switch {
	case err != nil && len(words) == 0:
		return task, "", err
	case err != nil:
		return task, "", usageError(fmt.Sprintf("%q is no task: they are called 1.1, 1.2 and so on; and no step.", words[0]))
	}
	v, err := a.of(ctx, s)
	if err != nil {
		return task, "", err
	}
	first, broken := v.FirstBroken()
	if !broken {
		fmt.Fprint(a.Out, a.screen.Report(v, false))
		return task, "", nil
	}
	in := a.steps[first.Step-1]
	task, _ = in.Task(first.Task)
	fmt.Fprintf(a.Out, "The first promise that is broken: %s\n%s\n", first.Name, notOf(s, first))
	return task, in.Lesson(), nil
}

// notOf says that a promise that step s breaks is one of an earlier step, if it is.
func notOf(s workshop.Step, p verdict.Promise) string {
	if p.Step == s.Number {
		return ""
	}
	return fmt.Sprintf("Step %d kept it before your change: look at that first. The hints are those of step %d.\n", s.Number, p.Step)
}

// hintText returns a hint as it is read on a screen: the fences around code say
// nothing there.
func hintText(markdown string) string {
	var b strings.Builder
	for line := range strings.Lines(markdown) {
		if !strings.HasPrefix(line, "```") {
			b.WriteString(line)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}
