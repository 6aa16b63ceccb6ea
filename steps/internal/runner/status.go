package runner

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"example.com/wsworkshop/steps/internal/screen"
	"example.com/wsworkshop/steps/internal/verdict"
)

// stepJSON is a step in the output of status -json and test -json.
type stepJSON struct {
	Step     int               `json:"step"`
	Folder   string            `json:"folder"`
	Title    string            `json:"title"`
	Kept     int               `json:"kept"`     // of the promises that the step adds
	Promised int               `json:"promised"` // by the step
	Whole    bool              `json:"whole"`    // it keeps all promises, those of earlier steps too
	Trouble  string            `json:"trouble,omitempty"`
	Promises []verdict.Promise `json:"promises,omitempty"` // in the output of test
}

func toJSON(v verdict.Verdict) stepJSON {
	kept, promised := v.Own()
	return stepJSON{Step: v.Step.Number, Folder: v.Step.Folder(), Title: v.Step.Title,
		Kept: kept, Promised: promised, Whole: v.Whole(), Trouble: v.Trouble}
}

func (a *app) printJSON(v any) error {
	out := json.NewEncoder(a.Out)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// status shows the map. Its exit code is 0 on a fresh clone too: that the steps are
// not done is why one is here.
func (a *app) status(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("status", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	all, err := a.all(ctx)
	if err != nil {
		return err
	}
	if !*asJSON {
		fmt.Fprint(a.Out, a.screen.Map(all))
		return nil
	}
	answer := struct {
		Here  int        `json:"here"` // the first step that is not done, or the last
		Steps []stepJSON `json:"steps"`
	}{Here: screen.Here(all).Step.Number}
	for _, v := range all {
		answer.Steps = append(answer.Steps, toJSON(v))
	}
	return a.printJSON(answer)
}

// test runs the tests of a step.
func (a *app) test(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	inFull := flags.Bool("all", false, "")
	race := flags.Bool("race", false, "")
	words, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	s, err := a.step(ctx, words)
	if err != nil {
		return err
	}
	if *asJSON {
		a.screen = screen.Screen{}
	} else {
		if len(words) == 0 && s.Number > 1 {
			fmt.Fprintf(a.Out, "Step %d keeps all its promises. You are at step %d.\n\n", s.Number-1, s.Number)
		}
		fmt.Fprintf(a.Out, "%s\n\n", a.screen.Heading(fmt.Sprintf("Step %d: %s", s.Number, s.Title)))
	}
	var with []string
	if *race {
		if _, err := a.checkRace(ctx); err != nil {
			return err
		}
		with = []string{"-race"}
	}
	v, err := a.judged(ctx, s, with...)
	if err != nil {
		return err
	}
	if *asJSON {
		answer := toJSON(v)
		answer.Promises = v.Promises
		err = a.printJSON(answer)
	} else {
		fmt.Fprint(a.Out, a.screen.Report(v, *inFull))
	}
	if err == nil && !v.Whole() {
		return errBroken
	}
	return err
}
