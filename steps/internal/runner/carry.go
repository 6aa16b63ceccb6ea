package runner

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/system"
	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// carry takes the learner's own step into the next one. What the starter of that
// adds to the solution before it is added to the learner's files instead.
func (a *app) carry(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("carry", flag.ContinueOnError)
	yes := flags.Bool("yes", false, "")
	byHand := flags.Bool("by-hand", false, "")
	words, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	s, before, err := a.stepAfterFirst("carry", words)
	if err != nil {
		return err
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return errNoGit
	}
	starter, err := a.untouched(s)
	if err != nil {
		return err
	}
	if starter == nil {
		return fmt.Errorf("step %[1]d has work of yours already. To begin it anew: go run ./steps reset %[1]d (it saves your files), then carry again", s.Number)
	}
	if asItWas, err := a.untouched(before); err != nil {
		return err
	} else if asItWas != nil {
		return fmt.Errorf("%s is as it was from the start: there is no work of yours to carry", before.Folder())
	}
	if !*yes {
		v, err := a.of(ctx, before)
		if err != nil {
			return err
		}
		if !v.Whole() && !a.ask(ctx, fmt.Sprintf("Your step %d does not keep all its promises yet (%s). Carry it all the same?", before.Number, v)) {
			return nil
		}
	}

	m, err := a.merge(ctx, git, s, before, starter)
	if err != nil {
		return err
	}
	if len(m.carried) == 0 {
		return fmt.Errorf("nothing is changed: your step %d is as the solution, which step %d stands on already", before.Number, s.Number)
	}
	if len(m.conflicts) > 0 && !*byHand {
		return fmt.Errorf("nothing is changed: what step %d adds does not fit into yours here:\n\n%s\n"+
			"To settle that by hand, with both versions in your files at such places: go run ./steps carry -by-hand %[1]d",
			s.Number, strings.Join(m.conflicts, "\n"))
	}
	says, err := a.build(ctx, s, m.files)
	if err != nil {
		return err
	}
	if says != "" && !*byHand {
		return fmt.Errorf("nothing is changed: with your files step %d would not build:\n\n%s\n\n"+
			"To carry them all the same, and settle that by hand: go run ./steps carry -by-hand %[1]d",
			s.Number, says)
	}
	if still, err := a.untouched(s); err != nil {
		return err
	} else if still == nil {
		return fmt.Errorf("nothing is changed: somebody has just written into %s", s.Folder())
	}
	if err := writeFiles(a.path(s.Folder()), m.files); err != nil {
		return errors.Join(err, a.putBack(s, m.files, starter))
	}
	fmt.Fprintf(a.Out, "%s now has your %s, and the TODOs of step %d.\n", s.Folder(), strings.Join(m.carried, ", "), s.Number)
	if len(m.conflicts) > 0 {
		fmt.Fprintf(a.Out, "Next: settle what stands between <<<<<<< and >>>>>>> in %s, then read %s\n", s.Folder(), s.Lesson())
		return nil
	}
	fmt.Fprintf(a.Out, "Next: read %s\n", s.Lesson())
	return nil
}

// untouched returns the files of a step that nobody has changed, and nil for any
// other step.
func (a *app) untouched(s workshop.Step) (map[string]string, error) {
	starter, err := starters.Files(s.Name)
	if err != nil {
		return nil, err
	}
	there, err := a.files(s.Folder())
	if err != nil || !maps.Equal(there, starter) {
		return nil, err
	}
	return starter, nil
}

// merged is a step with the learner's work on the step before.
type merged struct {
	files     map[string]string
	carried   []string // the names of the learner's files among them
	conflicts []string // where the two do not fit together, as the files show it
}

// merge puts the learner's work on the step before into the files of the starter.
func (a *app) merge(ctx context.Context, git string, s, before workshop.Step, starter map[string]string) (merged, error) {
	mine, err := a.files(before.Folder())
	if err != nil {
		return merged{}, err
	}
	base, err := a.files(before.Solution())
	if err != nil {
		return merged{}, err
	}
	delete(mine, before.Name[:2]+"_test.go")
	m := merged{files: maps.Clone(starter)}
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if mine[name] == base[name] { // what the starter stands on
			continue
		}
		m.carried = append(m.carried, name)
		m.files[name] = mine[name]
		if starter[name] == "" {
			continue
		}
		text, conflicts, err := mergeFile(ctx, git, mine[name], base[name], starter[name])
		if err != nil {
			return merged{}, err
		}
		m.files[name] = text
		for _, c := range conflicts {
			m.conflicts = append(m.conflicts, s.Folder()+"/"+name+"\n"+c)
		}
	}
	return m, nil
}

// build builds a step as if it had the given files, tests included, and returns what
// the compiler says if it does not build.
func (a *app) build(ctx context.Context, s workshop.Step, files map[string]string) (says string, err error) {
	dir, err := os.MkdirTemp("", "wsworkshop")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	var overlay struct{ Replace map[string]string } // see "go help build"
	overlay.Replace = make(map[string]string)
	for name := range files {
		overlay.Replace[filepath.Join(a.path(s.Folder()), name)] = filepath.Join(dir, name)
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	files = maps.Clone(files)
	files["overlay.json"] = string(list)
	if err := writeFiles(dir, files); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-buildvcs=false", "-o", filepath.Join(dir, "program"), "-overlay="+filepath.Join(dir, "overlay.json"), "./"+s.Folder())
	cmd.Dir = a.root
	system.Stoppable(cmd, syscall.SIGINT)
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return verdict.CompilerSays(string(output)), nil
	}
	return "", err
}

// putBack takes files out of a step and writes the starter in their place.
func (a *app) putBack(s workshop.Step, files, starter map[string]string) error {
	for name := range files {
		if err := os.Remove(filepath.Join(a.path(s.Folder()), name)); starter[name] == "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return writeFiles(a.path(s.Folder()), starter)
}
