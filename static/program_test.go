package static

import (
	"net/http/httptest"
	"runtime/debug"
	"testing"
)

// A step's program says which it is; any other says nothing.
func TestStep(t *testing.T) {
	for path, want := range map[string]string{
		"example.com/wsworkshop/steps/04-broadcast":    "steps/04-broadcast",
		"example.com/wsworkshop/solutions/11-cluster":  "solutions/11-cluster",
		"example.com/wsworkshop/steps":                 "",
		"example.com/chat":                             "",
		"command-line-arguments":                       "",
		"example.com/wsworkshop/steps/04-broadcast/x":  "",
		"example.com/wsworkshop/examples/04-broadcast": "",
	} {
		if got := step(&debug.BuildInfo{Path: path}); got != want {
			t.Errorf("the program %s says that it is %q, want %q", path, got, want)
		}
	}
	if got := step(nil); got != "" {
		t.Errorf("a program without build information says that it is %q", got)
	}
}

// The page asks for it in every step, so the answer is never 404: a browser's
// console would show that in red.
func TestProgramIsAnswered(t *testing.T) {
	rec := httptest.NewRecorder()
	Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/program", nil))
	if got := rec.Header().Get("Content-Type"); rec.Code != 200 || got != "text/plain; charset=utf-8" {
		t.Errorf("GET /program is answered with %d and %q, want 200 and text", rec.Code, got)
	}
}
