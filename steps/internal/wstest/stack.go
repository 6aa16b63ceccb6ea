package wstest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// goroutine is one entry of a goroutine dump.
type goroutine struct {
	state   string // "select", "sync.Mutex.Lock", "running", ...
	durable bool   // blocked in a way that only its own bubble can end
	bubble  string // "synctest bubble 1", or "" outside
	frames  []frame
	started frame // the go statement; may be empty
}

type frame struct {
	function string // "example.com/wsworkshop/steps/02-pumps.(*Client).readPump"
	file     string
	line     string
}

// goroutines returns a dump of all goroutines, or only of the current one.
func goroutines(all bool) []goroutine {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, all)
		if n < len(buf) {
			return parseDump(string(buf[:n]))
		}
		buf = make([]byte, 2*len(buf))
	}
}

var (
	dumpHeader = regexp.MustCompile(`^goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[([^\]]*)\]:$`)
	dumpPlace  = regexp.MustCompile(`^\t(.*):(\d+)(?: \+0x[0-9a-f]+)?$`)
)

// parseDump reads the text format of [runtime.Stack].
func parseDump(dump string) []goroutine {
	var all []goroutine
	for block := range strings.SplitSeq(dump, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		header := dumpHeader.FindStringSubmatch(lines[0])
		if header == nil {
			continue
		}
		var g goroutine
		for i, part := range strings.Split(header[1], ", ") {
			switch {
			case i == 0:
				g.state, g.durable = strings.CutSuffix(part, " (durable)")
			case strings.HasPrefix(part, "synctest bubble"):
				g.bubble = part
			}
		}
		for i := 1; i+1 < len(lines); i += 2 {
			place := dumpPlace.FindStringSubmatch(lines[i+1])
			if place == nil {
				break
			}
			f := frame{file: place[1], line: place[2]}
			if name, ok := strings.CutPrefix(lines[i], "created by "); ok {
				f.function, _, _ = strings.Cut(name, " in goroutine ")
				g.started = f
				break
			}
			f.function = lines[i]
			if open := strings.LastIndex(f.function, "("); open > 0 {
				f.function = f.function[:open]
			}
			g.frames = append(g.frames, f)
		}
		all = append(all, g)
	}
	return all
}

// ofBubble returns the goroutines of the given bubble.
func ofBubble(bubble string, all []goroutine) []goroutine {
	var in []goroutine
	for _, g := range all {
		if g.bubble == bubble {
			in = append(in, g)
		}
	}
	return in
}

// module is the path that begins the names of the workshop's packages.
const module = "example.com/wsworkshop/"

// own reports whether f belongs to the server under test, not to the standard
// library, to a module, to the bench or to the contracts.
func (f frame) own() bool {
	if strings.HasPrefix(f.function, module+"steps/internal/wstest.") || strings.HasPrefix(f.function, module+"steps/contract.") {
		return false
	}
	if strings.HasSuffix(f.file, "_test.go") {
		return false // the test that reaches the server for the contracts
	}
	return strings.HasPrefix(f.function, module) || strings.HasPrefix(f.function, "main.")
}

// name returns the function as its author wrote it: "(*Client).readPump".
func (f frame) name() string {
	name := f.function[strings.LastIndex(f.function, "/")+1:]
	if _, after, ok := strings.Cut(name, "."); ok {
		name = after
	}
	return name
}

// receiver returns the type of a method, "(*Client)", or "" of a function.
func (f frame) receiver() string {
	if receiver, _, ok := strings.Cut(f.name(), ")."); ok {
		return receiver + ")"
	}
	return ""
}

// String returns the function and its place: "(*Client).readPump (client.go:161)".
func (f frame) String() string {
	return fmt.Sprintf("%s (%s:%s)", f.name(), filepath.Base(f.file), f.line)
}

// where returns the innermost frame of the server under test.
func (g goroutine) where() (frame, bool) {
	for _, f := range g.frames {
		if f.own() {
			return f, true
		}
	}
	return g.started, g.started.own()
}

// calls returns the innermost frame of the server under test and the two that led
// there, or "".
func (g goroutine) calls() string {
	var own []string
	for _, f := range g.frames {
		if f.own() && len(own) < 3 {
			own = append(own, f.String())
		}
	}
	if len(own) == 0 && g.started.own() {
		own = append(own, g.started.String())
	}
	return strings.Join(own, ", called by ")
}

// moves reports whether the goroutine is not blocked at all.
func (g goroutine) moves() bool {
	return g.state == "running" || g.state == "runnable" || g.state == "syscall"
}

// in reports whether a function whose name ends so is on the stack.
func (g goroutine) in(suffix string) bool {
	for _, f := range g.frames {
		if strings.HasSuffix(f.function, suffix) {
			return true
		}
	}
	return false
}

// doing says in words what the goroutine is doing.
func (g goroutine) doing() string {
	switch {
	case g.moves():
		return "running"
	case g.in("wstest.(*serverConn).Write"):
		return "blocked in a write to a peer"
	case g.in("wstest.(*serverConn).Read"):
		return "blocked in a read from a peer"
	}
	switch g.state {
	case "chan receive", "chan receive (nil chan)":
		return "waiting to receive from a channel"
	case "chan send", "chan send (nil chan)":
		return "waiting to send on a channel"
	case "select", "select (no cases)":
		return "waiting in a select"
	case "sync.Mutex.Lock", "sync.RWMutex.Lock", "sync.RWMutex.RLock", "semacquire":
		return "waiting for a lock"
	case "sync.WaitGroup.Wait":
		return "waiting for a WaitGroup"
	case "sync.Cond.Wait":
		return "waiting for a sync.Cond"
	case "sleep":
		return "sleeping"
	}
	return "in state " + g.state
}

// leftBehind says in one line where a goroutine of the server is that should have
// ended.
func (g goroutine) leftBehind() string {
	where, _ := g.where()
	if where == g.started {
		return fmt.Sprintf("a goroutine, %s; started by %s", g.doing(), g.started)
	}
	line := fmt.Sprintf("%s, %s", where, g.doing())
	if g.started.own() {
		line += fmt.Sprintf("; started by %s", g.started)
	}
	return line
}
