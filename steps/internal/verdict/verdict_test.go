package verdict

import (
	"fmt"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
	"example.com/wsworkshop/steps/internal/workshop"
)

var second = workshop.Step{Number: 2, Name: "02-pumps"}

// ending returns the lines of go test -json for a test of step 2.
func ending(action, test, output string) string {
	return fmt.Sprintf(`{"Action":"output","Package":%[1]q,"Test":%[2]q,"Output":%[3]q}
{"Action":%[4]q,"Package":%[1]q,"Test":%[2]q}
`, second.Package(), test, output, action)
}

// neverMind waits for no test to begin.
func neverMind() func() bool { return nil }

// judged returns the verdict on step 2 that go test -json leads to.
func judged(t *testing.T, output string) Verdict {
	t.Helper()
	all := make(results)
	if err := all.read(strings.NewReader(output), nil, neverMind); err != nil {
		t.Fatal(err)
	}
	v := newVerdict(second, 1)
	v.judge(all[second.Package()])
	return v
}

func TestAVerdictTellsKeptFromBrokenAndNotReached(t *testing.T) {
	first, own := contract.Promises(1), contract.Promises(2)
	v := judged(t, ending("fail", testName(first[0].String()), "    --- FAIL: TestServer/x (0.01s)\n        Seen:     nothing\n          at all\n")+
		ending("pass", testName(first[1].String()), "")+
		ending("pass", testName(own[0].String()), "")+
		ending("fail", testName(own[1].String()), "")+
		ending("fail", server, "    run.go:70: The server has hung.\n--- FAIL: TestServer (1s)\n"))
	if kept, promised := v.Own(); kept != 1 || promised != len(own) {
		t.Errorf("%d of %d are kept, want 1 of %d", kept, promised, len(own))
	}
	if v.Earlier() != 1 || v.Whole() || v.Trouble != "" {
		t.Errorf("earlier %d, whole %t, trouble %q; want 1, false, none", v.Earlier(), v.Whole(), v.Trouble)
	}
	if p := v.Promises[0]; p.Outcome != Broken || p.Message != "Seen:     nothing\n  at all" {
		t.Errorf("the first promise is %+v", p)
	}
	if p, ok := v.FirstBroken(); !ok || p.Name != own[1].String() {
		t.Errorf("the first that is broken is %+v, and not the first of the step's own", p)
	}
	if last := v.Promises[len(v.Promises)-1]; last.Outcome != NotReached {
		t.Errorf("the last is %s", last.Outcome)
	}
	if len(v.Notes) != 1 || v.Notes[0] != "The server has hung." {
		t.Errorf("the notes are %q", v.Notes)
	}
}

// passing returns the lines of go test -json for a step 2 that keeps all promises.
func passing() string {
	var output strings.Builder
	output.WriteString(ending("pass", server, ""))
	for n := 1; n <= 2; n++ {
		for _, p := range contract.Promises(n) {
			output.WriteString(ending("pass", testName(p.String()), ""))
		}
	}
	return output.String()
}

func TestAStepIsWholeWhenAllIsKept(t *testing.T) {
	if v := judged(t, passing()); !v.Whole() {
		t.Errorf("it is not whole: %+v", v)
	}
}

func TestWhatASystemCannotTryDoesNotCount(t *testing.T) {
	own := contract.Promises(2)
	v := judged(t, passing()+ending("skip", testName(own[0].String()), "    shutdown.go:47: Windows has no signals\n"))
	if kept, promised := v.Own(); kept != len(own)-1 || promised != len(own)-1 || !v.Whole() {
		t.Errorf("%d of %d are kept, whole %t; want %[4]d of %[4]d, true", kept, promised, v.Whole(), len(own)-1)
	}
	if p := v.Promises[len(v.Promises)-len(own)]; p.Outcome != Skipped || p.Message != "Windows has no signals" {
		t.Errorf("it is %s, because %q", p.Outcome, p.Message)
	}
}

func TestWhatDoesNotBuildIsToldInTheCompilersWords(t *testing.T) {
	const id = "example.com/wsworkshop/steps/02-pumps [example.com/wsworkshop/steps/02-pumps.test]"
	v := judged(t, `{"ImportPath":"`+id+`","Action":"build-output","Output":"# `+id+`\n"}
{"ImportPath":"`+id+`","Action":"build-output","Output":"steps/02-pumps/client.go:9:1: syntax error\n"}
{"ImportPath":"`+id+`","Action":"build-fail"}
{"Action":"fail","Package":"`+second.Package()+`","FailedBuild":"`+id+`"}
`)
	if v.Trouble != "steps/02-pumps/client.go:9:1: syntax error" || v.Whole() {
		t.Errorf("trouble %q", v.Trouble)
	}
}

func TestEachPackageIsToldWhatIsSaidOfIt(t *testing.T) {
	got := byPackage("# example.com/a\n# [example.com/a]\na/new.go:3:24: fmt.Printf format %d has arg\n" +
		"# example.com/b [example.com/b.test]\nb/b.go:1:1: syntax error\nFAIL\texample.com/b [build failed]\nFAIL\n")
	if len(got) != 2 || got["example.com/a"] != "a/new.go:3:24: fmt.Printf format %d has arg" || got["example.com/b"] != "b/b.go:1:1: syntax error" {
		t.Errorf("%q", got)
	}
}

func TestAProgramThatEndsBeforeItsTestsHasBuilt(t *testing.T) {
	v := judged(t, ending("fail", "", "panic: oh no\nFAIL\tsteps/02-pumps\t0.1s\n"))
	if !v.Built || strings.Contains(v.Trouble, "FAIL") || v.String() != "does not run" {
		t.Errorf("built %t, %s: %q", v.Built, v, v.Trouble)
	}
}

func TestAVerdictOnNothingIsNotWhole(t *testing.T) {
	if (Verdict{}).Whole() {
		t.Error("it is whole")
	}
}

func TestAPackageWithoutItsTestIsTrouble(t *testing.T) {
	if v := judged(t, ending("fail", "", "panic: oh no\n")); !strings.Contains(v.Trouble, "panic: oh no") {
		t.Errorf("trouble %q", v.Trouble)
	}
	if v := judged(t, ""); v.Trouble == "" {
		t.Error("a package of which nothing is said has no trouble")
	}
}

func TestOutputThatIsNotJSONIsAnError(t *testing.T) {
	if err := make(results).read(strings.NewReader("no JSON"), nil, neverMind); err == nil {
		t.Error("no error")
	}
}
