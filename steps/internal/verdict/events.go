package verdict

import (
	"encoding/json"
	"io"
	"strings"
)

// result is what the tests of one package have said.
type result struct {
	ended  map[string]string // "pass", "fail" or "skip" of each test; of the package itself under ""
	output map[string]string // of each test, without that of its subtests
	build  string            // what the compiler or go vet says, if that ended it
}

// results are the results of packages by import path.
type results map[string]*result

// event is a line of go test -json; see "go doc test2json" and "go help buildjson".
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string
}

// read reads the output of go test -json. It calls ended, which may be nil, for
// each test that ends. For each test program that starts it calls started, and when
// its first test begins, what that has returned.
func (all results) read(r io.Reader, ended func(test string), started func() (begun func() bool)) error {
	begun := make(map[string]func() bool) // by package
	build := make(map[string]string)      // by the import path of what was built
	for lines := json.NewDecoder(r); ; {
		var e event
		if err := lines.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if e.Action == "build-output" {
			build[e.ImportPath] += e.Output
			continue
		}
		if e.Package == "" {
			continue
		}
		p := all[e.Package]
		if p == nil {
			p = &result{ended: make(map[string]string), output: make(map[string]string)}
			all[e.Package] = p
		}
		switch e.Action {
		case "start":
			begun[e.Package] = started()
		case "run":
			if f := begun[e.Package]; f != nil {
				f()
			}
		case "output":
			p.output[e.Test] += e.Output
		case "pass", "fail", "skip":
			p.ended[e.Test] = e.Action
			if e.FailedBuild != "" {
				p.build = CompilerSays(build[e.FailedBuild])
			}
			if ended != nil && e.Test != "" {
				ended(e.Test)
			}
		}
	}
}

// CompilerSays returns the messages of a compiler without the line that names the
// package.
func CompilerSays(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "FAIL") {
			b.WriteString(line)
		}
	}
	if said := strings.TrimSpace(b.String()); said != "" {
		return said
	}
	return "it does not build."
}
