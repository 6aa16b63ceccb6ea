package gates

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// signals is the promise that Windows skips: there one process cannot send
// another a signal.
const signals = "6.3 on SIGTERM and on Ctrl-C the program drains and exits with 0"

// A starter builds, keeps every promise of the steps before it, and breaks every
// promise of its own, each with a failure that teaches.
func TestStartersFailTheirOwnPromisesOnly(t *testing.T) {
	t.Parallel() // with the other test that waits for the go command
	// go test runs this test again, instead of answering from its cache, when a
	// file has changed that the test has opened. The go command that does the work
	// is another process, so open here all that it builds from.
	for _, folder := range []string{"steps", "static"} {
		walk(t, folder, func(name string) { read(t, name) })
	}
	read(t, "go.mod")
	read(t, "go.sum")

	results := testStarters(t)
	known := false
	eachStep(t, func(t *testing.T, n int, folder string) {
		notBegun(t, folder)
		got := results[module+"/steps/"+folder]
		switch {
		case got == nil:
			t.Fatalf("go test has said nothing about steps/%s.", folder)
		case got.failedBuild != "":
			t.Fatalf("steps/%s does not build, or go vet refuses it. A starter must build as it is:\n%s", folder, results[got.failedBuild].output[""])
		case got.action["TestServer"] == "":
			t.Fatalf("steps/%s has run no TestServer. Its test file must call contract.Run:\n%s", folder, got.output[""])
		}
		tests := []string{"", "TestServer"} // the package itself, and the parent of the promises
		for m := 1; m <= n; m++ {
			for _, promise := range contract.Promises(m) {
				test := "TestServer/" + strings.ReplaceAll(promise.String(), " ", "_")
				tests = append(tests, test)
				action := got.action[test]
				known = known || promise.String() == signals
				switch {
				case action == "skip" && promise.String() == signals && runtime.GOOS == "windows":
				case action == "":
					t.Errorf("steps/%s has not run %q.", folder, promise)
				case action == "skip":
					t.Errorf("steps/%s skips %q. Only Windows may skip, and only %q.", folder, promise, signals)
				case m < n && action == "fail":
					t.Errorf("steps/%s breaks %q, a promise of step %d. A starter does what the solution before it does:\n%s", folder, promise, m, got.output[test])
				case m == n && action == "pass":
					t.Errorf("steps/%s keeps %q without the learner's work. Take more out of the starter, or demand more in steps/contract.", folder, promise)
				case m == n:
					checkFailure(t, promise.String(), got.output[test])
				}
			}
		}
		for test, action := range got.action {
			if action == "fail" && !slices.Contains(tests, test) && !slices.ContainsFunc(tests[2:], func(p string) bool { return strings.HasPrefix(test, p+"/") }) {
				t.Errorf("steps/%s: %s fails and is no promise. Delete it, or repair it:\n%s", folder, test, got.output[test])
			}
		}
	})
	if !known && len(begunSteps(t)) == 0 {
		t.Errorf("no promise is called %q. Give the constant signals its new name.", signals)
	}
}

var readLine = regexp.MustCompile(`(?m)^ *Read: +(\S+)#(\S+)$`)

// checkFailure demands that the failure of a promise tells what was seen, what was
// promised, and where to read.
func checkFailure(t *testing.T, promise, output string) {
	for _, word := range []string{"Seen:", "Promised:", "Read:"} {
		if !regexp.MustCompile(`(?m)^ *` + word + ` +\S`).MatchString(output) {
			t.Errorf("the failure of %q has no line that begins with %q. A test must fail through the scene's Fail:\n%s", promise, word, output)
		}
	}
	for _, place := range readLine.FindAllStringSubmatch(output, -1) {
		file, anchor := place[1], place[2]
		text, err := os.ReadFile(inRoot(file))
		if err != nil || !strings.Contains(string(text), `<a id="`+anchor+`"></a>`) {
			t.Errorf(`the failure of %q sends the learner to %s#%s. Write <a id="%s"></a> above the heading there, or correct the Task of the promise.`, promise, file, anchor, anchor)
		}
	}
}

// result is what go test says of one package, by the name of the test; "" is the
// package itself. What is printed below a promise counts as the promise's.
type result struct {
	action      map[string]string
	output      map[string]string
	failedBuild string // the package that did not build, if any
}

// testStarters runs the tests of all starters, as many packages at a time as
// there are processors, and returns the results by package.
func testStarters(t *testing.T) map[string]*result {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), goCommand, "test", "-json", "-count=1", "-ldflags=-w")
	for _, folder := range contract.Folders {
		cmd.Args = append(cmd.Args, "./steps/"+folder)
	}
	cmd.Dir = root
	// The starters are judged as a learner runs them: each promise in a process of
	// its own.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WSWORKSHOP_") })
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if len(stdout) == 0 {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}

	results := make(map[string]*result)
	events := json.NewDecoder(bytes.NewReader(stdout))
	for {
		var e struct{ Action, Package, ImportPath, Test, Output, FailedBuild string }
		if err := events.Decode(&e); err == io.EOF {
			return results
		} else if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
		}
		name := e.Package + e.ImportPath // one of them: ImportPath when it is about building
		r := results[name]
		if r == nil {
			r = &result{action: make(map[string]string), output: make(map[string]string)}
			results[name] = r
		}
		switch e.Action {
		case "pass", "fail", "skip":
			r.action[e.Test] = e.Action
			r.failedBuild = e.FailedBuild
		case "output", "build-output":
			for test := e.Test; ; {
				r.output[test] += e.Output
				slash := strings.LastIndex(test, "/")
				if slash < 0 {
					break
				}
				test = test[:slash]
			}
		}
	}
}
