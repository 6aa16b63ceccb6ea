package runner

import (
	"strings"
	"testing"
)

// workshop returns two steps of three promises each, as change leaves them.
func workshop(change func(first, second *Step)) []Step {
	steps := []Step{
		{Number: 1, Folder: "01-one", Title: "The first", Promises: 3},
		{Number: 2, Folder: "02-two", Title: "The second", Promises: 3},
	}
	change(&steps[0], &steps[1])
	return steps
}

func TestMapSaysWhereYouAreAndWhatIsNext(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(first, second *Step)
		want   []string
		not    string
	}{
		{"a fresh clone", func(first, second *Step) {}, []string{
			"=>  1  The first", "0 of 3 promises kept", "are to be expected", "go test ./steps/01-one\n",
		}, "ok"},
		{"in the first step", func(first, second *Step) { first.Kept = 2 }, []string{
			"=>  1  The first", "2 of 3 promises kept", "You are at step 1.", "steps/01-one/README.md",
		}, "expected"},
		{"in the second step", func(first, second *Step) { first.Kept = 3 }, []string{
			"ok  1  The first", "=>  2  The second", "You are at step 2.", "go run ./steps/02-two\n",
		}, "expected"},
		{"an earlier promise is broken", func(first, second *Step) { first.Kept, second.Kept, second.Earlier = 3, 3, 1 }, []string{
			"=>  2  The second", "It breaks 1 promise of earlier steps",
		}, "All promises"},
		{"a step does not compile", func(first, second *Step) { first.Trouble = "it does not compile:\nserver.go:3:1: syntax error" }, []string{
			"=>  1  The first", "not known", "It does not compile:\nserver.go:3:1: syntax error",
		}, "expected"},
		{"all is done", func(first, second *Step) { first.Kept, second.Kept = 3, 3 }, []string{
			"ok  1", "ok  2", "All promises are kept", "diff steps/02-two solutions/02-two\n",
		}, "=>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Map(workshop(test.change))
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("the map lacks %q:\n%s", want, got)
				}
			}
			if strings.Contains(got, test.not) {
				t.Errorf("the map has %q:\n%s", test.not, got)
			}
		})
	}
}
