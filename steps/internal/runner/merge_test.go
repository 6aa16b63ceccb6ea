package runner

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/starters"
)

// Many a learner calls the connection ws and a client cl. The TODOs of a starter
// stand beside such lines.
func TestStubsFitIntoCodeWithOtherNames(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git")
	}
	conn, client := regexp.MustCompile(`\bconn\b`), regexp.MustCompile(`\bc\b`)
	for n := 3; n <= 6; n++ { // others also change code
		before, step := contract.Folders[n-2], contract.Folders[n-1]
		base, err := starters.Read(filepath.Join("../../../solutions", before))
		if err != nil {
			t.Fatal(err)
		}
		starter, err := starters.Files(step)
		if err != nil {
			t.Fatal(err)
		}
		todo := fmt.Sprintf("TODO(%d.", n)
		for name, solution := range base {
			if name == before[:2]+"_test.go" {
				continue
			}
			var mine strings.Builder
			for line := range strings.Lines(solution) {
				code, _, _ := strings.Cut(line, "//")
				mine.WriteString(client.ReplaceAllString(conn.ReplaceAllString(code, "ws"), "cl") + line[len(code):])
			}
			got, conflicts, err := mergeFile(t.Context(), git, mine.String(), solution, starter[name])
			if err != nil {
				t.Fatal(err)
			}
			if len(conflicts) > 0 {
				t.Errorf("%s/%s: %s", step, name, strings.Join(conflicts, "\n"))
			}
			for line := range strings.Lines(starter[name]) {
				comment := strings.TrimSpace(line)
				if strings.HasPrefix(comment, "//") && !strings.Contains(solution, comment) && !strings.Contains(got, comment) {
					t.Errorf("%s/%s has lost %s", step, name, comment)
				}
			}
			if has, want := strings.Count(got, todo), strings.Count(starter[name], todo); has != want {
				t.Errorf("%s/%s has %d of %d TODOs:\n%s", step, name, has, want, got)
			}
		}
	}
}

func TestSettle(t *testing.T) {
	conflict := func(yours, before, starter string) string {
		return "<<<<<<< yours\n" + yours + "||||||| before\n" + before + "=======\n" + starter + ">>>>>>> starter\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "a\nb\n", "a\nb\n"},
		{"a TODO of two lines", "a\n" + conflict("mine()\n", "theirs()\n", "// TODO(2.1): do this\n// and that\ntheirs()\n") + "b\n",
			"a\n// TODO(2.1): do this\n// and that\nmine()\nb\n"},
		{"a TODO behind a line", conflict("<-mine\n", "<-theirs\n", "<-theirs // TODO(6.2): no longer\n"), "// TODO(6.2): no longer\n<-mine\n"},
		{"a field", conflict("ws *Conn\n", "conn *Conn // reads\n", "id   string\nconn *Conn // reads\n"), "id   string\nws *Conn\n"},
		{"a method with comments", conflict("mine()\n", "theirs()\n", "theirs()\n}\n\n// f is new.\n//\n// TODO(3.1): write it\nfunc f() {\n"),
			"mine()\n}\n\n// f is new.\n//\n// TODO(3.1): write it\nfunc f() {\n"},
		{"a comment that is the starter's", conflict("// old\nmine()\n", "// old\ntheirs()\n", "// new\ntheirs()\n"), "// new\nmine()\n"},
		{"a comment of your own", conflict("// my\nmine()\n", "// old\ntheirs()\n", "// new\n// TODO(3.1): x\ntheirs()\n"), "// TODO(3.1): x\n// my\nmine()\n"},
		{"more lines of your own", conflict("mine()\nmine()\n", "theirs()\n", "theirs()\n// new\nnew()\n"), "// new\nnew()\nmine()\nmine()\n"},
		{"another comment", conflict("mine()\n", "// old\ntheirs()\n", "// new\ntheirs()\n"), "mine()\n"},
	} {
		if got, conflicts := settle(c.text); got != c.want || len(conflicts) > 0 {
			t.Errorf("%s: got %q and %d conflicts, want %q", c.name, got, len(conflicts), c.want)
		}
	}

	lost := conflict("mine(1)\n", "theirs(1)\n", "theirs(2)\n")
	if got, conflicts := settle("a\n" + lost + "b\n"); len(conflicts) != 1 || !strings.Contains(got, "<<<<<<< yours\nmine(1)\n") || !strings.HasSuffix(got, ">>>>>>> the starter\nb\n") {
		t.Errorf("code that the starter has changed: got %q and %q", got, conflicts)
	}
}
