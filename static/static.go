// Package static holds the browser page that every step's server serves at /.
//
// The page opens a WebSocket to /ws on the host it came from. Its source is
// meant to be read: client.js is the part worth copying into your own project.
package static

import (
	"embed"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"runtime/debug"
)

// The list names each file, so that nothing is published by accident.
//
//go:embed index.html style.css
//go:embed app.js backoff.js client.js closecodes.js dom.js lab.js log.js position.js queue.js roundtrip.js
var files embed.FS

// contentSecurityPolicy lets the page load its own script and style and talk to
// its own host and the visitor's own computer, and nothing else.
//
// In connect-src, 'self' covers both the request for /online and the WebSocket:
// CSP Level 3 lets 'self' match ws: and wss: on the same host and port. Chrome
// does so since 71, Safari since 16. The two names of the visitor's own computer
// are for the experiment with a foreign origin, which the server has to refuse,
// not the browser. The data: image is the empty icon in index.html, which saves a
// request for /favicon.ico.
const contentSecurityPolicy = "default-src 'none'; " +
	"script-src 'self'; " +
	"style-src 'self'; " +
	"connect-src 'self' ws://127.0.0.1:* ws://localhost:*; " +
	"img-src data:; " +
	"base-uri 'none'; " +
	"form-action 'none'; " +
	"frame-ancestors 'none'"

// Handler returns a handler that serves the page at /, each file it needs at /NAME,
// and at /program which step's program this is. Any other path is 404, any method
// but GET and HEAD is 405.
func Handler() http.Handler {
	fileServer := http.FileServerFS(files)
	build, _ := debug.ReadBuildInfo()
	program := step(build)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// Embedded files have no modification time to compare, so the browser
		// fetches them anew on each load. They are small, and after a rebuild
		// nobody looks at an old page.
		h.Set("Cache-Control", "no-cache")

		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == "/program" {
			h.Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, program)
			return
		}
		// FileServerFS would redirect /index.html to / and /app.js/ to /app.js.
		// Here each file has one address.
		if !published(r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		fileServer.ServeHTTP(w, r)
	})
}

var stepFolder = regexp.MustCompile(`/((?:steps|solutions)/\d\d-[a-z]+)$`)

// step returns the folder of the step whose program this is, such as
// "steps/04-broadcast", or nothing for another program.
func step(build *debug.BuildInfo) string {
	if build == nil {
		return ""
	}
	if m := stepFolder.FindStringSubmatch(build.Path); m != nil {
		return m[1]
	}
	return ""
}

// published reports whether path is / or the address of an embedded file.
func published(path string) bool {
	if path == "/" {
		return true
	}
	if path == "" || path[0] != '/' || path == "/index.html" {
		return false
	}
	info, err := fs.Stat(files, path[1:])
	return err == nil && !info.IsDir()
}
