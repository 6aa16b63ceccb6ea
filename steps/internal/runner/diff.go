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
	"strings"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

// diff shows the learner's step beside the solution.
func (a *app) diff(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("diff", flag.ContinueOnError)
	yes := flags.Bool("yes", false, "")
	words, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	s, err := a.step(ctx, words)
	if err != nil {
		return err
	}
	if !*yes {
		v, err := a.of(ctx, s)
		if err != nil {
			return err
		}
		if !a.mayShow(ctx, v) {
			return nil
		}
	}
	return a.compare(ctx, "yours", s.Folder(), "solution", s.Solution(), true)
}

// mayShow asks before the solution of a step is shown that is not done yet.
func (a *app) mayShow(ctx context.Context, v verdict.Verdict) bool {
	return v.Whole() || a.ask(ctx, fmt.Sprintf("Step %d is not done yet (%s), and this shows its solution. Show it?", v.Step.Number, v))
}

// whatChanged shows what the solutions changed between two steps.
func (a *app) whatChanged(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("what-changed", flag.ContinueOnError)
	yes := flags.Bool("yes", false, "")
	words, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	s, before, err := a.stepAfterFirst("what-changed", words)
	if err != nil {
		return err
	}
	if !*yes {
		v, err := a.of(ctx, s)
		if err != nil {
			return err
		}
		if !a.mayShow(ctx, v) {
			return nil
		}
	}
	return a.compare(ctx, before.Name, before.Solution(), s.Name, s.Solution(), true)
}

// stepAfterFirst returns the step that a command line must name, and the one before.
func (a *app) stepAfterFirst(command string, words []string) (s, before workshop.Step, err error) {
	if len(words) == 0 {
		return s, before, usageError(command + ": which step? Name it by its number.")
	}
	if s, err = a.step(context.Background(), words); err != nil {
		return s, before, err
	}
	if s.Number == 1 {
		return s, before, usageError(fmt.Sprintf("%s: before step 1 there is none. The steps are 2 to %d.", command, contract.Steps))
	}
	return s, a.steps[s.Number-2], nil
}

var errNoGit = errors.New("this needs git, which is not installed: https://git-scm.com")

// compare shows the differences of the Go files of two folders, but for their tests.
func (a *app) compare(ctx context.Context, nameA, folderA, nameB, folderB string, paged bool) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return errNoGit
	}
	dir, err := os.MkdirTemp("", "wsworkshop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, folder := range map[string]string{nameA: folderA, nameB: folderB} {
		files, err := a.files(folder)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s is not there. Put it back, from a fresh clone or with git", folder)
		}
		maps.DeleteFunc(files, func(file, _ string) bool { return strings.HasSuffix(file, "_test.go") })
		if err := writeFiles(filepath.Join(dir, name), files); err != nil {
			return err
		}
	}
	args := []string{"-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "diff", "--no-index", "--no-ext-diff", "--no-prefix"}
	if a.screen.Colour {
		args = append(args, "--color=always")
	} else {
		args = append(args, "--color=never")
	}
	if !paged {
		args = append([]string{"--no-pager"}, args...)
	}
	cmd := exec.CommandContext(ctx, git, append(args, "--", nameA, nameB)...)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	cmd.Cancel = func() error { return nil } // Ctrl-C is for the pager
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		fmt.Fprintf(a.Out, "%s and %s are the same.\n", folderA, folderB)
	case errors.As(err, &exit) && exit.ExitCode() == 1: // there are differences
		return nil
	}
	return err
}

// files returns the Go files of a folder of the repository.
func (a *app) files(folder string) (map[string]string, error) { return starters.Read(a.path(folder)) }

// path returns the path of what is named from the root, with slashes.
func (a *app) path(name string) string { return filepath.Join(a.root, filepath.FromSlash(name)) }

// writeFiles writes files into a folder, which it makes if need be.
func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}
