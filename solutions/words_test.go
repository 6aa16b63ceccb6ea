package solutions

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wordList holds the words of the pages, sorted, without capitals.
const wordList = "solutions/testdata/words.txt"

var (
	notProse = regexp.MustCompile(`<[^>\n]*>|\]\([^)\n]*\)|https?://\S+|&\w+;`)
	aWord    = regexp.MustCompile(`\pL+(?:['’]\pL+)*`)
)

// Each word of the pages, outside of code, is in the list of words: a new one is
// either a mistake or added on purpose. With -update the list is written anew.
func TestWordsAreKnown(t *testing.T) {
	used := make(map[string]string) // the page where each word is first
	for _, page := range pages(t) {
		text := notProse.ReplaceAllString(inlineCode.ReplaceAllString(prose(read(t, page)), " "), " ")
		for _, word := range aWord.FindAllString(text, -1) {
			if word = strings.ToLower(word); used[word] == "" {
				used[word] = page
			}
		}
	}
	words := slices.Sorted(maps.Keys(used))
	if *update {
		if err := os.WriteFile(inRoot(wordList), []byte(strings.Join(words, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	known := strings.Fields(read(t, wordList))
	for _, word := range without(words, known) {
		t.Errorf("%s has the word %q, which is not in %s. If it is right: go test ./solutions -run WordsAreKnown -update", used[word], word, wordList)
	}
	for _, word := range without(known, words) {
		t.Errorf("%s has the word %q, which no page has any more: go test ./solutions -run WordsAreKnown -update", wordList, word)
	}
	t.Logf("words: %d", len(words))
}
