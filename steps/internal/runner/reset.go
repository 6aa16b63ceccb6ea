package runner

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/workshop"
)

// savedFolder holds what reset and carry have replaced. Git ignores it.
const savedFolder = ".saved"

// reset puts the Go files of a step back as a fresh clone has them.
func (a *app) reset(ctx context.Context, args []string) error {
	words, err := parse(flag.NewFlagSet("reset", flag.ContinueOnError), args, 1)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return usageError("reset: which step? Name it by its number.")
	}
	s, err := a.step(ctx, words)
	if err != nil {
		return err
	}
	starter, err := starters.Files(s.Name)
	if err != nil {
		return err
	}
	mine, err := a.files(s.Folder())
	if err != nil {
		return err
	}
	if maps.Equal(mine, starter) {
		fmt.Fprintf(a.Out, "%s is as it was from the start: nothing to do.\n", s.Folder())
		return nil
	}
	if err := a.replace(s, starter); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "%s is as it was from the start.\n", s.Folder())
	return nil
}

// replace saves the Go files of a step and writes others in their place.
func (a *app) replace(s workshop.Step, files map[string]string) error {
	saved := filepath.Join(savedFolder, time.Now().Format("2006-01-02T15-04-05.000-")+s.Name)
	to := filepath.Join(a.root, saved)
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	names, err := starters.Names(a.path(s.Folder()))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(a.path(s.Folder()), name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Out, "Your files are in %s now: to have them again, copy them back.\n", filepath.ToSlash(saved))
	return writeFiles(a.path(s.Folder()), files)
}
