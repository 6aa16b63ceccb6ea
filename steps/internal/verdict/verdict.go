// Package verdict finds out which promises the steps keep, by building and running
// their tests. Nothing is remembered from one time to the next but what the go
// command caches.
package verdict

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/workshop"
)

// Outcome is how the test of a promise has ended.
type Outcome string

const (
	Kept       Outcome = "kept"
	Broken     Outcome = "broken"
	NotReached Outcome = "not reached" // another failure ended the tests before
	Skipped    Outcome = "skipped"     // it cannot be tried on this system
)

// Promise is a promise, and whether the step keeps it.
type Promise struct {
	Name    string  `json:"promise"`
	Step    int     `json:"step"` // that made it
	Task    string  `json:"task"`
	Outcome Outcome `json:"outcome"`
	Message string  `json:"message,omitempty"` // of a broken one: what its test says; of a skipped one: why
}

// Verdict is which promises a step keeps.
type Verdict struct {
	Step     workshop.Step
	Promises []Promise // of this step and those before it, in the order of the lessons
	Trouble  string    // why no promise was tried: mostly what the compiler says
	Built    bool      // with Trouble: it does build, and ends before the tests begin
	Notes    []string  // what the tests say besides
	Race     bool      // the race detector has watched
	NoRace   string    // why it could not
}

// Own returns how many promises the step adds, and how many of them it keeps. Those
// that cannot be tried do not count.
func (v Verdict) Own() (kept, promised int) {
	for _, p := range v.Promises {
		if p.Step != v.Step.Number || p.Outcome == Skipped {
			continue
		}
		promised++
		if p.Outcome == Kept {
			kept++
		}
	}
	return kept, promised
}

// Earlier returns how many promises of earlier steps the step breaks.
func (v Verdict) Earlier() (broken int) {
	for _, p := range v.Promises {
		if p.Step < v.Step.Number && p.Outcome == Broken {
			broken++
		}
	}
	return broken
}

// Whole reports whether the step keeps everything that was promised so far.
func (v Verdict) Whole() bool {
	return v.Trouble == "" && len(v.Promises) > 0 && !slices.ContainsFunc(v.Promises, func(p Promise) bool {
		return p.Outcome != Kept && p.Outcome != Skipped
	})
}

// FirstBroken returns the first promise that is broken, if one is: of those that the
// step adds, and only if it keeps these of the others. A mistake in what is being done
// often breaks earlier promises with it, and their tests know less of its cause.
func (v Verdict) FirstBroken() (first Promise, broken bool) {
	for _, p := range v.Promises {
		if p.Outcome == Broken && (!broken || p.Step == v.Step.Number && first.Step < p.Step) {
			first, broken = p, true
		}
	}
	return first, broken
}

// newVerdict returns the verdict of a step whose promises from those of step
// first on have not been tried yet.
func newVerdict(s workshop.Step, first int) Verdict {
	v := Verdict{Step: s}
	for n := first; n <= s.Number; n++ {
		for _, p := range contract.Promises(n) {
			v.Promises = append(v.Promises, Promise{Name: p.String(), Step: n, Task: p.Task, Outcome: NotReached})
		}
	}
	return v
}

// server is the test that holds all promises.
const server = "TestServer"

// testName returns the name of the test of a promise.
func testName(promise string) string {
	return server + "/" + strings.ReplaceAll(promise, " ", "_")
}

var noise = regexp.MustCompile(`^\s*(=== |--- (PASS|FAIL|SKIP): |FAIL(\t|$)|exit status \d+$)`)

// judge fills in what the tests have said of the step.
func (v *Verdict) judge(r *result) {
	if r == nil {
		v.Trouble = "its tests did not run."
		return
	}
	if r.build != "" {
		v.Trouble = r.build
		return
	}
	if r.ended[server] == "" {
		v.Built = true
		v.Trouble = strings.TrimSpace("its test " + server + " did not run to its end.\n" + plain(r.output[""]) + plain(r.output[server]))
		return
	}
	if note := plain(r.output[server]); note != "" {
		v.Notes = append(v.Notes, place.ReplaceAllString(note, ""))
	}
	for i := range v.Promises {
		p := &v.Promises[i]
		switch test := testName(p.Name); r.ended[test] {
		case "pass":
			p.Outcome = Kept
		case "skip":
			p.Outcome = Skipped
			p.Message = place.ReplaceAllString(plain(r.output[test]), "")
		case "fail":
			p.Outcome = Broken
			p.Message = plain(r.output[test])
		}
	}
}

// place is where a test has logged a line, which is no place of the learner's.
var place = regexp.MustCompile(`(?m)^\w+\.go:\d+: `)

// plain returns what a test has printed, without what go test adds to it.
func plain(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if !noise.MatchString(line) {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	// The testing package indents.
	for len(lines) > 0 && all(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, " ") }) {
		if all(lines, func(l string) bool { return l == "" }) {
			return ""
		}
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], " ")
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func all(lines []string, is func(string) bool) bool {
	for _, l := range lines {
		if !is(l) {
			return false
		}
	}
	return true
}

// String says in a few words how the step stands.
func (v Verdict) String() string {
	switch {
	case v.Trouble != "" && v.Built:
		return "does not run"
	case v.Trouble != "":
		return "does not build"
	}
	kept, promised := v.Own()
	return fmt.Sprintf("%d of %d promises kept", kept, promised)
}
