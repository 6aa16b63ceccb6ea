package screen

import (
	"fmt"
	"strings"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/verdict"
)

// Here returns the step where the learner is: the first that is not done, or the
// last.
func Here(all []verdict.Verdict) verdict.Verdict {
	for _, v := range all {
		if !v.Whole() {
			return v
		}
	}
	return all[len(all)-1]
}

// partOne is the last step of part one.
const partOne = 8

// Map draws all steps, where the learner is, and what is next.
func (s Screen) Map(all []verdict.Verdict) string {
	var b strings.Builder
	b.WriteString("\n" + s.paint(bold, s.Wrap(fmt.Sprintf("A real-time WebSocket server, in two parts: steps 1 to %d, and from %d on", partOne, partOne+1))) + "\n\n")
	b.WriteString(s.paint(faint, fmt.Sprintf("%40s%s", "", "working time")) + "\n")
	here := Here(all)
	for _, v := range all {
		mark, how := "  ", faint
		switch {
		case v.Whole():
			mark, how = "ok", green
		case v.Step.Number == here.Step.Number:
			mark, how = "=>", bold
		}
		line := fmt.Sprintf(" %s %2d  %-30s  %-13s  %s", mark, v.Step.Number, v.Step.Title, v.Step.Time+" min", standing(v))
		b.WriteString(s.paint(how, s.Wrap(line)) + "\n")
	}
	b.WriteString("\n" + s.Wrap(whereYouAre(here)) + "\n\n")
	return b.String() + s.next(here)
}

// standing says how a step stands.
func standing(v verdict.Verdict) string {
	said := v.String()
	if broken := v.Earlier(); broken > 0 {
		said += fmt.Sprintf(", and breaks %s of earlier steps", count(broken, "promise"))
	}
	return said
}

func whereYouAre(v verdict.Verdict) string {
	kept, _ := v.Own()
	n := v.Step.Number
	switch {
	case v.Whole():
		return "All promises are kept. What you have built stands in " + v.Step.Folder() + "."
	case v.Trouble != "":
		return fmt.Sprintf("You are at step %d. It %s:\n%s", n, v, v.Trouble)
	case v.Earlier() > 0:
		return fmt.Sprintf("You are at step %d. It breaks %s of earlier steps: look at these first.", n, count(v.Earlier(), "promise"))
	case n == 1 && kept == 0:
		return "You are at the beginning. Promises that are not kept are to be expected: the steps are not done yet, and their tests say what is missing."
	}
	where := fmt.Sprintf("You are at step %d.", n)
	if n > partOne {
		where = fmt.Sprintf("Part one is done: what you have built stands in steps/%s, and docs/after-the-workshop.md "+
			"says what to do with it. %s It belongs to part two.", contract.Folders[partOne-1], where)
	}
	return where
}

// next names what to do next.
func (s Screen) next(v verdict.Verdict) string {
	n := v.Step.Number
	if v.Whole() {
		return fmt.Sprintf("  go run ./steps diff %d      # your server beside the workshop's\n", n) +
			fmt.Sprintf("  go run ./steps serve %d     # your server at work\n", n)
	}
	return s.Wrap(fmt.Sprintf("Read %s, change the Go files beside it, and then:\n\n", v.Step.Lesson())) +
		"  go run ./steps test        # what is missing\n" +
		"  go run ./steps watch       # the same on every save\n"
}

