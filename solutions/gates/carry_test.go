package gates

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

var (
	carry = flag.String("carry", "", "carry what has changed in this solution since git's HEAD into the other solutions and the starters")
	from  = flag.String("from", "", "carry it into this step and those after it only")
)

// carryChanges takes what a maintainer has changed in one solution since the last
// commit over into each other solution and starter, where the lines are the same as
// they were. It is a three-way merge: where the lines are others, they stay, and the
// gates say what is missing.
func carryChanges(t *testing.T, solution, from string) {
	solution = strings.TrimPrefix(strings.TrimSuffix(solution, "/"), "solutions/")
	from = strings.TrimPrefix(strings.TrimSuffix(from, "/"), "solutions/")
	begins := slices.Index(contract.Folders[:], from) // -1 without from
	if !slices.Contains(contract.Folders[:], solution) || from != "" && begins < 0 {
		t.Fatalf("-carry and -from take a solution, such as solutions/%s.", contract.Folders[len(contract.Folders)-1])
	}
	var snapshots []string
	for _, folder := range contract.Folders[max(0, begins):] {
		snapshots = append(snapshots, "steps/"+folder)
		if folder != solution {
			snapshots = append(snapshots, "solutions/"+folder)
		}
	}
	for _, name := range goFiles(t, "solutions/"+solution) {
		now := inRoot("solutions/" + solution + "/" + name)
		before := filepath.Join(t.TempDir(), name)
		// With ./ git takes the path from the folder where it runs, wherever the root of the
		// repository is.
		show := exec.CommandContext(t.Context(), "git", "show", "HEAD:./solutions/"+solution+"/"+name)
		show.Dir = root
		text, err := show.Output()
		if err != nil {
			t.Fatalf("%s: %v. A new file is copied by hand.", show, err)
		}
		if err := os.WriteFile(before, text, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, snapshot := range snapshots {
			carryFile(t, inRoot(path.Join(snapshot, name)), before, now)
		}
	}
	archive := exec.CommandContext(t.Context(), "go", "test", "./steps/internal/starters", "-update")
	archive.Dir = root
	if output, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", archive, err, output)
	}
}

// carryFile takes over into a file, if there is one, what has changed in another.
func carryFile(t *testing.T, file, before, now string) {
	old, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	merged, err := exec.CommandContext(t.Context(), "git", "merge-file", "--ours", "-p", file, before, now).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(merged, old) {
		t.Logf("carried into %s", file)
		if err := os.WriteFile(file, merged, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
