package runner

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/internal/workshop"
)

func TestHelpFitsIn80ColumnsAndHasExamples(t *testing.T) {
	all := [][]string{nil}
	for _, c := range commands {
		all = append(all, []string{c.name})
	}
	for _, args := range all {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		a := &app{Streams: Streams{Out: out}}
		if err := a.help(t.Context(), args); err != nil {
			t.Fatal(err)
		}
		said, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(said)) {
			if len(line) > 81 {
				t.Errorf("help %s has %d columns: %s", args, len(line)-1, line)
			}
		}
		if args != nil && !strings.Contains(string(said), "\n  go run ./steps "+args[0]) {
			t.Errorf("help %s has no example:\n%s", args, said)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	a := &app{steps: []workshop.Step{{Number: 1, Tasks: []workshop.Task{{Number: "1.2"}}}}}
	for typed, meant := range map[string]string{
		"wach": "watch", "tets": "test", "doc": "doctor", "what-change": "what-changed", "Hint": "hint",
		"1": "test 1", "1.2": "hint 1.2", "2": "", "deploy": "",
	} {
		_, err := a.command(typed)
		if err == nil {
			t.Errorf("there is a command %q", typed)
			continue
		}
		_, says, _ := strings.Cut(err.Error(), " Did you mean: go run ./steps ")
		if got, _, _ := strings.Cut(says, "\n"); got != meant {
			t.Errorf("for %q it says %q, want %q", typed, got, meant)
		}
	}
}

// -h stands for help, but behind serve and a step it is for the server.
func TestDashHIsHelp(t *testing.T) {
	was := commands
	defer func() { commands = was }()
	var called string
	commands = nil
	for _, c := range was {
		c.run = func(_ *app, _ context.Context, args []string) error {
			called = strings.Join(append([]string{c.name}, args...), " ")
			return nil
		}
		commands = append(commands, c)
	}
	for typed, want := range map[string]string{
		"": "status", "-json": "status -json", "-h": "help", "carry -h": "help carry", "test --help 3": "help test", "help hint": "help hint",
		"serve -h": "help serve", "serve 1 -h": "serve 1 -h",
	} {
		a := &app{}
		if err := a.run(t.Context(), strings.Fields(typed)); err != nil || called != want {
			t.Errorf("%q calls %q (%v), want %q", typed, called, err, want)
		}
	}
}
