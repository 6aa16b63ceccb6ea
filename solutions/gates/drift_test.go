package gates

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// changes are the declarations of the solution before that a step is about. All
// others are the same in its solution.
var changes = map[string]struct{ changed, removed string }{
	"02-pumps":     {changed: `(*Server).ServeHTTP`, removed: `echo`},
	"03-hub":       {changed: `(*Server).ServeHTTP (*Server).serve Client NewServer Server newClient newHTTPServer`},
	"04-broadcast": {changed: `(*Client).Send (*Client).readMessages (*Server).handle Message`},
	"05-keepalive": {changed: `(*Client).readMessages (*Client).writeMessages (*Client).writePump Client pongWait`},
	"06-shutdown":  {changed: `(*Client).hangUp (*Client).writeMessages (*Server).ServeHTTP Hub run`},
	"07-recover": {
		changed: `(*Client).finish (*Client).readMessages (*Client).readPump (*Client).writePump (*Server).ServeHTTP
			(*Server).Shutdown (*Server).handle Client Config Server closeStatus cutWait newClient`,
	},
	"08-limits": {
		changed: `(*Client).readMessages (*Server).ServeHTTP Client Config NewServer Server main newHTTPServer
			parseFlags run`,
	},
	"09-log": {
		changed: `(*Client).Send (*Client).flush (*Client).writeMessages (*Client).writePump (*Hub).Broadcast (*Server).ServeHTTP
			(*Server).handle (*wire).Write Client Hub NewHub closeStatus newClient sendQueueSize Message wire`,
	},
	"10-resume": {changed: `(*Client).flush (*Client).writeMessages (*Log).Append (*Log).End (*Server).ServeHTTP Client Log NewLog`},
}

