// Package runner is the program behind "go run ./steps".
//
// It shows the map of the steps, with how many of its promises each step keeps.
// That is found out anew by running the tests, each time: no file remembers it.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Run runs the program and returns its exit code: 0 when it could say where you
// are, 1 when it could not, 2 for a wrong command line.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "unknown argument %q: \"go run ./steps\" takes none and shows where you are\n", args[0])
		return 2
	}
	root, err := findRoot()
	if err == nil {
		fmt.Fprintln(stderr, "Running the tests of all steps (the first time this takes a while) ...")
		var steps []Step
		if steps, err = Look(ctx, root); err == nil {
			fmt.Fprint(stdout, Map(steps))
			return 0
		}
	}
	fmt.Fprintln(stderr, err)
	return 1
}

// findRoot returns the folder of the repository: the working directory or the
// nearest one above it with a go.mod.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above: run this in the folder of the workshop")
		}
		dir = parent
	}
}