// Report draws the verdict on one step, promise by promise. The first that is
// broken is told in full, and with all every one.
func (s Screen) Report(v verdict.Verdict, all bool) string {
	var b strings.Builder
	if v.Trouble != "" {
		fmt.Fprintf(&b, "%s\n\n%s\n\n", s.paint(red, fmt.Sprintf("It %s, so no promise was tried:", v)), s.Wrap(v.Trouble))
		if v.Built {
			return b.String() + s.Wrap("Look at what runs before the tests: init functions and package variables.\n")
		}
		return b.String() + s.Wrap("Correct the first line that is named, and run the tests again.\n")
	}
	first, broken := v.FirstBroken()
	with := 0 // promises of earlier steps that broke with one of this step
	shown := 0
	for _, p := range v.Promises {
		if p.Step < v.Step.Number && p.Outcome == verdict.Kept {
			continue
		}
		shown++
		if p.Step < first.Step && p.Outcome == verdict.Broken && !all {
			with++
			continue
		}
		b.WriteString(s.line(p, p.Outcome == verdict.Broken && p.Name != first.Name && !all))
		if p.Outcome == verdict.Broken && all {
			b.WriteString("\n" + s.message(p) + "\n")
		}
	}
	if with > 0 {
		b.WriteString(s.Wrap(fmt.Sprintf("  with it, %s of earlier steps broke: most likely the same cause (test -all shows them)\n", count(with, "promise"))))
	}
	if earlier := len(v.Promises) - shown; earlier > 0 {
		fmt.Fprintf(&b, "  and %s of earlier steps %s kept\n", count(earlier, "promise"), isAre(earlier))
	}
	for _, note := range v.Notes {
		b.WriteString("\n" + s.Wrap(note) + "\n")
	}
	if broken && !all {
		b.WriteString("\n" + s.paint(bold, s.Wrap("The first that is broken: "+first.Name)) + "\n\n" + s.message(first))
	}
	action, done := s.Wrap(action(v)), ""
	if v.Whole() {
		done, action, _ = strings.Cut(action, ".")
		done = s.paint(green, done+".")
	}
	return b.String() + "\n" + done + action
}

// line draws a promise, with the reason if it is skipped, and with why what was seen
// if it is broken.
func (s Screen) line(p verdict.Promise, why bool) string {
	mark, how, reason := "not reached", faint, ""
	switch p.Outcome {
	case verdict.Kept:
		mark, how = "kept", green
	case verdict.Broken:
		mark, how = "broken", red
		if why {
			reason = seen(p.Message)
		}
	case verdict.Skipped:
		mark, reason = "skipped", p.Message
	}
	line := s.Wrap(fmt.Sprintf("  %-11s  %s\n", mark, p.Name))
	line = strings.Replace(line, mark, s.paint(how, mark), 1)
	if reason != "" {
		line += s.paint(faint, s.Wrap("               "+reason+"\n"))
	}
	return line
}

// seen returns the first line of what a failure says was seen.
func seen(message string) string {
	_, saw, _ := strings.Cut(message, "Seen: ")
	saw, _, _ = strings.Cut(saw, "\n")
	return strings.TrimSpace(saw)
}

// message draws what the test of a promise says.
func (s Screen) message(p verdict.Promise) string {
	text := s.Wrap(p.Message) + "\n"
	return strings.Replace(text, "Seen: ", s.paint(bold, "Seen: "), 1)
}

// FirstRaces is the first step in which goroutines share something: only the race
// detector sees every use without a lock.
const FirstRaces = 2

// action names the one thing to do next.
func action(v verdict.Verdict) string {
	n := v.Step.Number
	first, broken := v.FirstBroken()
	switch {
	case v.Whole():
		next := fmt.Sprintf("go run ./steps diff %d", n)
		if n < contract.Steps {
			next += fmt.Sprintf(", then steps/%s/README.md", contract.Folders[n])
		}
		if n == partOne {
			next += "\nPart one is done. What to do with your server: docs/after-the-workshop.md"
		}
		done := fmt.Sprintf("Step %d keeps all its promises.", n)
		switch {
		case v.Race:
			done = fmt.Sprintf("Step %d keeps all its promises, and the race detector has seen nothing.", n)
		case v.NoRace != "":
			next += "\nNobody has looked for data races, which need not break a promise each time: " + v.NoRace
		}
		return done + " Next: " + next + "\n"
	case broken && first.Step < n:
		return "Next: repair this promise of an earlier step, which the step kept before your change.\n"
	case broken:
		return fmt.Sprintf("Next: task %s in %s; for a hint: go run ./steps hint %s\n", first.Task, v.Step.Lesson(), first.Task)
	}
	return "Next: run the tests again.\n"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
