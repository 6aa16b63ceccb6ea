package gates

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// pages returns the paths of all pages of the documentation: the README, docs/
// and the lessons.
func pages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(inRoot("docs/*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatal("no pages in docs/")
	}
	all := []string{"README.md"}
	for _, name := range docs {
		all = append(all, "docs/"+filepath.Base(name))
	}
	for _, folder := range contract.Folders {
		all = append(all, lesson(folder))
	}
	return all
}

// block is a block of code on a page.
type block struct {
	page    string
	at      int    // the line that opens it
	info    string // what stands there: "sh", "go solutions/03-hub/hub.go"
	section string // the heading that it stands below, of the second level
	above   string // the paragraph that it stands below
	named   string // the Go file that the text above, within the same section or hint, has named last
	under   bool   // it stands directly below the block before it
	lines   []string
}

// pathInText is a Go file, with its folder, in a sentence.
var pathInText = regexp.MustCompile("`([\\w.-]+/[\\w./-]+\\.go)`")

// blocks returns the blocks of code on a page.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	var all []block
	var open *block
	section, above, named, under, gap := "", "", "", false, false
	for i, line := range strings.Split(read(t, page), "\n") {
		line = strings.TrimRight(line, " ")
		fence, isFence := strings.CutPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case isFence && open == nil:
			open = &block{page: page, at: i + 1, info: fence, section: section, above: above, named: named, under: under}
		case isFence:
			all, open, under = append(all, *open), nil, true
		case open != nil:
			open.lines = append(open.lines, line)
		case line == "":
			gap = true
		default:
			if gap {
				above = ""
			}
			above, under, gap = above+line+"\n", false, false
			if title, ok := strings.CutPrefix(line, "## "); ok {
				section = title
			}
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "<details>") {
				named = ""
			}
			for _, m := range pathInText.FindAllStringSubmatch(line, -1) {
				named = m[1]
			}
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the block is not closed. Write ``` below it.", page, open.at)
	}
	return all
}
