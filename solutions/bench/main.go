// This program measures the last solution beside other servers. Linux only.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const usage = `go run . run     measures, and writes what it has measured to results.json
go run . draw    draws ../../docs/performance.md's tables and pictures from it
Flags:
`

// results are what a whole run has measured.
type results struct {
	Date      string
	Go        string
	Kernel    string
	CPUs      int
	Loads     []string // average of the minute before each round
	Rounds    int
	Seconds   float64 // how long it took
	Measured  []measured
	Scenarios []string // in the order of the page
	Peers     []string
}

// measured is what one scenario has measured of one peer in one round.
type measured struct {
	Round    int
	Scenario string
	Peer     string
	Error    string `json:",omitempty"`
	Figures  figures
}

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	file := flags.String("file", "results.json", "the `file` that run writes and draw reads")
	rounds := flags.Int("rounds", 3, "how many `times` run measures everything")
	limit := flags.Duration("limit", 30*time.Minute, "how `long` run may take: it begins no round that would not end in time")
	onlyScenarios := flags.String("scenarios", "", "only these, such as `fanout,many`")
	onlyPeers := flags.String("peers", "", "only those whose names contain one of these, such as `08,chat`")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	switch verb {
	case "run":
		return measureAll(*file, *rounds, *limit, chosen(*onlyScenarios), chosen(*onlyPeers))
	case "draw":
		return draw(*file, "../../docs")
	}
	flags.Usage()
	return errors.New("run or draw?")
}

// chosen returns a function that tells whether a name is one of a list.
func chosen(list string) func(name string) bool {
	parts := strings.Split(list, ",")
	return func(name string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
}

// measureAll runs each scenario with each peer, one after the other, in each
// round. In each round another peer is first. If one more round as long as the last
// would exceed the limit, it leaves it out.
func measureAll(file string, rounds int, limit time.Duration, scenarioChosen, peerChosen func(string) bool) error {
	begun := time.Now()
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)

	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return err
	}
	all := results{
		Date: begun.Format(time.DateOnly), Go: runtime.Version(), Kernel: unix.ByteSliceToString(kernel.Release[:]),
		CPUs: runtime.NumCPU(),
	}
	var contestants []peer
	for _, p := range peers {
		if peerChosen(p.name) {
			if err := p.build(folder); err != nil {
				return err
			}
			contestants = append(contestants, p)
			all.Peers = append(all.Peers, p.name)
		}
	}
	for _, s := range scenarios {
		if scenarioChosen(s.name) {
			all.Scenarios = append(all.Scenarios, s.name)
		}
	}
	var last time.Duration
	for round := range rounds {
		roundBegun := time.Now()
		if roundBegun.Sub(begun)+last > limit {
			break
		}
		load, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			return err
		}
		all.Loads = append(all.Loads, strings.Fields(string(load))[0])
		for _, s := range scenarios {
			if !scenarioChosen(s.name) {
				continue
			}
			for i := range contestants {
				p := contestants[(i+round)%len(contestants)]
				m := measured{Round: round + 1, Scenario: s.name, Peer: p.name, Figures: figures{}}
				if err := p.measure(folder, s, m.Figures); err != nil {
					m.Error = err.Error()
				}
				// What was divided by no deliveries at all is no figure, and no JSON.
				maps.DeleteFunc(m.Figures, func(_ string, v float64) bool { return math.IsInf(v, 0) || math.IsNaN(v) })
				fmt.Printf("%d %-7s %-19s %s%s\n", m.Round, m.Scenario, m.Peer, m.Error, m.Figures)
				all.Measured = append(all.Measured, m)
			}
		}
		all.Rounds, last = round+1, time.Since(roundBegun)
	}
	all.Seconds = time.Since(begun).Seconds()
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o666)
}

// measure runs one scenario with a fresh process of p.
func (p peer) measure(folder string, s scenario, into figures) error {
	server, err := p.start(folder)
	if err != nil {
		return err
	}
	defer server.kill()
	l, err := newLoad(server.port, p.dialect, messageSize)
	if err != nil {
		return err
	}
	defer l.close()
	return s.run(&run{load: l, server: server, figures: into})
}

// String lists the figures by name.
func (f figures) String() string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %.6g", name, f[name])
	}
	return strings.Join(names, ", ")
}
