package starters

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

var update = flag.Bool("update", false, "write starters.txt anew from the steps as they are")

const steps = "../.."

// For a clone in which no step has been begun, like the gates in solutions/.
func TestTheArchiveHoldsTheStartersAsTheyAre(t *testing.T) {
	if *update {
		data, err := Pack(steps, contract.Folders[:])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("starters.txt", []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
		t.Skip("the archive is new; the next run tests it")
	}
	for _, step := range contract.Folders {
		want, err := Read(steps + "/" + step)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Files(step)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("starters.txt has other files of steps/%s. If you have changed the starter, write it anew: go test ./steps/internal/starters -update", step)
		}
	}
}

func TestAStepThatDoesNotExistIsAnError(t *testing.T) {
	if files, err := Files("09-none"); err == nil {
		t.Errorf("got %d files", len(files))
	}
}

func TestNamesAreThoseOfGoFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [clone]")
	if err := os.MkdirAll(filepath.Join(dir, "folder.go"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.go", "mine_test.go", ".hidden.go", "_not.go", "notes.txt", "server.go~"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("somebody@host:1", filepath.Join(dir, ".#server.go")) // of Emacs; Windows may refuse
	got, err := Names(dir)
	if err != nil || !slices.Equal(got, []string{"mine_test.go", "server.go"}) {
		t.Errorf("Names = %q, %v", got, err)
	}
	if got, err := Names(filepath.Join(dir, "gone")); err != nil || len(got) > 0 {
		t.Errorf("of a folder that is not there: %q, %v", got, err)
	}
}
