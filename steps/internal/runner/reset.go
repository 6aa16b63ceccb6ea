package runner

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/workshop"
)

// savedFolder holds what reset and carry have replaced. Git ignores it.
const savedFolder = ".saved"

// reset puts the Go files of a step back as a fresh clone has them.
func (a *app) reset(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("reset", flag.ContinueOnError)
	undo := flags.Bool("undo", false, "")
	words, err := parse(flags, args, 1)
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
	if *undo {
		if starter, err = a.lastSaved(s); err != nil {
			return err
		}
	}
	mine, err := a.files(s.Folder())
	if err != nil {
		return err
	}
	if maps.Equal(mine, starter) {
		fmt.Fprintf(a.Out, "%s is so already: nothing to do.\n", s.Folder())
		return nil
	}
	if err := a.replace(s, starter); err != nil {
		return err
	}
	if *undo {
		fmt.Fprintf(a.Out, "%s is as it was before.\n", s.Folder())
	} else {
		fmt.Fprintf(a.Out, "%s is as it was from the start.\n", s.Folder())
	}
	return nil
}

// replace saves the Go files of a step and puts others in their place: all of them, or
// none.
func (a *app) replace(s workshop.Step, files map[string]string) error {
	dir := a.path(s.Folder())
	mine, err := starters.Read(dir)
	if err != nil {
		return err
	}
	saved, err := a.save(s, mine)
	if err != nil {
		return fmt.Errorf("%s stays as it is, since your files cannot be saved: %w", s.Folder(), err)
	}
	if err := a.exchange(dir, mine, files); err != nil {
		back := a.exchange(dir, files, mine)
		if back != nil {
			return fmt.Errorf("%s is half done: your files are in %s: %w", s.Folder(), filepath.ToSlash(saved), errors.Join(err, back))
		}
		return fmt.Errorf("%s stays as it is: %w", s.Folder(), err)
	}
	fmt.Fprintf(a.Out, "Your files are in %s now. To have them again: go run ./steps reset -undo %d\n", filepath.ToSlash(saved), s.Number)
	return nil
}

// save writes files of a step into a folder of their own, and returns its name.
func (a *app) save(s workshop.Step, files map[string]string) (saved string, err error) {
	if err := os.MkdirAll(filepath.Join(a.root, savedFolder), 0o777); err != nil {
		return "", err
	}
	for {
		saved = filepath.Join(savedFolder, time.Now().Format("2006-01-02T15-04-05.000-")+s.Name)
		err := os.Mkdir(filepath.Join(a.root, saved), 0o777)
		if !errors.Is(err, fs.ErrExist) {
			return saved, errors.Join(err, writeFiles(filepath.Join(a.root, saved), files))
		}
		time.Sleep(time.Millisecond)
	}
}

// exchange writes files into a folder and removes those of the old ones that are not
// among them. Files that are the same are left alone.
func (a *app) exchange(dir string, old, files map[string]string) error {
	for name, text := range files {
		if was, there := old[name]; there && was == text {
			continue
		}
		temp := filepath.Join(dir, "."+name+".new")
		defer os.Remove(temp) // if it is still there
		if err := os.WriteFile(temp, []byte(text), 0o666); err != nil {
			return err
		}
		if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for name := range old {
		if _, stays := files[name]; !stays {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// lastSaved returns the files that reset or carry have saved last of a step.
func (a *app) lastSaved(s workshop.Step) (map[string]string, error) {
	folders, err := fs.Glob(os.DirFS(filepath.Join(a.root, savedFolder)), "*-"+s.Name)
	if err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("nothing of %s has been saved in %s", s.Folder(), savedFolder)
	}
	return starters.Read(filepath.Join(a.root, savedFolder, slices.Max(folders)))
}
