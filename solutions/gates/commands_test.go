package gates

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

// played is the page whose commands are run, and their output compared, by the
// tests of steps/internal/runner.
const played = "docs/a-session.md"

// notRun are the commands that no gate runs as the page has them, each with its
// reason.
var notRun = []struct {
	command *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`^go test \./solutions/\.\.\.`), "runs this test, too"},
	{regexp.MustCompile(`^go test \./solutions/gates(/programs)? .*-long`), "takes minutes; go run ./steps verify runs it"},
	{regexp.MustCompile(`^go test \./solutions/gates -authors`), "runs this test, too; .ci/run has it"},
	{regexp.MustCompile(`^go test \./solutions/gates .*-carry`), "changes files, and needs git"},
	{regexp.MustCompile(`^go test .* -fuzz `), "takes ten minutes; go run ./steps verify fuzzes for a shorter time"},
	{regexp.MustCompile(`^go test \./steps/internal/runner`), "takes minutes; .ci/run has it"},
	{regexp.MustCompile(`^go run \./steps verify$`), "runs this test, too"},
	{regexp.MustCompile(`^go run \./steps (watch|serve)$`), "runs until it is stopped; the tests of steps/internal/runner do that"},
	{regexp.MustCompile(`^go run \./steps peer`), "runs until it is stopped; the tests of steps/internal/runner do that"},
	{regexp.MustCompile(`^go run \./steps doctor$`), "tells what this machine has; the tests of steps/internal/runner look at it"},
	{regexp.MustCompile(`^go run stall\.go `), "a file of the reader's own, and 30 seconds"},
	{regexp.MustCompile(`^go mod download$`), "needs a network"},
	{regexp.MustCompile(`^go run \. (run|draw)$`), "measures for minutes, and draws other figures each time"},
	{regexp.MustCompile(`^grep .* server\.log `), "counts in a log of the reader's own"},
	{regexp.MustCompile(`^curl -iN .*/ws$`), "runs until the server is stopped by hand"},
	{regexp.MustCompile(`^curl .*\| xxd$`), "takes a minute, and xxd is not everywhere"},
}

// own are names in commands that the reader makes.
var own = []string{"_crash", "stall.go", "TestBreak"}

// unsolved are commands that say that there is something left to do, and say it
// with an exit code of 1: the starters are not done.
var unsolved = regexp.MustCompile(`^(go test (-race )?\./steps/\d|diff steps/|go run \./steps test$)`)

// server is a command that starts one, with its folder and its flags.
var server = regexp.MustCompile(`^go run \./(_crash|(?:steps|solutions)/\d\d-[\w-]+)( .*)?$`)

// command is a line that the reader types.
type command struct {
	block
	text   string
	prints string // what the page says that it prints
}

// commands returns the commands on a page, in order. In a block sh each line is
// one; in a block console those behind a $, and what follows is printed. A block
// text directly below a block sh is printed by its last command.
func commands(t *testing.T, page string) []command {
	var all []command
	before := ""
	for _, b := range blocks(t, page) {
		for _, line := range b.lines {
			switch text, typed := strings.CutPrefix(line, "$ "); {
			case b.info == "console" && !typed:
				all[len(all)-1].prints += line + "\n"
			case b.info == "sh" || b.info == "console" && text != "(still watching)":
				text, _, _ = strings.Cut(text, "  ")
				all = append(all, command{block: b, text: strings.TrimSpace(text)})
			case b.info == "text" && b.under && before == "sh":
				all[len(all)-1].prints += line + "\n"
			}
		}
		before = b.info
	}
	return all
}

// What each command names is there: files, packages, tests, flags, and the
// commands of the runner. That holds for those in a sentence, too.
func TestCommandsNameWhatIsThere(t *testing.T) {
	runner := read(t, "steps/internal/runner/runner.go")
	inSentence := regexp.MustCompile("`(go (?:run|test|build|vet) [^`\n]*\\./[^`\n]*)`")
	n := 0
	for _, page := range pages(t) {
		for _, c := range commands(t, page) {
			n++
			checkCommand(t, c.page, c.text, runner)
		}
		for _, m := range inSentence.FindAllStringSubmatch(prose(read(t, page)), -1) {
			n++
			checkCommand(t, page, m[1], runner)
		}
	}
	t.Logf("commands: %d looked at", n)
}

