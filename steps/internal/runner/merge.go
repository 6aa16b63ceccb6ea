package runner

import (
	"context"
	"errors"
	"go/format"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// mergeFile makes in mine the changes that lead from base to starter. Where they do
// not fit, text has both versions between the markers that git uses, and conflicts
// has what stands there.
func mergeFile(ctx context.Context, git, mine, base, starter string) (text string, conflicts []string, err error) {
	dir, err := os.MkdirTemp("", "wsworkshop")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, map[string]string{"yours": mine, "before": base, "starter": starter}); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, git, "merge-file", "-p", "--diff3", "yours", "before", "starter")
	cmd.Dir = dir
	output, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() < 128) { // the number of conflicts
		return "", nil, err
	}
	text, conflicts = settle(string(output))
	// Both may have added the same import: format removes one.
	if formatted, err := format.Source([]byte(text)); err == nil {
		text = string(formatted)
	}
	return text, conflicts, nil
}

// settle settles the conflicts of a merge in which the starter only adds something
// to lines that the learner has changed. It returns the others, too.
func settle(text string) (settled string, conflicts []string) {
	var b strings.Builder
	var c conflict
	part := (*[]string)(nil) // of c; nil between conflicts
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "<<<<<<< "):
			c, part = conflict{}, &c.yours
		case part == &c.yours && strings.HasPrefix(line, "||||||| "):
			part = &c.before
		case part == &c.before && line == "=======\n":
			part = &c.starter
		case part == &c.starter && strings.HasPrefix(line, ">>>>>>> "):
			part = nil
			lines, ok := c.settled()
			if !ok {
				conflicts = append(conflicts, c.String())
				b.WriteString(c.String())
				continue
			}
			b.WriteString(strings.Join(lines, ""))
		case part != nil:
			*part = append(*part, line)
		default:
			b.WriteString(line)
		}
	}
	return b.String(), conflicts
}

// conflict is a place in a file where two changes of before meet, in lines.
type conflict struct {
	yours, before, starter []string
}

func (c conflict) String() string {
	return "<<<<<<< yours\n" + strings.Join(c.yours, "") + "||||||| the solution of the step before\n" + strings.Join(c.before, "") +
		"=======\n" + strings.Join(c.starter, "") + ">>>>>>> the starter\n"
}

// settled returns yours with what the starter adds to before: code with its comments,
// and TODOs. Where each of your lines stands for one of before, that goes to its place,
// and a comment is the starter's unless you have written your own; else it goes above.
// It reports false if the starter has also lost code.
func (c conflict) settled() (lines []string, ok bool) {
	yours, before := commented(c.yours), commented(c.before)
	inPlace := len(yours) == len(before)
	n := 0 // of before that have come
	for _, s := range commented(c.starter) {
		if n == len(before) || code(s.line) != code(before[n].line) {
			lines = append(append(lines, s.above...), s.line)
			continue
		}
		if inPlace && slices.Equal(yours[n].above, before[n].above) {
			lines = append(lines, s.above...)
		} else {
			lines = append(lines, todos(s.above)...)
			if inPlace {
				lines = append(lines, yours[n].above...)
			}
		}
		if at := strings.Index(s.line, "// TODO("); at >= 0 {
			lines = append(lines, s.line[at:])
		}
		if inPlace {
			lines = append(lines, yours[n].line)
		}
		n++
	}
	if !inPlace {
		lines = append(lines, c.yours...)
	}
	return lines, n == len(before)
}

// commentedLine is a line of code with the comments and empty lines above it.
type commentedLine struct {
	above []string
	line  string
}

// commented returns the lines of code. The last is empty: what is above it ends all.
func commented(lines []string) (all []commentedLine) {
	var next commentedLine
	for _, line := range lines {
		if code(line) == "" {
			next.above = append(next.above, line)
			continue
		}
		next.line = line
		all, next = append(all, next), commentedLine{}
	}
	return append(all, next)
}

// todos returns the TODOs among comments. One may have several lines.
func todos(comments []string) (lines []string) {
	todo := false
	for _, line := range comments {
		todo = strings.Contains(line, "// TODO(") || todo && strings.TrimSpace(line) != ""
		if todo {
			lines = append(lines, line)
		}
	}
	return lines
}

// code returns a line of Go without its comment and without white space.
func code(line string) string {
	line, _, _ = strings.Cut(line, "//")
	return strings.Join(strings.Fields(line), "")
}
