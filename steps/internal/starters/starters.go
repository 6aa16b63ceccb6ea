// Package starters holds the files of the steps as a fresh clone has them, so that
// a step can be put back without a network and without git.
package starters

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed starters.zip
var archive []byte

// Files returns the Go files of a step ("03-hub") by their names. A gate in
// solutions/ keeps them the same as those in steps/.
func Files(step string) (map[string]string, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, fmt.Errorf("the archive of the starters: %w", err)
	}
	files := make(map[string]string)
	for _, entry := range r.File {
		if path.Dir(entry.Name) != step {
			continue
		}
		f, err := entry.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		files[path.Base(entry.Name)] = string(data)
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

// Pack returns the archive of the steps in the folder dir.
func Pack(dir string, steps []string) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, step := range steps {
		files, err := Read(filepath.Join(dir, step))
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			entry, err := w.Create(step + "/" + name)
			if err != nil {
				return nil, err
			}
			io.WriteString(entry, files[name]) // into memory
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
