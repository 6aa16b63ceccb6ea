package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

const pkg = "example.com/wsworkshop/steps/02-pumps"

// event returns a line of go test -json.
func event(action string, p contract.Promise) string {
	test := "TestServer/" + strings.ReplaceAll(p.String(), " ", "_")
	return `{"Action":"` + action + `","Package":"` + pkg + `","Test":"` + test + `"}` + "\n"
}

func judged(t *testing.T, output string) Step {
	t.Helper()
	all, err := readResults(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	s := Step{Number: 2, Folder: "02-pumps", Promises: len(contract.Promises(2))}
	s.judge(all)
	return s
}

func TestAStepIsJudgedByItsOwnPromisesAndByEarlierOnes(t *testing.T) {
	var output strings.Builder
	output.WriteString(`{"Action":"fail","Package":"` + pkg + `","Test":"TestServer"}` + "\n")
	for i, p := range contract.Promises(1) {
		output.WriteString(event([]string{"fail", "pass"}[min(i, 1)], p)) // the first is broken
	}
	for i, p := range contract.Promises(2) {
		output.WriteString(event([]string{"pass", "skip", "fail"}[min(i, 2)], p)) // all but two are broken
	}
	if got := judged(t, output.String()); got.Kept != 2 || got.Earlier != 1 || got.Trouble != "" {
		t.Errorf("kept %d, earlier %d, trouble %q; want 2, 1 and none", got.Kept, got.Earlier, got.Trouble)
	}
}

func TestWhatDoesNotCompileIsToldInTheCompilersWords(t *testing.T) {
	got := judged(t, `{"ImportPath":"`+pkg+` [`+pkg+`.test]","Action":"build-output","Output":"# `+pkg+`\n"}
{"ImportPath":"`+pkg+` [`+pkg+`.test]","Action":"build-output","Output":"steps/02-pumps/client.go:9:1: syntax error\n"}
{"ImportPath":"`+pkg+` [`+pkg+`.test]","Action":"build-fail"}
{"Action":"start","Package":"`+pkg+`"}
{"Action":"fail","Package":"`+pkg+`","FailedBuild":"`+pkg+` [`+pkg+`.test]"}
`)
	if !strings.Contains(got.Trouble, "client.go:9:1: syntax error") || got.whole() {
		t.Errorf("trouble %q does not tell the compiler's error", got.Trouble)
	}
}

func TestAPackageWithoutItsTestIsNotTakenForDone(t *testing.T) {
	if got := judged(t, `{"Action":"pass","Package":"`+pkg+`"}`); got.Trouble == "" {
		t.Error("a package that ran no test has no trouble")
	}
}

func TestOutputThatIsNotJSONIsAnError(t *testing.T) {
	if _, err := readResults(strings.NewReader("no JSON")); err == nil {
		t.Error("no error")
	}
}

func TestTheTitleIsTheFirstLineOfTheLesson(t *testing.T) {
	lesson := filepath.Join(t.TempDir(), "README.md")
	for content, want := range map[string]string{
		"# Step 1: The handshake: an echo\n\nText.\n": "The handshake: an echo",
		"# The handshake\n":                           "",
		"":                                            "",
	} {
		if err := os.WriteFile(lesson, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := title(lesson)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("title of %q = %q, %v; want %q", content, got, err, want)
		}
	}
}
