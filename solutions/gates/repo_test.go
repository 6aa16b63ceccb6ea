package gates

import (
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// root is the repository. go test runs the tests of a package in its folder.
const root = "../.."

// module is the path of the module, as go.mod has it.
const module = "example.com/wsworkshop"

// last is the last solution, which is the one to take home.
const last = "10-resume"

// inRoot returns the path of a file that is named from the root, with slashes.
func inRoot(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }

// read returns a text file, with line ends as on Linux: git may have changed them.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(inRoot(name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// goFiles returns the names of the Go files in a folder, sorted.
func goFiles(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(inRoot(folder), "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Go files in %s", folder)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

// walk calls f for each file below folder, but not for what go and git ignore.
func walk(t *testing.T, folder string, f func(name string)) {
	t.Helper()
	err := filepath.WalkDir(inRoot(folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		base := filepath.Base(name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.ContainsAny(base[:1], "._") || base == "testdata"):
			return filepath.SkipDir
		case !entry.IsDir():
			f(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eachStep runs a subtest for each step, with its number and the name of its
// folder.
func eachStep(t *testing.T, test func(t *testing.T, n int, folder string)) {
	for i, folder := range contract.Folders {
		t.Run(folder, func(t *testing.T) { test(t, i+1, folder) })
	}
}

var authors = flag.Bool("authors", false, "hold also the starters to the gates that somebody seems to have begun to solve, and the pages to a speller and to Mermaid")

// authorsTool skips what only authors run, and what needs a program that is not here.
// Where the environment variable WSWORKSHOP_TOOLS is set, it must be here.
func authorsTool(t *testing.T, program, debian string) {
	t.Helper()
	if !*authors {
		t.Skip("for authors: go test ./solutions/gates -authors")
	}
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("WSWORKSHOP_TOOLS") != "" {
		t.Fatalf("%s is missing, and WSWORKSHOP_TOOLS says that it must be here: apt-get install %s", program, debian)
	}
	t.Skipf("it needs %s. On Debian and Ubuntu: apt-get install %s", program, debian)
}

// notBegun skips what is about the starter of a step if it is no starter any more.
func notBegun(t *testing.T, folder string) {
	t.Helper()
	if begun(t, folder) && !*authors {
		t.Skipf("steps/%s has been begun, so nobody asks whether it is still to be done", folder)
	}
}

// begunSteps returns the steps that have been begun, but for authors, who want to hear
// of all of them.
func begunSteps(t *testing.T) []string {
	return slices.DeleteFunc(slices.Clone(contract.Folders[:]), func(folder string) bool { return *authors || !begun(t, folder) })
}

// begun reports whether the Go files of a step are not those that the runner's reset
// would put there.
func begun(t *testing.T, folder string) bool {
	t.Helper()
	mark := "\n-- steps/" + folder + "/"
	archive := "\n" + strings.TrimSuffix(read(t, "steps/internal/starters/starters.txt"), "\n") + "\n-- steps/"
	names := goFiles(t, "steps/"+folder)
	for _, name := range names {
		if !strings.Contains(archive, mark+name+"\n"+strings.TrimSuffix(read(t, "steps/"+folder+"/"+name), "\n")+"\n-- steps/") {
			return true
		}
	}
	return strings.Count(archive, mark) != len(names)
}

// lesson returns the path of a step's lesson.
func lesson(folder string) string { return "steps/" + folder + "/README.md" }

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
