package gates

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

var (
	record    = regexp.MustCompile(`level=\w+ msg=.*`)
	attribute = regexp.MustCompile(`\b(?:msg|reason)=(?:"([^":]*)[":]|([\w-]+))`)
)

// The message and the reason of a log record on a page are words of a server or of
// the browser page. What net/http logs is not compared.
func TestLogRecordsAreThoseOfTheCode(t *testing.T) {
	var code strings.Builder
	for _, folder := range contract.Folders {
		for _, name := range goFiles(t, "solutions/"+folder) {
			code.WriteString(read(t, "solutions/"+folder+"/"+name))
		}
	}
	scripts, err := filepath.Glob(inRoot("static/*.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		code.WriteString(read(t, "static/"+filepath.Base(name)))
	}
	n := 0
	for _, page := range pages(t) {
		for _, shown := range record.FindAllString(read(t, page), -1) {
			n++
			for _, m := range attribute.FindAllStringSubmatch(shown, -1) {
				words := m[1] + m[2]
				if words != "http" && !regexp.MustCompile(`["']`+regexp.QuoteMeta(words)+`(["']|: )`).MatchString(code.String()) {
					t.Errorf("%s shows the log record\n\t%s\nbut no server writes %q, and no page. Copy the record.", page, shown, words)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page shows a log record.")
	}
	t.Logf("log records: %d", n)
}
