package gates

import (
	"bytes"
	"os"
	"testing"
)

// onlyFinished are files that only solutions have: tests for hostile bytes, for the
// protocol as a whole, and for what no promise asks for.
var onlyFinished = map[string][]string{
	"08-limits": {"beyond_test.go", "protocol_test.go"},
	"10-resume": {"beyond_test.go", "fuzz_test.go", "protocol_test.go"},
	"09-log":    {"beyond_test.go", "fuzz_test.go", "protocol_test.go"},
}

// A step and its solution have the same files, and the same test.
func TestStepAndSolutionHaveTheSameFiles(t *testing.T) {
	eachStep(t, func(t *testing.T, _ int, folder string) {
		notBegun(t, folder)
		step, solution := "steps/"+folder, "solutions/"+folder
		inStep, inSolution := goFiles(t, step), goFiles(t, solution)
		for _, name := range without(inStep, inSolution) {
			t.Errorf("%s has %s, and %s has not: add it there, or delete it here.", step, name, solution)
		}
		inStep = append(inStep, onlyFinished[folder]...)
		for _, name := range without(inSolution, inStep) {
			t.Errorf("%s has %s, and %s has not: add it there, or delete it here.", solution, name, step)
		}
		for _, name := range []string{"README.md", "main.go", "server.go"} {
			if _, err := os.Stat(inRoot(step + "/" + name)); err != nil {
				t.Errorf("%s has no %s: write it.", step, name)
			}
		}

		test := "/" + folder[:2] + "_test.go"
		a, errA := os.ReadFile(inRoot(step + test))
		b, errB := os.ReadFile(inRoot(solution + test))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s and %s must be the same, byte for byte: copy the right one over the other.", step+test, solution+test)
		}
	})
}
