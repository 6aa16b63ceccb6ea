package wstest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// About says which promise a scenario is about.
type About struct {
	Promise string // "2.2 a silent peer is gone after 60 s"
	Cause   string // what usually breaks it
	Read    string // where to read: a file and an anchor
	Step    int    // that is being done, if the promise is one of an earlier step; else 0
	Panics  bool   // the scenarios let the server panic: Cause is about a crash, too
	Lax     bool   // what a scenario leaves behind does not matter: another promise is about that
}

// brokenDown returns what a failure is about when the server has crashed or hangs:
// that has a cause of its own. With also, what usually breaks the promise may be
// the cause as well, unless the promise is one of an earlier step.
func (a About) brokenDown(cause string, also bool) About {
	switch {
	case a.Step != 0, !also:
		a.Cause = cause
	case cause != "":
		a.Cause = cause + "\n          Or: " + a.Cause
	}
	return a
}

// Story is what has happened in a scenario, so that a failure can tell it.
type Story struct {
	about  About
	report func(string)  // takes the failure and does not return
	settle func()        // waits until all that can happen has happened
	began  time.Time     // zero over a real network, whose times mean nothing
	aside  func() string // what else is worth telling with a failure; may be nil

	mu    sync.Mutex // guards lines
	lines []string
}

// Did adds an event to the story.
func (s *Story) Did(format string, args ...any) {
	line := untimed + fmt.Sprintf(format, args...)
	if !s.began.IsZero() {
		line = fmt.Sprintf("%7s  %s", time.Since(s.began).Round(time.Millisecond), fmt.Sprintf(format, args...))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	noteForParent(line)
}

// Fail ends the scenario: saw says what the server did, in a sentence.
func (s *Story) Fail(saw string, args ...any) {
	s.report(s.tell(s.about, fmt.Sprintf(saw, args...)))
	panic("unreachable: report does not return")
}

// FailBecause is Fail with a cause of its own.
func (s *Story) FailBecause(cause, saw string, args ...any) {
	s.about.Cause = cause
	s.Fail(saw, args...)
}

// giveUp ends the process with a failure, in a scenario that will not end.
func (s *Story) giveUp(saw string) { s.giveUpAbout(s.about, saw) }

// brokenDown is giveUp for a server that hangs.
func (s *Story) brokenDown(cause string, also bool, saw string) {
	s.giveUpAbout(s.about.brokenDown(cause, also), saw)
}

func (s *Story) giveUpAbout(about About, saw string) {
	markStuck()
	report := s.tell(about, saw)
	if !sendReport(report) {
		fmt.Fprintln(os.Stderr, report)
	}
	os.Exit(1)
}

// tell returns the text of a failure.
func (s *Story) tell(about About, saw string) string {
	if s.aside != nil {
		saw += s.aside()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return about.tell(s.lines, saw)
}

// untimed stands in a story in place of the time.
const untimed = "         "

// maxStory is how many events a failure tells, the last ones.
const maxStory = 12

func (a About) tell(lines []string, saw string) string {
	lines = folded(lines)
	var b strings.Builder
	if a.Step != 0 {
		fmt.Fprintf(&b, "(An earlier step's promise. If one of step %d's own is broken, look at that first: it knows more of the cause.)\n", a.Step)
	}
	switch {
	case len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], untimed):
		b.WriteString("What happened:\n")
	case len(lines) > 0:
		b.WriteString("What happened (in the time of the test, not yours):\n")
	}
	if skipped := len(lines) - maxStory; skipped > 0 {
		fmt.Fprintf(&b, "         (%d earlier events)\n", skipped)
		lines = lines[skipped:]
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "Seen:     %s\n", strings.ReplaceAll(saw, "\n", "\n          "))
	fmt.Fprintf(&b, "Promised: %s.\n", a.Promise)
	if a.Cause != "" {
		fmt.Fprintf(&b, "Usually:  %s\n", a.Cause)
	}
	fmt.Fprintf(&b, "Read:     %s", a.Read)
	return strings.Map(printable, b.String())
}

// folded puts a count in the place of lines that say the same, one after the other.
func folded(lines []string) []string {
	var out []string
	for i := 0; i < len(lines); {
		n := 1
		for i+n < len(lines) && lines[i+n] == lines[i] {
			n++
		}
		out = append(out, lines[i])
		if n > 1 {
			out[len(out)-1] += fmt.Sprintf(" (%d times)", n)
		}
		i += n
	}
	return out
}

// printable replaces what would move or paint in a terminal. A server may print
// anything.
func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' {
		return unicode.ReplacementChar
	}
	return r
}
