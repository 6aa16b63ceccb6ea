package gates

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// A link in markdown: in a sentence, in a list of references, or in HTML.
var (
	link       = regexp.MustCompile(`\]\(<?([^()\s>]+)|(?m:^ {0,3}\[[^\]]+\]: +<?([^\s>]+))|(?:href|src|srcset)="([^"]*)"`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.+?)[ #]*$`)
	htmlAnchor = regexp.MustCompile(`<[^>]+ (?:id|name)="([^"]+)"`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	inlineCode = regexp.MustCompile("`[^`\n]+`")
)

// Every link of the documentation to something in the repository leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		text := inlineCode.ReplaceAllString(prose(read(t, page)), "code")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := m[1] + m[2] + m[3]
			u, err := url.Parse(to)
			if err != nil {
				t.Errorf("%s: the link %s is no URL: %v", page, to, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			target := page
			if u.Path != "" {
				target = path.Join(path.Dir(page), u.Path)
			}
			if _, err := os.Stat(inRoot(target)); err != nil || !filepath.IsLocal(target) || strings.HasPrefix(u.Path, "/") {
				t.Errorf("%s: the link %s leads to nothing in the repository. Give the path from the folder of %s.", page, to, page)
				continue
			}
			if u.Fragment != "" && (path.Ext(target) != ".md" || !anchors(read(t, target))[u.Fragment]) {
				t.Errorf("%s: the link %s leads to an anchor that %s has not. Correct it, or write the heading or <a id=%q></a> there.", page, to, target, u.Fragment)
			}
		}
	}
}

// anchors returns what a link can lead to within a page: the headings, under the
// names that GitHub gives them, and the anchors in HTML.
func anchors(page string) map[string]bool {
	page = prose(page)
	all := make(map[string]bool)
	for _, m := range htmlAnchor.FindAllStringSubmatch(page, -1) {
		all[m[1]] = true
	}
	seen := make(map[string]int)
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, linkText.ReplaceAllString(m[1], "$1"))
		if n := seen[name]; n > 0 {
			all[fmt.Sprint(name, "-", n)] = true
		}
		seen[name]++
		all[name] = true
	}
	return all
}

// prose returns a page without its blocks of code.
func prose(page string) string {
	var text strings.Builder
	inFence := false
	for line := range strings.Lines(page) {
		isFence := strings.HasPrefix(strings.TrimLeft(line, " "), "```")
		if isFence {
			inFence = !inFence
		}
		if !inFence && !isFence {
			text.WriteString(line)
		}
	}
	return text.String()
}
