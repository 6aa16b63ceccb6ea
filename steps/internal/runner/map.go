package runner

import (
	"fmt"
	"strings"
)

// Map draws where the learner is, and says what is next.
func Map(steps []Step) string {
	var b strings.Builder
	b.WriteString("\nA real-time WebSocket server, in eight steps\n\n")
	here := current(steps)
	for _, s := range steps {
		mark := "  "
		switch {
		case s.whole():
			mark = "ok"
		case s.Number == here.Number:
			mark = "=>"
		}
		fmt.Fprintf(&b, " %s  %d  %-44s %s\n", mark, s.Number, s.Title, s.standing())
	}
	b.WriteString("\n")

	switch {
	case done(steps):
		b.WriteString("All promises are kept. What you have built stands in steps/" + here.Folder + ".\n\n")
		fmt.Fprintf(&b, "  go run ./steps/%s\n", here.Folder)
		fmt.Fprintf(&b, "  diff steps/%s solutions/%s\n", here.Folder, here.Folder)
		return b.String()
	case here.Trouble != "":
		fmt.Fprintf(&b, "You are at step %d. %s\n\n", here.Number, capitalized(here.Trouble))
	case here.Earlier > 0:
		fmt.Fprintf(&b, "You are at step %d. It breaks %s of earlier steps: look at these first.\n\n", here.Number, count(here.Earlier))
	case here.Number == 1 && here.Kept == 0:
		b.WriteString("You are at the beginning. Promises that are not kept are to be expected: the steps are\n" +
			"not done yet, and their tests say what is missing.\n\n")
	default:
		fmt.Fprintf(&b, "You are at step %d.\n\n", here.Number)
	}
	fmt.Fprintf(&b, "Read steps/%s/README.md, change the Go files beside it, and then:\n\n", here.Folder)
	fmt.Fprintf(&b, "  go test ./steps/%s\n", here.Folder)
	fmt.Fprintf(&b, "  go run ./steps/%s\n", here.Folder)
	return b.String()
}

// current returns the first step that is not done, or the last.
func current(steps []Step) Step {
	for _, s := range steps {
		if !s.whole() {
			return s
		}
	}
	return steps[len(steps)-1]
}

// done reports whether all steps are done.
func done(steps []Step) bool { return current(steps).whole() }

// standing says how many promises the step keeps.
func (s Step) standing() string {
	switch {
	case s.Trouble != "":
		return "not known"
	case s.Earlier > 0:
		return fmt.Sprintf("%d of %d promises kept, and breaks %s of earlier steps", s.Kept, s.Promises, count(s.Earlier))
	}
	return fmt.Sprintf("%d of %d promises kept", s.Kept, s.Promises)
}

func count(promises int) string {
	if promises == 1 {
		return "1 promise"
	}
	return fmt.Sprintf("%d promises", promises)
}

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
