package gates

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// A number beside the name of a constant: `pongWait` (60 s), 54 seconds
// (`pingPeriod`), the 2 seconds of `closeWait`.
var (
	numberBehind = regexp.MustCompile("`(\\w+)` \\((\\d+) (?:s|seconds|KiB|messages)\\)")
	numberBefore = regexp.MustCompile("(\\d+) (?:s|seconds|KiB|messages) (?:of |\\()`(\\w+)`")
)

// What the pages say of a constant of the finished server is its value.
func TestNumbersAreThoseOfTheCode(t *testing.T) {
	values := constants(t, "solutions/08-limits")
	n := 0
	for _, page := range pages(t) {
		text := read(t, page)
		check := func(sentence, said, constant string) {
			n++
			switch value := values[constant]; value {
			case said:
			case "":
				t.Errorf("%s: %q, but solutions/08-limits has no constant %s. Correct it.", page, sentence, constant)
			default:
				t.Errorf("%s: %q, but %s is %s in solutions/08-limits. Correct one of them.", page, sentence, constant, value)
			}
		}
		for _, m := range numberBehind.FindAllStringSubmatch(text, -1) {
			check(m[0], m[2], m[1])
		}
		for _, m := range numberBefore.FindAllStringSubmatch(text, -1) {
			check(m[0], m[1], m[2])
		}
	}
	if n == 0 {
		t.Error("no page says a number beside the name of a constant.")
	}
	t.Logf("numbers: %d compared with the code", n)
}

// constants returns the numbers that a folder declares as constants, or sets
// fields to, as prose has them: seconds, KiB if they are that large, or just the number.
func constants(t *testing.T, folder string) map[string]string {
	t.Helper()
	units := strings.NewReplacer("time.Second", "1", "time.Minute", "60")
	all := make(map[string]string)
	for _, name := range goFiles(t, folder) {
		file, err := parser.ParseFile(token.NewFileSet(), name, read(t, folder+"/"+name), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for node := range ast.Preorder(file) {
			var name, expr ast.Expr
			switch n := node.(type) {
			case *ast.ValueSpec:
				if len(n.Values) != 1 {
					continue
				}
				name, expr = n.Names[0], n.Values[0]
			case *ast.KeyValueExpr: // a field of DefaultLimits
				name, expr = n.Key, n.Value
			default:
				continue
			}
			value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, units.Replace(types.ExprString(expr)))
			if err != nil || value.Value == nil {
				continue // not a constant, or made of others
			}
			n, err := strconv.Atoi(value.Value.String())
			switch {
			case err != nil:
			case n >= 1024:
				all[types.ExprString(name)] = fmt.Sprint(n / 1024)
			default:
				all[types.ExprString(name)] = fmt.Sprint(n)
			}
		}
	}
	return all
}

var (
	quotedPromise = regexp.MustCompile(`"(\d\.\d [^"\n]*)"`)
	promiseCell   = regexp.MustCompile(`\| (\d\.\d(?:, \d\.\d)*) \|(.*)\|\n`)
	identifier    = regexp.MustCompile("`([A-Za-z]\\w+)`")
)

// A promise that a page quotes with its number is one of the contract. In the
// table of the article's points each promise has a task, and the code that is
// named beside it is in the finished server.
func TestPromisesAreThoseOfTheContract(t *testing.T) {
	names, tasks := make(map[string]bool), make(map[string]bool)
	for n := range contract.Steps {
		for _, p := range contract.Promises(n + 1) {
			names[p.String()], tasks[p.Task] = true, true
		}
	}
	var code strings.Builder
	for _, name := range goFiles(t, "solutions/08-limits") {
		code.WriteString(read(t, "solutions/08-limits/"+name))
	}
	quotes, cells := 0, 0
	for _, page := range pages(t) {
		text := read(t, page)
		for _, m := range quotedPromise.FindAllStringSubmatch(text, -1) {
			quotes++
			if !names[m[1]] {
				t.Errorf("%s quotes the promise %q, which is none of the contract. Copy its name from steps/contract.", page, m[1])
			}
		}
		for _, m := range promiseCell.FindAllStringSubmatch(text, -1) {
			cells++
			for task := range strings.SplitSeq(m[1], ", ") {
				if !tasks[task] {
					t.Errorf("%s: no promise belongs to task %s. Correct the line %s", page, task, m[0])
				}
			}
			for _, word := range identifier.FindAllStringSubmatch(m[2], -1) {
				if !regexp.MustCompile(`\b` + word[1] + `\b`).MatchString(code.String()) {
					t.Errorf("%s: nothing in solutions/08-limits is called %s. Correct the line %s", page, word[1], m[0])
				}
			}
		}
	}
	if quotes == 0 || cells == 0 {
		t.Errorf("%d quotes and %d lines of a table were found, and there should be some of each.", quotes, cells)
	}
	t.Logf("promises: %d quoted, %d lines of a table", quotes, cells)
}

// The table of flags is what the finished server prints of them.
func TestFlagsAreThoseOfTheServer(t *testing.T) {
	const page = "docs/architecture.md"
	said := make(map[string]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `-([\\w-]+)` \\|([^|]*)\\|").FindAllStringSubmatch(read(t, page), -1) {
		said[m[1]] = strings.Trim(strings.TrimPrefix(m[2], " off"), "` ")
	}
	for _, name := range goFiles(t, "solutions/08-limits") {
		read(t, "solutions/08-limits/"+name) // go test's cache does not see what go run reads
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./solutions/08-limits", "-h")
	cmd.Dir = root
	printed, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, printed)
	}
	is := make(map[string]string)
	name := ""
	for line := range strings.Lines(string(printed)) {
		if m := regexp.MustCompile(`^  -([\w-]+)`).FindStringSubmatch(line); m != nil {
			name = m[1]
			is[name] = ""
		}
		if m := regexp.MustCompile(`\(default (.*)\)`).FindStringSubmatch(line); m != nil {
			is[name] = strings.Trim(m[1], `"`)
		}
	}
	if !maps.Equal(said, is) {
		t.Errorf("%s has the flags and defaults %v, and the server in solutions/08-limits %v. Correct the table.", page, said, is)
	}
	if len(is) == 0 {
		t.Error("solutions/08-limits -h prints no flag.")
	}
}
