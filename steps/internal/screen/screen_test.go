package screen

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/wsworkshop/steps/internal/verdict"
	"example.com/wsworkshop/steps/internal/workshop"
)

var update = flag.Bool("update", false, "write what is drawn into testdata")

// golden compares a drawing with the file that keeps it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	got = strings.ReplaceAll(got, "\x1b", `\e`)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(string(want), "\r\n", "\n"); got != text {
		t.Errorf("%s has changed. If it is better now, take it over with -update.\nGot:\n%s\nWant:\n%s", path, got, text)
	}
}

// step returns the verdict on step n, in which its own three promises have these
// outcomes: kept, broken, not reached, skipped.
func step(n int, outcomes string) verdict.Verdict {
	v := verdict.Verdict{Step: workshop.Step{Number: n, Name: map[int]string{1: "01-one", 2: "02-two", 8: "08-eight", 9: "09-nine"}[n], Title: "A title", Time: fmt.Sprintf("%d0 to 100", n)}}
	for from := 1; from <= n; from++ {
		for i := range 3 {
			p := verdict.Promise{Name: fmt.Sprintf("%d.%d a promise of step %[1]d", from, i+1), Step: from, Task: fmt.Sprintf("%d.%d", from, i+1), Outcome: verdict.Kept}
			if from == n {
				p.Outcome = map[byte]verdict.Outcome{'k': verdict.Kept, 'b': verdict.Broken, 'n': verdict.NotReached, 's': verdict.Skipped}[outcomes[i]]
			}
			if p.Outcome == verdict.Broken {
				p.Message = "What happened (in the time of the test, not yours):\n     0s  ann connects\n" +
					"Seen:     ann got nothing, although what bob had sent was for everybody who is connected, and so for her too.\n" +
					"Promised: " + p.Name + ".\nRead:     steps/a/README.md#task-1.1"
			}
			if p.Outcome == verdict.Skipped {
				p.Message = "this system has no signals"
			}
			v.Promises = append(v.Promises, p)
		}
	}
	return v
}

func TestMaps(t *testing.T) {
	earlier := step(2, "kkk")
	earlier.Promises[0].Outcome = verdict.Broken
	trouble := step(1, "nnn")
	trouble.Trouble = "steps/01-one/server.go:9:1: syntax error"
	for name, all := range map[string][]verdict.Verdict{
		"map-fresh":   {step(1, "bbb"), step(2, "bbb")},
		"map-begun":   {step(1, "kbb"), step(2, "bbb")},
		"map-second":  {step(1, "kkk"), step(2, "kbb")},
		"map-earlier": {step(1, "kkk"), earlier},
		"map-trouble": {trouble, step(2, "bbb")},
		"map-done":    {step(1, "kkk"), step(2, "kkk")},
		"map-part-2":  {step(8, "kkk"), step(9, "bbb")},
	} {
		golden(t, name, Screen{}.Map(all))
	}
	golden(t, "map-colour", Screen{Colour: true, Width: 60}.Map([]verdict.Verdict{step(1, "kkk"), step(2, "kbb")}))
}

func TestTheMapOfTheRealStepsFitsIn80Columns(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := workshop.Root(here)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := workshop.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	var all []verdict.Verdict
	for _, s := range steps {
		all = append(all, verdict.Verdict{Step: s, Promises: make([]verdict.Promise, len(s.Promises))})
	}
	table, _, _ := strings.Cut(Screen{}.Map(all), "\nYou are")
	for line := range strings.Lines(table) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns:\n%s", n, line)
		}
	}
}

func TestReports(t *testing.T) {
	earlier, onlyEarlier := step(2, "bbb"), step(2, "kkk")
	earlier.Promises[0].Outcome, onlyEarlier.Promises[0].Outcome = verdict.Broken, verdict.Broken
	hung := step(2, "bnn")
	hung.Notes = []string{"The server has hung in 2 promises, so the ones after them were not tried."}
	trouble := step(1, "nnn")
	trouble.Trouble = "steps/01-one/server.go:9:1: syntax error"
	for name, v := range map[string]verdict.Verdict{
		"report-broken":       step(2, "kbb"),
		"report-earlier":      earlier,
		"report-only-earlier": onlyEarlier,
		"report-hung":         hung,
		"report-skipped":      step(2, "ksk"),
		"report-trouble":      trouble,
		"report-whole":        step(1, "kkk"),
		"report-part-1":       step(8, "kkk"),
	} {
		golden(t, name, Screen{}.Report(v, false))
	}
	golden(t, "report-all", Screen{}.Report(step(2, "kbb"), true))
	golden(t, "report-narrow", Screen{Colour: true, Width: 60}.Report(step(2, "kbb"), false))
}

func TestABarFillsTheMoreIsDone(t *testing.T) {
	s := Screen{Width: 80}
	for done, want := range map[int]string{0: strings.Repeat(".", 30), 5: strings.Repeat("#", 15) + strings.Repeat(".", 15), 10: strings.Repeat("#", 30)} {
		if got := s.Bar(done, 10, ", compiling"); got != fmt.Sprintf("\r\x1b[K%s %d of 10, compiling", want, done) {
			t.Errorf("Bar(%d, 10) = %q", done, got)
		}
	}
	if got := (Screen{}).Bar(1, 2, ""); got != "" {
		t.Errorf("without a terminal the bar is %q", got)
	}
}

func TestProgressReplacesTheLineBefore(t *testing.T) {
	if got := (Screen{Width: 80}).Progress("3 s"); got != "\r\x1b[K3 s" {
		t.Errorf("on a terminal it is %q", got)
	}
	if got := (Screen{}).Progress("3 s"); got != "" {
		t.Errorf("without a terminal it is %q", got)
	}
}

func TestLongLinesAreBrokenBelowTheirText(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"short\n", "short\n"},
		{"Seen:     one two three four\n", "Seen:     one two\n          three four\n"},
		{"     0s  one two three four", "     0s  one two\n         three four"},
		{"one two three four five six", "one two three four\nfive six"},
		{"alongwordthatfitsnowhere and another one", "alongwordthatfitsnowhere\nand another one"},
		{"größer schöner weiter", "größer schöner\nweiter"},
	} {
		if got := (Screen{Width: 20}).Wrap(test.text); got != test.want {
			t.Errorf("Wrap(%q)\n= %q, want\n  %q", test.text, got, test.want)
		}
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s := Of(f); s.Colour || s.Width != 0 {
		t.Errorf("its screen is %+v", s)
	}
}
