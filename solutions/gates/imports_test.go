package gates

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// direct are the modules that the workshop is built on, sorted.
var direct = []string{"github.com/google/uuid", "github.com/gorilla/websocket", "golang.org/x/time"}

var program = regexp.MustCompile(`^(steps|solutions)/\d\d-`)

// Steps and solutions import the standard library, the three modules and static,
// their tests the contracts too, and nothing imports them.
func TestImportsStayWithinTheWorkshop(t *testing.T) {
	learners := begunSteps(t)
	walk(t, ".", func(name string) {
		ofLearner := slices.ContainsFunc(learners, func(folder string) bool { return strings.HasPrefix(name, "steps/"+folder+"/") })
		if ofLearner || !strings.HasSuffix(name, ".go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, read(t, name), parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			own, isOwn := strings.CutPrefix(path, module+"/")
			if isOwn && program.MatchString(own) {
				t.Errorf("%s imports %s. Nothing may import a step or a solution: each is a program of its own.", name, path)
				continue
			}
			switch first, _, _ := strings.Cut(path, "/"); {
			case !program.MatchString(name):
			case !strings.Contains(first, "."): // the standard library
			case slices.ContainsFunc(direct, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }):
			case own == "static":
			case own == "steps/contract" && strings.HasSuffix(name, "_test.go"):
			default:
				t.Errorf("%s imports %s. Steps and solutions import only the standard library, %s and %s/static; their tests also %s/steps/contract. Do without it.",
					name, path, strings.Join(direct, ", "), module, module)
			}
		}
	})
}

// go.mod requires the three modules and no other directly.
func TestGoModRequiresThreeModules(t *testing.T) {
	if begun := begunSteps(t); len(begun) > 0 {
		t.Skipf("steps/%s has been begun, and may need another module", begun[0])
	}
	read(t, "go.mod") // so that a change of it counts in go test's cache
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), goCommand, "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	var mod struct {
		Module  struct{ Path string }
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Module.Path != module {
		t.Errorf("the module is %s and not %s. Change the constant module in solutions/gates/repo_test.go.", mod.Module.Path, module)
	}
	var got []string
	for _, r := range mod.Require {
		if !r.Indirect {
			got = append(got, r.Path)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, direct) {
		t.Errorf("go.mod directly requires %s, and should require %s. What needs another module gets a go.mod of its own.", strings.Join(got, ", "), strings.Join(direct, ", "))
	}
}
