// Package screen draws what the workshop's runner has to say.
package screen

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"example.com/wsworkshop/steps/internal/system"
)

// Screen is where the drawing goes.
type Screen struct {
	Colour bool
	Width  int // in columns; 0 for lines as long as they are
}

// Of returns the screen behind f: without a terminal one without colour and width.
// The environment variable NO_COLOR takes the colour away (https://no-color.org).
func Of(f *os.File) Screen {
	columns := system.Width(f)
	if columns == 0 || os.Getenv("TERM") == "dumb" {
		return Screen{}
	}
	return Screen{Colour: os.Getenv("NO_COLOR") == "", Width: columns}
}

type style string

const (
	green style = "32"
	red   style = "31"
	faint style = "2"
	bold  style = "1"
)

func (s Screen) paint(how style, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + string(how) + "m" + text + "\x1b[0m"
}

// Heading draws a heading.
func (s Screen) Heading(text string) string { return s.paint(bold, text) }

// Clear empties the screen.
func (s Screen) Clear() string {
	if s.Width == 0 {
		return ""
	}
	return "\x1b[2J\x1b[H"
}

// Bar draws how many of all are done, with a note, in one line that the next one
// replaces.
func (s Screen) Bar(done, all int, note string) string {
	if s.Width == 0 {
		return ""
	}
	text := fmt.Sprintf(" %d of %d%s", done, all, note)
	cells := max(min(30, s.Width-1-len(text)), 1)
	full := cells * done / max(all, 1)
	return s.EndBar() + s.paint(green, strings.Repeat("#", full)) + s.paint(faint, strings.Repeat(".", cells-full)) + text
}

// Progress draws a line that the next one replaces: no more of it than fits.
func (s Screen) Progress(text string) string {
	if s.Width == 0 {
		return ""
	}
	if letters := []rune(text); len(letters) >= s.Width {
		text = string(letters[:s.Width-1])
	}
	return s.EndBar() + s.paint(faint, text)
}

// EndBar takes the bar, or the progress, away.
func (s Screen) EndBar() string {
	if s.Width == 0 {
		return ""
	}
	return "\r\x1b[K"
}

// Wrap breaks the lines of a text at the width of the screen. What follows of a
// broken line stands below where its text begins.
func (s Screen) Wrap(text string) string {
	if s.Width == 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		end := ""
		if strings.HasSuffix(line, "\n") {
			line, end = line[:len(line)-1], "\n"
		}
		indent := hang(line)
		for utf8.RuneCountInString(line) > s.Width {
			cut := breakAt(line, s.Width, len(indent))
			if cut < 0 {
				break
			}
			b.WriteString(strings.TrimRight(line[:cut], " ") + "\n")
			line = indent + strings.TrimLeft(line[cut:], " ")
		}
		b.WriteString(line + end)
	}
	return b.String()
}

// hang returns the spaces below which a broken line goes on: those before its text,
// or before what stands behind a word like "Seen:" and several spaces.
func hang(line string) string {
	text := strings.TrimLeft(line, " ")
	at := len(line) - len(text)
	if word, rest, ok := strings.Cut(text, "  "); ok && !strings.Contains(word, " ") {
		at = len(line) - len(strings.TrimLeft(rest, " "))
	} else if word, rest, ok := strings.Cut(text, ": "); ok && !strings.Contains(word, " ") {
		at = len(line) - len(rest)
	}
	return strings.Repeat(" ", min(at, 20))
}

// breakAt returns where to break a line that is too long: at the last space that
// fits, but behind the first text, or else at the next one; or -1 if there is none.
func breakAt(line string, width, indent int) int {
	at, column := -1, 0
	for i, r := range line {
		if column > width && at >= 0 {
			break
		}
		if r == ' ' && column > indent {
			at = i
		}
		column++
	}
	return at
}