// left reports whether a command is in notRun.
func left(text string) bool {
	for _, c := range notRun {
		if c.command.MatchString(text) {
			return true
		}
	}
	return false
}

var (
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	aPath       = regexp.MustCompile(`^\./|^(steps|solutions|static)/|^_`)
	aFlag       = regexp.MustCompile(`^-[\w-]+`)
	localURL    = regexp.MustCompile(`http://127\.0\.0\.1:8080(/\w*)`)
	ofPromises  = regexp.MustCompile(`^go test .*\./steps/(\S+) -run '/\^([\d.]+)'$`)
	flagsOfTest = []string{"-C", "-v", "-race", "-run", "-fuzz", "-fuzztime", "-count"}
)

// checkCommand demands that what a command names is there.
func checkCommand(t *testing.T, page, text, runner string) {
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: the command %s: "+format, append([]any{page, text}, args...)...)
	}
	words := strings.Fields(strings.ReplaceAll(text, "'", ""))
	folder := ""
	for _, word := range words {
		if !aPath.MatchString(word) || slices.Contains(own, strings.TrimPrefix(word, "./")) {
			continue
		}
		path := strings.TrimPrefix(strings.TrimSuffix(word, "/..."), "./")
		if found, err := filepath.Glob(inRoot(strings.ReplaceAll(path, "...", "*"))); err != nil || len(found) == 0 {
			wrong("there is no %s.", path)
			continue
		}
		if !strings.HasSuffix(word, "/...") {
			folder = path
		}
	}
	for _, m := range localURL.FindAllStringSubmatch(text, -1) {
		if !slices.Contains([]string{"/", "/ws", "/online"}, m[1]) {
			wrong("the server has no %s.", m[1])
		}
	}
	switch {
	case strings.HasPrefix(text, "go run ./steps ") || text == "go run ./steps":
		before, _, _ := strings.Cut(text, " | ")
		for i, word := range strings.Fields(before)[3:] {
			switch {
			case i == 0 && !strings.Contains(runner, `{"`+word+`", "`):
				wrong("the runner has no command %s.", word)
			case aFlag.MatchString(word) && !strings.Contains(runner, word):
				wrong("the runner's help knows no %s.", word)
			}
		}
	case server.MatchString(text) && folder != "":
		for _, word := range words {
			if aFlag.MatchString(word) && word != "-h" && !strings.Contains(read(t, folder+"/main.go"), `"`+word[1:]+`"`) {
				wrong("the server in %s has no flag %s.", folder, word)
			}
		}
	case strings.HasPrefix(text, "go test ") && folder != "" && filepath.Base(folder)[0] != '0':
		checkTest(t, wrong, words, folder)
	}
	if m := ofPromises.FindStringSubmatch(text); m != nil {
		n := slices.Index(contract.Folders[:], m[1]) + 1
		if n == 0 || !slices.ContainsFunc(contract.Promises(n), func(p contract.Promise) bool { return strings.HasPrefix(p.Task, m[2]) }) {
			wrong("no promise of the step begins with %s.", m[2])
		}
	}
}

// checkTest demands that a package has the flags and the tests that a go test
// names.
func checkTest(t *testing.T, wrong func(string, ...any), words []string, folder string) {
	var source strings.Builder
	for _, name := range goFiles(t, folder) {
		if strings.HasSuffix(name, "_test.go") {
			source.WriteString(read(t, folder+"/"+name))
		}
	}
	tests := testFunc.FindAllStringSubmatch(source.String(), -1)
	for i, word := range words {
		if aFlag.MatchString(word) && !slices.Contains(flagsOfTest, word) && !strings.Contains(source.String(), `("`+word[1:]+`",`) {
			wrong("the tests in %s have no flag %s.", folder, word)
		}
		if i == 0 || words[i-1] != "-run" || word == "^$" || slices.Contains(own, word) {
			continue
		}
		for pattern := range strings.SplitSeq(word, "|") {
			test, err := regexp.Compile(strings.Split(pattern, "/")[0])
			if err != nil || !slices.ContainsFunc(tests, func(m []string) bool { return test.MatchString(m[1]) }) {
				wrong("no test in %s is called %s.", folder, pattern)
			}
		}
	}
}
