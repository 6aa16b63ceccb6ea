package runner

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/workshop"
)

// carry takes the learner's own step into the next one. What the starter of that
// adds to the solution before it is added to the learner's files instead.
func (a *app) carry(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("carry", flag.ContinueOnError)
	yes := flags.Bool("yes", false, "")
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
	starter, err := starters.Files(s.Name)
	if err != nil {
		return err
	}
	there, err := a.files(s.Folder())
	if err != nil {
		return err
	}
	if !maps.Equal(there, starter) {
		return fmt.Errorf("step %[1]d has work of yours already. To begin it anew: go run ./steps reset %[1]d (it saves your files), then carry again", s.Number)
	}
	if !*yes {
		v, err := a.of(ctx, before, false)
		if err != nil {
			return err
		}
		if !v.Whole() && !a.ask(fmt.Sprintf("Your step %d does not keep all its promises yet (%s). Carry it all the same?", before.Number, v)) {
			return nil
		}
	}

	merged, conflicts, err := a.merge(ctx, git, s, before, starter)
	if err != nil {
		return err
	}
	if len(conflicts) > 0 {
		return fmt.Errorf("nothing is changed: what step %d adds does not fit into your %s. By hand: copy your files from %s to %s, "+
			"and add there what \"go run ./steps what-changed %d\" and the TODO(%d.k) of the starter show",
			s.Number, strings.Join(conflicts, ", "), before.Folder(), s.Folder(), s.Number, s.Number)
	}
	if err := writeFiles(a.path(s.Folder()), merged); err != nil {
		return err
	}
	if says, err := a.build(ctx, s); err != nil {
		if err := a.putBack(s, merged, starter); err != nil {
			return err
		}
		return fmt.Errorf("nothing is changed: with your files step %d would not build:\n%s\nBy hand: copy your files from %s to %s, and go on from there",
			s.Number, says, before.Folder(), s.Folder())
	}
	fmt.Fprintf(a.Out, "%s now has your step %d, and the TODOs of step %d.\n", s.Folder(), before.Number, s.Number)
	return nil
}

// merge returns the files of the step with the learner's work on the step before,
// and the names of those in which the two do not fit together.
func (a *app) merge(ctx context.Context, git string, s, before workshop.Step, starter map[string]string) (merged map[string]string, conflicts []string, err error) {
	mine, err := a.files(before.Folder())
	if err != nil {
		return nil, nil, err
	}
	base, err := a.files(before.Solution())
	if err != nil {
		return nil, nil, err
	}
	delete(mine, before.Name[:2]+"_test.go")
	merged = maps.Clone(starter)
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		text, clean := mine[name], true
		if starter[name] != "" {
			text, clean, err = mergeFile(ctx, git, mine[name], base[name], starter[name])
		}
		if err != nil {
			return nil, nil, err
		}
		if !clean {
			conflicts = append(conflicts, name)
		}
		merged[name] = text
	}
	return merged, conflicts, nil
}

// mergeFile makes in mine the changes that lead from base to starter. It reports
// false if they do not fit.
func mergeFile(ctx context.Context, git, mine, base, starter string) (text string, clean bool, err error) {
	dir, err := os.MkdirTemp("", "wsworkshop")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, map[string]string{"mine": mine, "base": base, "starter": starter}); err != nil {
		return "", false, err
	}
	cmd := exec.CommandContext(ctx, git, "merge-file", "-p", "mine", "base", "starter")
	cmd.Dir = dir
	output, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() < 128 { // the number of conflicts
		return "", false, nil
	}
	return string(output), err == nil, err
}

// build builds a step, tests included, and returns what the compiler says.
func (a *app) build(ctx context.Context, s workshop.Step) (says string, err error) {
	cmd := exec.CommandContext(ctx, "go", "vet", "./"+s.Folder())
	cmd.Dir = a.root
	output, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// putBack takes files out of a step and writes the starter in their place.
func (a *app) putBack(s workshop.Step, files, starter map[string]string) error {
	for name := range files {
		if err := os.Remove(filepath.Join(a.path(s.Folder()), name)); err != nil {
			return err
		}
	}
	return writeFiles(a.path(s.Folder()), starter)
}
