package static_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/static"
)

func do(t *testing.T, method, path string) (*http.Response, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	static.Handler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestHandler(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/client.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/index.html", 404, ""},
		{"GET", "/app.js/", 404, ""},
		{"GET", "/static.go", 404, ""},
		{"GET", "/online", 404, ""},
		{"GET", "/../static.go", 404, ""},
		{"POST", "/", 405, ""},
		{"DELETE", "/app.js", 405, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			res, body := do(t, tt.method, tt.path)
			if res.StatusCode != tt.status {
				t.Fatalf("status = %d, want %d", res.StatusCode, tt.status)
			}
			if got := res.Header.Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
				t.Errorf("Content-Type = %q, want %q", got, tt.contentType)
			}
			if tt.status == 200 && (body == "") != (tt.method == "HEAD") {
				t.Errorf("body has %d bytes", len(body))
			}
			wantAllow := ""
			if tt.status == 405 {
				wantAllow = "GET, HEAD"
			}
			if got := res.Header.Get("Allow"); got != wantAllow {
				t.Errorf("Allow = %q, want %q", got, wantAllow)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff",
				"Referrer-Policy":        "no-referrer",
				"Cache-Control":          "no-cache",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
				t.Errorf("Content-Security-Policy = %q", csp)
			}
		})
	}
}

// TestReferences follows every src, href and import, so that a file left out of
// the embed list fails here and not in the browser.
func TestReferences(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="([^":]+)"|from "\./([^"]+)"`)
	seen := map[string]bool{}
	size := 0 // of the scripts
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		res, body := do(t, "GET", path)
		if res.StatusCode != 200 {
			t.Errorf("GET %s = %d", path, res.StatusCode)
			return
		}
		if strings.HasSuffix(path, ".js") {
			size += len(body)
		}
		for _, m := range reference.FindAllStringSubmatch(body, -1) {
			visit("/" + strings.TrimPrefix(m[1]+m[2], "/"))
		}
	}
	visit("/")
	if len(seen) != 12 {
		t.Errorf("the page uses %d files, want 12: %v", len(seen), seen)
	}
	if size > 44_000 {
		t.Errorf("the page's scripts have %d bytes, want at most 44 KB: they are meant to be read", size)
	}
	t.Logf("scripts: %d bytes", size)
}

// The policy forbids script and style in the page itself; so there must be none.
func TestNothingInline(t *testing.T) {
	_, page := do(t, "GET", "/")
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<script>|<style|\s(?:on[a-z]+|style)=`)
	if found := inline.FindString(page); found != "" {
		t.Errorf("index.html has %q, which the policy forbids", found)
	}
}

// Each lesson links to an experiment that the page has.
func TestLessonsLinkToExperiments(t *testing.T) {
	_, page := do(t, "GET", "/")
	lessons, err := filepath.Glob("../steps/[0-9]*/README.md")
	if err != nil || len(lessons) != 10 {
		t.Fatalf("%d lessons, %v", len(lessons), err)
	}
	link := regexp.MustCompile(`http://127\.0\.0\.1:8080/#([a-z-]+)`)
	for _, lesson := range lessons {
		text, err := os.ReadFile(lesson)
		if err != nil {
			t.Fatal(err)
		}
		links := link.FindAllStringSubmatch(string(text), -1)
		if len(links) == 0 {
			t.Errorf("%s links to no experiment of the page", lesson)
		}
		for _, m := range links {
			if !strings.Contains(page, `<article id="`+m[1]+`"`) {
				t.Errorf("%s links to #%s, and the page has no such experiment", lesson, m[1])
			}
		}
	}
}
