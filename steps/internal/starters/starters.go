// Package starters holds the files of the steps as a fresh clone has them, so that
// a step can be put back without a network and without git.
package starters

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed starters.txt
var archive string

// mark begins the line above each file in the archive; its name follows.
const mark = "-- steps/"

// Files returns the Go files of a step ("03-hub") by their names. TestTheArchiveHolds
// keeps them the same as those in steps/.
func Files(step string) (map[string]string, error) {
	files := make(map[string]string)
	text := strings.TrimSuffix(strings.ReplaceAll(archive, "\r\n", "\n"), "\n") // git may have changed the ends of lines
	for entry := range strings.SplitSeq("\n"+text, "\n"+mark) {
		name, text, _ := strings.Cut(entry, "\n")
		if path.Dir(name) == step {
			files[path.Base(name)] = text + "\n"
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the archive of the starters has no step %q", step)
	}
	return files, nil
}

// Names returns the names of the Go files in a folder, those that the go command
// looks at: not what an editor or a system keeps beside them.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a folder that is not there has none
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

// Read returns the Go files of a folder by their names, with line ends as on Linux.
func Read(dir string) (map[string]string, error) {
	names, err := Names(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	return files, nil
}

// Pack returns the archive of the steps in the folder dir: all files, each below a
// line with its name.
func Pack(dir string, steps []string) (string, error) {
	var b strings.Builder
	for _, step := range steps {
		files, err := Read(filepath.Join(dir, step))
		if err != nil {
			return "", err
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			b.WriteString(mark + step + "/" + name + "\n" + files[name])
		}
	}
	return b.String(), nil
}
