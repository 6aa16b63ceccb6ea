package runner

import (
	"context"
	"errors"
	"go/format"
	"os"
	"os/exec"
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
			added, ok := c.added()
			if !ok {
				conflicts = append(conflicts, c.String())
				b.WriteString(c.String())
				continue
			}
			b.WriteString(strings.Join(added, "") + strings.Join(c.yours, ""))
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

// added returns the lines of code, and the TODOs, that the starter has and before
// has not. It reports false if the starter has also lost code.
func (c conflict) added() (lines []string, ok bool) {
	var before []string
	for _, line := range c.before {
		if code(line) != "" {
			before = append(before, code(line))
		}
	}
	todo := false // a TODO may have several lines
	for _, line := range c.starter {
		text, comment := code(line), strings.Index(line, "// TODO(")
		switch {
		case text == "":
			todo = comment >= 0 || todo && strings.TrimSpace(line) != ""
			if todo {
				lines = append(lines, line)
			}
			continue
		case len(before) > 0 && text == before[0]:
			before = before[1:]
			if comment >= 0 {
				lines = append(lines, line[comment:])
			}
		default:
			lines = append(lines, line)
		}
		todo = false
	}
	return lines, len(before) == 0
}

// code returns a line of Go without its comment and without white space.
func code(line string) string {
	line, _, _ = strings.Cut(line, "//")
	return strings.Join(strings.Fields(line), "")
}
