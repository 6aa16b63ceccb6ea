package starters

import (
	"flag"
	"maps"
	"os"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

var update = flag.Bool("update", false, "write starters.zip anew from the steps as they are")

const steps = "../.."

// For a clone in which no step has been begun, like the gates in solutions/.
func TestTheArchiveHoldsTheStartersAsTheyAre(t *testing.T) {
	if *update {
		data, err := Pack(steps, contract.Folders[:])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("starters.zip", data, 0o666); err != nil {
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
			t.Errorf("starters.zip has other files of steps/%s. If you have changed the starter, write it anew: go test ./steps/internal/starters -update", step)
		}
	}
}

func TestAStepThatDoesNotExistIsAnError(t *testing.T) {
	if files, err := Files("09-none"); err == nil {
		t.Errorf("got %d files", len(files))
	}
}
