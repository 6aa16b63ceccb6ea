package runner

import (
	"context"
	"encoding/json"
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
			"To carry your files all the same, and settle that by hand: go run ./steps carry -by-hand %[1]d",
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
	if err := a.exchange(a.path(s.Folder()), starter, m.files); err != nil {
		return errors.Join(err, a.exchange(a.path(s.Folder()), m.files, starter))
	}
	told := fmt.Sprintf("%s now has your %s, and the TODOs of step %d.\n", s.Folder(), strings.Join(m.carried, ", "), s.Number)
	switch {
	case len(m.marked) > 0:
		told += fmt.Sprintf("Next: in %s look for <<<<<<<. There stand your lines, those of the workshop's step %d, and those of the starter. "+
			"Do to yours what the starter has done to the workshop's, and remove the rest, with the marks. Then read %s\n",
			strings.Join(m.marked, ", "), before.Number, s.Lesson())
	case says != "":
		told += fmt.Sprintf("It does not build yet:\n\n%s\n\nNext: correct that, then read %s\n", says, s.Lesson())
	default:
		told += fmt.Sprintf("Next: read %s\n", s.Lesson())
	}
	fmt.Fprint(a.Out, a.screen.Wrap(told))
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
	marked    []string // the names of those in which both versions stand
	conflicts []string // where the two do not fit together
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
	if len(base) == 0 {
		return merged{}, fmt.Errorf("nothing is changed: carry needs to know where your files began, and %s is not there. Put it back, from a fresh clone or with git", before.Solution())
	}
	test := before.Name[:2] + "_test.go"
	delete(mine, test)
	delete(base, test)
	m := merged{files: maps.Clone(starter)}
	for _, name := range slices.Sorted(maps.Keys(base)) {
		if _, there := mine[name]; there {
			continue
		}
		switch starter[name] {
		case "":
		case base[name]:
			delete(m.files, name)
		default:
			m.conflicts = append(m.conflicts, fmt.Sprintf("%s/%s: you have no such file any more, and step %d changes it.\n", s.Folder(), name, s.Number))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if mine[name] == base[name] { // what the starter stands on
			continue
		}
		m.carried = append(m.carried, name)
		m.files[name] = mine[name]
		if starter[name] == "" {
			continue
		}
		if base[name] == "" {
			return merged{}, fmt.Errorf("nothing is changed: step %d brings a %s of its own. Give yours another name, and carry again", s.Number, name)
		}
		text, conflicts, err := mergeFile(ctx, git, mine[name], base[name], starter[name])
		if err != nil {
			return merged{}, err
		}
		m.files[name] = text
		if len(conflicts) > 0 {
			m.marked = append(m.marked, name)
		}
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
	there, err := starters.Names(a.path(s.Folder()))
	if err != nil {
		return "", err
	}
	for _, name := range there {
		overlay.Replace[filepath.Join(a.path(s.Folder()), name)] = "" // away
	}
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
	output, err := system.Go(ctx, a.root, "test", "-c", "-o", filepath.Join(dir, "program"), "-overlay="+filepath.Join(dir, "overlay.json"), "./"+s.Folder()).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return verdict.CompilerSays(string(output)), nil
	}
	return "", err
}
