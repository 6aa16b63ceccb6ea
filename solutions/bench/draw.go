package main

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A column of a table shows a figure's median over the rounds or, if ratio is set,
// the median of its ratios to gorilla's chat in the same round.
type column struct {
	title  string
	figure string
	format string
	ratio  bool
}

// fanOutColumns are the columns for both scenarios of fan-out.
var fanOutColumns = []column{
	{"deliveries a second", "per second", "%.0f", false}, {"to chat", "per second", "%.2f", true},
	{"server CPU each", "server ns each", "%.0f ns", false}, {"to chat", "server ns each", "%.2f", true},
	{"generator CPU each", "load ns each", "%.0f ns", false},
	{"expected", "expected", "%.0f", false}, {"lost", "lost", "%.0f", false}, {"evicted", "evicted", "%.0f", false},
}

// burstColumns are the columns for the scenarios in which all is sent at once.
var burstColumns = []column{
	{"expected", "expected", "%.0f", false}, {"delivered", "delivered", "%.0f", false},
	{"lost", "lost", "%.0f", false}, {"evicted", "evicted", "%.0f", false}, {"server CPU each", "server ns each", "%.0f ns", false},
}

// tables are the columns for each scenario.
var tables = map[string][]column{
	"fanout": fanOutColumns,
	"deep":   fanOutColumns,
	"rate": {
		{"p50", "p50 us", "%.0f µs", false}, {"p99", "p99 us", "%.0f µs", false}, {"p99 to chat", "p99 us", "%.2f", true},
		{"server CPU each", "server ns each", "%.0f ns", false}, {"to chat", "server ns each", "%.2f", true},
		{"expected", "expected", "%.0f", false}, {"lost", "lost", "%.0f", false}, {"evicted", "evicted", "%.0f", false},
	},
	"burst":  burstColumns,
	"each":   burstColumns,
	"each1k": burstColumns,
	"each40": burstColumns,
	"large":  burstColumns,
	"flood": {
		{"expected", "expected", "%.0f", false}, {"delivered", "delivered", "%.0f", false}, {"evicted", "evicted", "%.0f", false},
		{"lost by those who stayed", "lost by those who stayed", "%.0f", false}, {"highest RSS", "peak MB", "%.0f MB", false},
	},
	"slow": {
		{"p99, all reading", "p99 us, all reading", "%.0f µs", false}, {"p99, five not", "p99 us", "%.0f µs", false}, {"second to first", "p99 ratio", "%.2f", false},
		{"lost by the healthy", "lost", "%.0f", false}, {"healthy evicted", "evicted", "%.0f", false}, {"stalled cut off", "stalled cut off", "%.0f of 5", false},
	},
	"churn": {
		{"connections a second", "per second", "%.0f", false}, {"to chat", "per second", "%.2f", true},
		{"server CPU each", "server us each", "%.0f µs", false}, {"to chat", "server us each", "%.2f", true},
		{"p50", "p50 us", "%.0f µs", false}, {"p99", "p99 us", "%.0f µs", false}, {"failed", "failed", "%.0f", false},
	},
	"many": {
		{"idle", "idle bytes each", "%.0f B", false}, {"to chat", "idle bytes each", "%.2f", true}, {"after a message", "bytes each after a message", "%.0f B", false}, {"to chat", "bytes each after a message", "%.2f", true},
		{"told goodbye", "told", "%.0f", false}, {"last told", "last told ms", "%.0f ms", false}, {"last gone", "last gone ms", "%.0f ms", false}, {"process ended", "process ended ms", "%.0f ms", false},
	},
}

// pictures are bar charts of one column of a scenario.
var pictures = []struct {
	file, scenario, title string
	column                column
}{
	{"performance-fanout.svg", "fanout", "Deliveries a second, gorilla's chat = 1 (more is better)", column{figure: "per second", format: "%.2f", ratio: true}},
	{"performance-cpu.svg", "fanout", "Server CPU for a delivery, gorilla's chat = 1 (less is better)", column{figure: "server ns each", format: "%.2f", ratio: true}},
	{"performance-idle.svg", "many", "Memory of an idle connection, gorilla's chat = 1 (less is better)", column{figure: "idle bytes each", format: "%.2f", ratio: true}},
}

