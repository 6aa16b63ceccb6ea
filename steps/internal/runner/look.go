package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/wsworkshop/steps/contract"
)

// Step is one step of the workshop, and how it stands.
type Step struct {
	Number   int
	Folder   string // "01-upgrade"
	Title    string // of its lesson
	Promises int    // of its own, not those of earlier steps
	Kept     int    // of its own
	Earlier  int    // promises of earlier steps that it breaks
	Trouble  string // why nothing is known: what the compiler says
}

// whole reports whether the step keeps all promises, those of earlier steps too.
func (s Step) whole() bool {
	return s.Kept == s.Promises && s.Earlier == 0 && s.Trouble == ""
}

// Look runs the tests of all steps of the repository at root.
func Look(ctx context.Context, root string) ([]Step, error) {
	steps := make([]Step, contract.Steps)
	args := []string{"test", "-json"}
	for i, folder := range contract.Folders {
		steps[i] = Step{Number: i + 1, Folder: folder, Promises: len(contract.Promises(i + 1))}
		var err error
		if steps[i].Title, err = title(filepath.Join(root, "steps", folder, "README.md")); err != nil {
			return nil, err
		}
		args = append(args, "./steps/"+folder)
	}

	var complaints bytes.Buffer
	test := exec.CommandContext(ctx, "go", args...)
	test.Dir = root
	test.Stderr = &complaints
	output, err := test.Output() // an error here means that a test failed, as is expected
	results, readErr := readResults(bytes.NewReader(output))
	if readErr != nil {
		return nil, fmt.Errorf("the output of go test: %w", readErr)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("go test: %w\n%s", err, complaints.String())
	}
	for i := range steps {
		steps[i].judge(results)
	}
	return steps, nil
}

// title returns the title of a lesson, which is its first line: "# Step 1: ...".
func title(lesson string) (string, error) {
	f, err := os.Open(lesson)
	if err != nil {
		return "", fmt.Errorf("a lesson is missing: %w", err)
	}
	defer f.Close()
	first, err := bufio.NewReader(f).ReadString('\n')
	_, name, ok := strings.Cut(strings.TrimSpace(first), ": ")
	if err != nil || !ok || !strings.HasPrefix(first, "# Step ") {
		return "", fmt.Errorf("%s does not begin with a line like \"# Step 1: a title\"", lesson)
	}
	return name, nil
}

// results says how tests have ended, by package and test: "pass", "fail" or
// "skip". What the compiler says of a package stands under the test "build".
type results map[string]map[string]string

// readResults reads the output of go test -json.
func readResults(r io.Reader) (results, error) {
	all := make(results)
	build := make(map[string]string) // import path of the build: output
	for dec := json.NewDecoder(r); ; {
		var event struct {
			Action, Package, Test, Output, ImportPath, FailedBuild string
		}
		if err := dec.Decode(&event); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if event.Action == "build-output" {
			build[event.ImportPath] += event.Output
			continue
		}
		if event.Package == "" {
			continue
		}
		tests := all[event.Package]
		if tests == nil {
			tests = make(map[string]string)
			all[event.Package] = tests
		}
		switch event.Action {
		case "pass", "fail", "skip":
			tests[event.Test] = event.Action
			if event.FailedBuild != "" {
				tests["build"] = build[event.FailedBuild]
			}
		}
	}
}

// judge fills in how the step stands.
func (s *Step) judge(all results) {
	tests := all["example.com/wsworkshop/steps/"+s.Folder]
	if says, failed := tests["build"]; failed {
		s.Trouble = "it does not compile:\n" + strings.TrimSpace(says)
		return
	}
	if tests["TestServer"] == "" {
		s.Trouble = "its test TestServer did not run"
		return
	}
	for n := 1; n <= s.Number; n++ {
		for _, p := range contract.Promises(n) {
			ended := tests["TestServer/"+strings.ReplaceAll(p.String(), " ", "_")]
			switch kept := ended == "pass" || ended == "skip"; {
			case n == s.Number && kept:
				s.Kept++
			case n < s.Number && !kept:
				s.Earlier++
			}
		}
	}
}
