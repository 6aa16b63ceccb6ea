package gates

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// spelled is the list of the words that are right though no dictionary has them, in
// lower case.
const spelled = "solutions/gates/testdata/spelling.txt"

var (
	notSpelled = regexp.MustCompile("`[^`\n]*`|\\]\\([^)]*\\)|https?://\\S+|<[^>]*>")
	letters    = regexp.MustCompile(`\p{L}[\p{L}']*`)
)

// The words of the pages are spelled right, but for what is code.
func TestSpelling(t *testing.T) {
	authorsTool(t, "aspell", "aspell aspell-en")
	known := strings.Fields(read(t, spelled))
	for _, page := range pages(t) {
		text := notSpelled.ReplaceAllString(prose(read(t, page)), " ")
		// A word a line, since aspell takes some characters at the beginning for commands.
		aspell := exec.CommandContext(t.Context(), "aspell", "list", "--lang=en", "--encoding=utf-8", "--ignore-case=false")
		aspell.Stdin = strings.NewReader(strings.Join(letters.FindAllString(text, -1), "\n"))
		unknown, err := aspell.Output()
		if err != nil {
			t.Fatalf("%s: %v", aspell, err)
		}
		words := strings.Fields(string(unknown))
		slices.Sort(words)
		for _, word := range slices.Compact(words) {
			if !slices.Contains(known, strings.TrimSuffix(strings.ToLower(word), "'s")) {
				t.Errorf("%s: no dictionary has the word %q. Correct it, put it into backquotes if it is code, or add it to %s.", page, word, spelled)
			}
		}
	}
}
