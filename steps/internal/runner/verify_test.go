package runner

import "testing"

func TestFigures(t *testing.T) {
	gate, tests := part{name: "fuzz", figures: true}, part{name: "solutions"}
	for _, c := range []struct {
		of      part
		printed string
		says    string
		missing bool
	}{
		{gate, "    protocol_test.go:1: protocol: 7 cases, all kept\n    long_test.go:45: fuzz: 12 inputs tried\n--- PASS: TestFuzz (1s)\n", "fuzz: 12 inputs tried", false},
		{gate, "    long_test.go:30: it takes minutes: go test ./solutions/gates -long\n--- SKIP: TestFuzz (0s)\n", "fuzz: no figures", true},
		{tests, "--- PASS: TestA (0s)\n    --- PASS: TestA/b (0s)\n", "solutions: 2 tests passed", false},
		{tests, "FAIL	. [setup failed]\n", "solutions: 0 tests passed", true},
	} {
		if says, missing := figures(c.of, []byte(c.printed)); says != c.says || missing != c.missing {
			t.Errorf("of %q: got %q, %t; want %q, %t", c.printed, says, missing, c.says, c.missing)
		}
	}
}