// Between two solutions only the declarations change that the table names, and a
// starter consists of declarations of the solutions before and after it, and of
// declarations with a TODO.
func TestDeclarationsDoNotDrift(t *testing.T) {
	if *carry != "" {
		carryChanges(t, *carry, *from)
	}
	for folder := range changes {
		if !slices.Contains(contract.Folders[1:], folder) {
			t.Errorf("the table %q in solutions/gates/drift_test.go has %q, which is no step with one before it. Correct it.", "changes", folder)
		}
	}
	eachStep(t, func(t *testing.T, n int, folder string) {
		after := declarations(t, "solutions/"+folder)
		before := make(map[string]string)
		if n > 1 {
			previous := "solutions/" + contract.Folders[n-2]
			before = declarations(t, previous)
			checkTable(t, folder, before, after)
		}

		notBegun(t, folder)
		starter := declarations(t, "steps/"+folder)
		for _, name := range slices.Sorted(maps.Keys(starter)) {
			text := starter[name]
			switch {
			case text == before[name] || text == after[name]:
			case !strings.Contains(text, fmt.Sprintf("TODO(%d.", n)):
				t.Errorf("steps/%s: %s is neither as in the solution of this step nor as in the one before, and has no TODO(%d.k). Make it the same as one of them.\n%s",
					folder, name, n, difference(after[name], text))
			case before[name] == after[name]:
				t.Errorf("steps/%s: %s has a TODO, but its solution is the same as the one before. Take the TODO out, or add the work to the solution.", folder, name)
			default:
				for _, line := range strays(text, before[name]+after[name]) {
					t.Errorf("steps/%s: %s has the line\n\t%s\nwhich is neither in the solution of this step nor in the one before. Make it the same.", folder, name, line)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if starter[name] == "" {
				t.Errorf("steps/%s has no %s, which its solution has. Give it to the learner, with a TODO.", folder, name)
			}
		}
	})
}

// checkTable demands that exactly those declarations differ that the table names.
func checkTable(t *testing.T, folder string, before, after map[string]string) {
	var changed, removed []string
	for name, text := range after {
		if before[name] != "" && before[name] != text {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if after[name] == "" {
			removed = append(removed, name)
		}
	}
	table := changes[folder]
	for _, kind := range []struct {
		name     string
		is, said []string
	}{
		{"changed", changed, strings.Fields(table.changed)},
		{"removed", removed, strings.Fields(table.removed)},
	} {
		for _, name := range slices.Sorted(slices.Values(without(kind.is, kind.said))) {
			t.Errorf("%s is %s in solutions/%s, compared with the solution before. If the step is about it, say so in the table %q in solutions/gates/drift_test.go; if not, make both the same.\n%s",
				name, kind.name, folder, "changes", difference(before[name], after[name]))
		}
		for _, name := range without(kind.said, kind.is) {
			t.Errorf("%s is not %s in solutions/%s, but the table %q in solutions/gates/drift_test.go says so. Take it out there.", name, kind.name, folder, "changes")
		}
	}
}

// declarations returns the text of each declaration in a folder, but for imports
// and tests, by name: "Client", "(*Client).run". The text begins with the name of
// the file and includes the comments.
func declarations(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range goFiles(t, folder) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src := read(t, folder+"/"+name)
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, folder+"/"+name, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		text := func(from, to token.Pos) string { return src[fset.Position(from).Offset:fset.Position(to).Offset] }
		// put formats a declaration on its own: in a group its columns depend on its
		// neighbours.
		put := func(key, decl string) {
			formatted, err := format.Source([]byte(strings.TrimSpace(decl)))
			if err != nil {
				t.Fatalf("%s/%s: %s: %v", folder, name, key, err)
			}
			all[key] = "// in " + name + "\n" + string(formatted)
		}
		if file.Doc != nil {
			all["package"] += text(file.Doc.Pos(), file.Doc.End())
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				key := d.Name.Name
				if d.Recv != nil {
					receiver := d.Recv.List[0].Type
					if key = text(receiver.Pos(), receiver.End()) + "." + key; key[0] == '*' {
						key = strings.Replace("("+key, ".", ").", 1)
					}
				}
				put(key, doc(text, d.Doc)+text(d.Pos(), d.End()))
			case *ast.GenDecl:
				group := doc(text, d.Doc) // counts for the first of the group
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						put(s.Name.Name, group+doc(text, s.Doc)+"type "+text(s.Pos(), s.End())+" "+doc(text, s.Comment))
					case *ast.ValueSpec:
						var names []string
						for _, ident := range s.Names {
							names = append(names, ident.Name)
						}
						put(strings.Join(names, ","), group+doc(text, s.Doc)+d.Tok.String()+" "+text(s.Pos(), s.End())+" "+doc(text, s.Comment))
					}
					group = ""
				}
			}
		}
	}
	return all
}

// doc returns the text of a comment, as lines.
func doc(text func(from, to token.Pos) string, comment *ast.CommentGroup) string {
	if comment == nil {
		return ""
	}
	return text(comment.Pos(), comment.End()) + "\n"
}

var todo = regexp.MustCompile(`\s*// TODO.*`)

// strays returns the lines of a starter's declaration that are not in solutions:
// neither a TODO, which may have several lines, nor the return of a stub.
func strays(starter, solutions string) []string {
	known := make(map[string]bool)
	for line := range strings.Lines(solutions) {
		known[strings.Join(strings.Fields(line), " ")] = true
	}
	var stray []string
	inTODO := false
	for line := range strings.Lines(starter) {
		code := strings.Join(strings.Fields(todo.ReplaceAllString(line, "")), " ")
		inTODO = strings.Contains(line, "// TODO") || inTODO && strings.HasPrefix(code, "//")
		if !known[code] && code != "" && !inTODO && !strings.HasPrefix(code, "return ") {
			stray = append(stray, code)
		}
	}
	return stray
}

// difference shows the first line in which two texts differ, if there are two.
func difference(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return fmt.Sprintf("\t- %s\n\t+ %s", as[i], bs[i])
		}
	}
	return ""
}