// draw replaces the tables in performance.md, each between <!-- bench: NAME -->
// and <!-- /bench -->, and writes the pictures next to it.
func draw(file, docs string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all results
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	page := filepath.Join(docs, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	drawn, err := fill(string(old), func(name string) string {
		if name == "machine" {
			return all.machine()
		}
		return all.table(name)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(drawn), 0o666); err != nil {
		return err
	}
	for _, p := range pictures {
		if err := os.WriteFile(filepath.Join(docs, p.file), []byte(all.bars(p.scenario, p.title, p.column)), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// fill puts what content returns for a name between the marks of that name.
func fill(page string, content func(name string) string) (string, error) {
	const begin, end, after = "<!-- bench: ", " -->\n", "<!-- /bench -->"
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(page, begin)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, rest, ok := strings.Cut(rest, end)
		_, next, closed := strings.Cut(rest, after)
		if !ok || !closed {
			return "", fmt.Errorf("%s%s has no end", begin, name)
		}
		out.WriteString(begin + name + end + content(name) + after)
		page = next
	}
}

func (all results) machine() string {
	return fmt.Sprintf("Measured on %s: %d processors, Linux %s, %s, %d rounds, %.0f seconds in all. Load average of the minute before, which is the bench's own from the second round on: %s.\n",
		all.Date, all.CPUs, all.Kernel, all.Go, all.Rounds, all.Seconds, strings.Join(all.Loads, ", "))
}

// table returns the markdown table of a scenario.
func (all results) table(scenario string) string {
	columns := tables[scenario]
	var out strings.Builder
	out.WriteString("| |")
	for _, c := range columns {
		out.WriteString(" " + c.title + " |")
	}
	out.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(columns)) + "\n")
	for _, peer := range all.Peers {
		out.WriteString("| " + peer + " |")
		for _, c := range columns {
			out.WriteString(" " + c.text(all.median(scenario, peer, c)) + " |")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func (c column) text(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf(c.format, v)
}

// median returns the median over the rounds, NaN if a round has failed or has no
// such figure.
func (all results) median(scenario, peer string, c column) float64 {
	var values []float64
	for round := range all.Rounds {
		v := all.figure(round+1, scenario, peer, c.figure)
		if c.ratio {
			v /= all.figure(round+1, scenario, chat, c.figure)
		}
		values = append(values, v)
	}
	if len(values) == 0 || slices.ContainsFunc(values, math.IsNaN) {
		return math.NaN()
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func (all results) figure(round int, scenario, peer, name string) float64 {
	for _, m := range all.Measured {
		if m.Round == round && m.Scenario == scenario && m.Peer == peer && m.Error == "" {
			if v, ok := m.Figures[name]; ok {
				return v
			}
		}
	}
	return math.NaN()
}

// bars returns a bar chart as SVG.
func (all results) bars(scenario, title string, c column) string {
	const row, left, width = 26, 150, 420
	longest := 0.0
	for _, peer := range all.Peers {
		if v := all.median(scenario, peer, c); v > longest {
			longest = v
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", left+width+60, row*(len(all.Peers)+2))
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="22" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	for i, peer := range all.Peers {
		v, y, color := all.median(scenario, peer, c), row*(i+2), "#9aa7b4"
		if peer == peers[0].name || peer == peers[1].name { // the workshop's own
			color = "#1b6ac9"
		}
		length := 0.0
		if v > 0 {
			length = width * v / longest
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
			left-8, y, html.EscapeString(peer), left, y-13, length, color, left+length+6, y, c.text(v))
	}
	out.WriteString("</svg>\n")
	return out.String()
}
