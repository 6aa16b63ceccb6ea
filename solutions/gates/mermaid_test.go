package gates

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mermaid is the package that holds Mermaid's own parser. It is a script for a
// browser.
const mermaid = "mermaid@11.17.2"

// parsePage is a page that lets Mermaid parse some diagrams, and then has its complaints
// in it: an empty one for each that is right.
const parsePage = `<!doctype html>
<script src="mermaid.min.js"></script>
<script type="module">
const complaints = [];
for (const diagram of %s) {
	try {
		await mermaid.parse(diagram);
		complaints.push('');
	} catch (err) {
		complaints.push(err.message);
	}
}
const pre = document.createElement('pre');
pre.textContent = JSON.stringify(complaints);
document.body.append(pre);
</script>
`

// Each diagram is one that Mermaid can draw.
func TestDiagramsParse(t *testing.T) {
	authorsTool(t, "npm", "npm")
	authorsTool(t, "chromium", "chromium")
	var diagrams []block
	texts := []string{"flowchart LR\n  a --> \n"} // the first is wrong: does the parser tell?
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.info == "mermaid" {
				diagrams = append(diagrams, b)
				texts = append(texts, strings.Join(b.lines, "\n"))
			}
		}
	}
	complaints := parseDiagrams(t, texts)
	if len(complaints) != len(texts) || complaints[0] == "" {
		t.Fatalf("of %d diagrams, of which the first is wrong, Mermaid says %q", len(texts), complaints)
	}
	for i, b := range diagrams {
		if complaint := complaints[i+1]; complaint != "" {
			t.Errorf("%s:%d: Mermaid cannot draw this: %s", b.page, b.at, complaint)
		}
	}
	t.Logf("diagrams: %d parsed by %s", len(diagrams), mermaid)
}

// parseDiagrams lets Mermaid parse texts in a browser, and returns its complaints.
func parseDiagrams(t *testing.T, texts []string) (complaints []string) {
	dir := t.TempDir()
	pack := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--prefer-offline", mermaid)
	pack.Dir = dir
	if output, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pack, err, output)
	}
	script := unpack(t, filepath.Join(dir, strings.Replace(mermaid, "@", "-", 1)+".tgz"), "package/dist/mermaid.min.js")
	data, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "parse.html")
	for name, text := range map[string][]byte{filepath.Join(dir, "mermaid.min.js"): script, page: fmt.Appendf(nil, parsePage, data)} {
		if err := os.WriteFile(name, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// Virtual time: the browser prints the page when all of its scripts are done.
	browser := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--virtual-time-budget=600000", "--dump-dom", "file://"+page)
	dom, err := browser.Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	m := regexp.MustCompile(`(?s)<pre>(.*)</pre>`).FindSubmatch(dom)
	if m == nil {
		t.Fatalf("%s has printed no complaints:\n%s", browser, tail(string(dom), 20))
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &complaints); err != nil {
		t.Fatal(err)
	}
	return complaints
}

// unpack returns a file of a package of npm.
func unpack(t *testing.T, archive, name string) []byte {
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(zip); ; {
		header, err := files.Next()
		if err != nil {
			t.Fatalf("%s in %s: %v", name, archive, err)
		}
		if header.Name == name {
			data, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
}
