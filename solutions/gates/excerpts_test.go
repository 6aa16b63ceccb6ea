package gates

import (
	"strings"
	"testing"
)

// Each excerpt of Go on a page is in the file that it names, line by line, up to
// its indentation.
//
// The file is named behind the word go that begins the excerpt:
//
//	```go solutions/02-pumps/client.go
//
// Words that are no path, in that place, mark code of the reader's own (see
// own_test.go). If nothing stands there, the file is the one that the text above
// has named last, within the same section or hint. Unless that is one of
// solutions/, the code is what the reader shall put into a file of his own.
func TestExcerptsAreInTheirFiles(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if source := b.source(); source != "" {
				checkExcerpt(t, page, b.at, source, b.lines)
			} else if b.info == "go" && b.named == "" {
				t.Errorf("%s:%d: which file is this from? Write it behind the word go (```go solutions/08-limits/server.go), or, if it is the reader's own, a word that says so.", page, b.at)
			}
		}
	}
}

// source returns the file that an excerpt of Go is from, or nothing.
func (b block) source() string {
	switch language, info, _ := strings.Cut(b.info, " "); {
	case language != "go":
	case info == "" && strings.HasPrefix(b.named, "solutions/"):
		return b.named
	default:
		if path, _, _ := strings.Cut(info, " "); strings.Contains(path, "/") {
			return path
		}
	}
	return ""
}

// checkExcerpt demands that the lines of an excerpt, which begins in a line of a
// page, stand in a file one after the other.
func checkExcerpt(t *testing.T, page string, at int, name string, excerpt []string) {
	file := strings.Split(read(t, name), "\n")
	best, where := 0, 0 // most lines that agree, and where they begin
	for i := range file {
		if n := agree(file[i:], excerpt); n > best {
			best, where = n, i
		}
	}
	if best == len(excerpt) {
		return
	}
	has := "the end"
	if where+best < len(file) {
		has = strings.TrimSpace(file[where+best])
	}
	if best == 0 {
		has = "no such line"
	}
	t.Errorf("%s:%d: the excerpt is not in %s. Its line %d is\n\t%s\nbut %s:%d has\n\t%s\nCopy the lines as they are there.",
		page, at, name, best+1, strings.TrimSpace(excerpt[best]), name, where+best+1, has)
}

// agree returns how many lines at the beginning of file are those of excerpt, all
// indented by the same number of tabs more or less.
func agree(file, excerpt []string) int {
	shift := indent(file[0]) - indent(excerpt[0])
	for i, line := range excerpt {
		if i == len(file) || strings.TrimSpace(file[i]) != strings.TrimSpace(line) || line != "" && indent(file[i])-indent(line) != shift {
			return i
		}
	}
	return len(excerpt)
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, "\t")) }
