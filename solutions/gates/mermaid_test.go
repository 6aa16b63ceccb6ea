package gates

import (
	"regexp"
	"strings"
	"testing"
)

// diagrams are the kinds of diagram that the pages have, and what their lines may
// be: the part of Mermaid that is used here. A line that opens a part is closed by
// a line with end.
var diagrams = map[string]*regexp.Regexp{
	"flowchart LR": flowchart,
	"flowchart TD": flowchart,
	"sequenceDiagram": regexp.MustCompile(`^(participant \w+( as [^;#]+)?` +
		`|\w+(->>|-->>|-x|--x)\w+: [^;#]+` +
		`|Note over \w+(,\w+)?: [^;#]+|(alt|else|opt|loop) [^;#]+|end)$`),
	"stateDiagram-v2": regexp.MustCompile(`^(\w+|\[\*\]) --> (\w+|\[\*\])(: [^;#:]+)?$`),
}

// A node of a flowchart is a name, and may have a text: in quotes as soon as there
// are brackets in it.
const (
	plain = `[^"()\[\]{}|;]+`
	node  = `\w+(\(\("[^"]+"\)\)|\[\("[^"]+"\)\]|\["[^"]+"\]|\[` + plain + `\]|\{` + plain + `\})?`
	arrow = `(-->|-\.->)(\|("[^"]+"|` + plain + `)\|)?|-- ` + plain + ` -->`
)

var (
	flowchart = regexp.MustCompile(`^(` + node + `( ?(` + arrow + `) ?` + node + `)*|subgraph \w+(\["[^"]+"\])?|end)$`)
	opens     = regexp.MustCompile(`^(subgraph|alt|opt|loop) `)
	actor     = regexp.MustCompile(`^(\w+)-+(?:>>|x)(\w+):|^Note over (\w+)(?:,(\w+))?:`)
)

// Each diagram is one that Mermaid can draw, as far as lines tell: its kind and its
// arrows are known, its brackets and parts are closed, and who takes part is said.
func TestDiagramsParse(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.info != "mermaid" {
				continue
			}
			n++
			kind := append(b.lines, "")[0]
			grammar := diagrams[kind]
			if grammar == nil {
				t.Errorf("%s:%d: %q begins no diagram that the pages have. Correct it, or add it to solutions/gates/mermaid_test.go.", page, b.at+1, kind)
				continue
			}
			depth, declared := 0, make(map[string]bool)
			for i, line := range b.lines[1:] {
				line = strings.TrimSpace(line)
				if !grammar.MatchString(line) {
					t.Errorf("%s:%d: this is no line of a %s: %s", page, b.at+2+i, kind, line)
				}
				if opens.MatchString(line) {
					depth++
				} else if line == "end" {
					depth--
				}
				if name, ok := strings.CutPrefix(line, "participant "); ok {
					declared[strings.Fields(name)[0]] = true
				}
				for _, name := range actor.FindStringSubmatch(line) {
					if regexp.MustCompile(`^\w+$`).MatchString(name) && !declared[name] {
						t.Errorf("%s:%d: %s is no participant. Write a line %q above.", page, b.at+2+i, name, "participant "+name)
					}
				}
			}
			if depth != 0 {
				t.Errorf("%s:%d: as many lines must be %q as there are subgraphs and alternatives.", page, b.at, "end")
			}
		}
	}
	t.Logf("diagrams: %d", n)
}
