package runner

import (
	"os"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/internal/starters"
)

func TestCarryChangesNothingThatDoesNotFit(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	carry := func(code int, args ...string) string {
		t.Helper()
		cmd := s.command(append([]string{"carry"}, args...)...)
		output, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("carry %q ends with exit code %d, want %d:\n%s", args, got, code, output)
		}
		return string(output)
	}
	step3 := func() map[string]string {
		t.Helper()
		files, err := starters.Read(s.root + "/steps/03-hub")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	before := step3()
	unchanged := func(after, says string) {
		t.Helper()
		if !strings.Contains(after, says) {
			t.Errorf("no %q in\n%s", says, after)
		}
		for name, text := range step3() {
			if before[name] != text {
				t.Errorf("%s has changed", name)
			}
		}
	}

	unchanged(carry(1, "3"), "there is no work of yours to carry")
	s.solve(2)
	unchanged(carry(1, "3"), "your step 2 is as the solution")

	// Code that does not build in step 3 is found before anything is written.
	s.edit(2, "client.go", "type Message struct {", "// NewHub is mine.\nfunc NewHub() int { return 0 }\n\n// Message is one.\ntype Message struct {")
	unchanged(carry(1, "-yes", "3"), "NewHub redeclared in this block")

	// A line that both have changed.
	s.solve(2)
	s.edit(2, "server.go", "	s := &Server{cfg: cfg}\n", "	s := new(Server)\n	s.cfg = cfg\n")
	unchanged(carry(1, "-yes", "3"), "<<<<<<< yours\n	s := new(Server)\n")
	if said := carry(0, "-yes", "-by-hand", "3"); !strings.Contains(said, "steps/03-hub now has your server.go") {
		t.Errorf("carry -by-hand says\n%s", said)
	}
	s.grep(3, "server.go", "<<<<<<< yours\n	s := new(Server)\n")
	s.grep(3, "server.go", "TODO(3.2)")
	carry(1, "-yes", "3") // there is work in it now

	s.start("reset", "3").end(t, 0)

	// By hand, what the compiler says is told.
	s.solve(2)
	s.edit(2, "client.go", "type Message struct {", "func NewHub() int { return 0 }\n\ntype Message struct {")
	if said := carry(0, "-yes", "-by-hand", "3"); !strings.Contains(said, "It does not build yet:\n\n") || !strings.Contains(said, "NewHub redeclared") || strings.Contains(said, "<<<<<<<") {
		t.Errorf("carry -by-hand says, of what does not build,\n%s", said)
	}
	s.start("reset", "3").end(t, 0)

	// A file that has the name of one in the starter.
	s.solve(2)
	move(t, s.root+"/steps/02-pumps/client.go", s.root+"/steps/02-pumps/hub.go")
	unchanged(carry(1, "-yes", "3"), "step 3 brings a hub.go of its own. Give yours another name, and carry again")

	// One that has gone, which the next step changes.
	move(t, s.root+"/steps/02-pumps/hub.go", s.root+"/steps/02-pumps/peer.go")
	unchanged(carry(1, "-yes", "3"), "client.go: you have no such file any more, and step 3 changes it.")

	// And one that has another name, which the next step does not change.
	s.solve(4)
	move(t, s.root+"/steps/04-broadcast/hub.go", s.root+"/steps/04-broadcast/everyone.go")
	carry(0, "-yes", "5")
	if files, err := starters.Read(s.root + "/steps/05-keepalive"); err != nil || files["hub.go"] != "" || files["everyone.go"] == "" {
		t.Errorf("step 5 has a hub.go: %t, an everyone.go: %t (%v); want the second alone", files["hub.go"] != "", files["everyone.go"] != "", err)
	}

	// Without the solution nobody knows where the learner's files began.
	move(t, s.root+"/solutions/02-pumps", s.root+"/solutions/gone")
	unchanged(carry(1, "-yes", "3"), "solutions/02-pumps is not there")
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
