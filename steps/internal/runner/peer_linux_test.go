package runner

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// server starts the server of a folder of the clone, and returns it with the
// address of its WebSocket.
func (s *session) server(folder string, args ...string) (server *running, url string) {
	s.Helper()
	program := filepath.Join(s.TempDir(), "server")
	build(s.T, s.root, "./"+folder, program)
	server = start(s.T, exec.Command(program, append([]string{"-addr", "127.0.0.1:0"}, args...)...))
	log := server.match(s.T, regexp.MustCompile(`msg=listening url=http://(\S+)\n`))
	return server, "ws://" + log[1] + "/ws"
}

// peer starts a bad peer, and returns it with its id in the server's log.
func (s *session) peer(server *running, url string, args ...string) (peer *running, id string) {
	s.Helper()
	peer = s.start(append([]string{"peer", "-url", url}, args...)...)
	peer.until(s.T, "s  connected from 127.0.0.1:")
	return peer, server.match(s.T, regexp.MustCompile(`msg=connected .*id=(\S+)`))[1]
}

func TestBadPeersAgainstTheLastServer(t *testing.T) {
	if !*long {
		t.Skip("it takes a while: go test ./steps/internal/runner -long")
	}
	s := newSession(t)
	for _, test := range []struct {
		name string
		run  func(*session)
	}{
		{"a peer that stalls is cut off", (*session).stall},
		{"a peer that floods is slowed", (*session).flood},
		{"a peer that stalls or vanishes is noticed", (*session).vanish},
		{"a shutdown reaches a peer that vanishes", (*session).vanishAtTheEnd},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&session{T: t, root: s.root, program: s.program})
		})
	}
}

func (s *session) stall() {
	server, url := s.server("solutions/08-limits", "-message-rate", "0", "-byte-rate", "0")
	peer, id := s.peer(server, url, "-stall")

	// Somebody else sends to all until then, and waits for each message to come back.
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		s.Fatal(err)
	}
	defer conn.Close()
	cut := regexp.MustCompile(`msg=disconnected .*id=` + id + ` code=1006 reason="(send queue is full|write: .*i/o timeout)"\n`)
	message := make([]byte, 32<<10)
	for n := 0; server.take(cut) == nil; n++ {
		if n == 10000 { // ten times what the buffers on the way can hold
			s.Fatalf("%d messages are on their way to a peer that reads nothing", n)
		}
		if err := conn.WriteMessage(websocket.BinaryMessage, message); err != nil {
			s.Fatal(err)
		}
		if _, _, err := conn.ReadMessage(); err != nil {
			s.Fatal(err)
		}
	}
	peer.interrupt(s.T)
	peer.end(s.T, 0)
}

func (s *session) flood() {
	const rate, burst = 20, 40 // of the server
	server, url := s.server("solutions/08-limits")
	peer, id := s.peer(server, url, "-flood", "-rate", "200")
	count := regexp.MustCompile(`(\d+\.\d) s  (\d+) sent, (\d+) came back\n`)
	for back := 0.0; back < 2*burst; { // twice what it may send at once
		line := peer.match(s.T, count)
		seconds, sent := number(s.T, line[1]), number(s.T, line[2])
		back = number(s.T, line[3])
		// The time is told rounded to a tenth.
		if most := burst + rate*(seconds+0.05) + 1; back > most || back > sent {
			s.Fatalf("after %.1f s %.0f of %.0f messages have come back, and at most %.0f should", seconds, back, sent, most)
		}
	}
	peer.interrupt(s.T)
	peer.end(s.T, 0)
	server.until(s.T, "id="+id+" code=")
}

// vanish plays with a server that pings each second instead of each minute.
func (s *session) vanish() {
	s.solve(8)
	s.edit(8, "client.go", "pongWait = 60 * time.Second", "pongWait = 2 * time.Second", "pingPeriod = 54 * time.Second", "pingPeriod = time.Second")
	server, url := s.server("steps/08-limits")
	stalled, id := s.peer(server, url, "-stall")
	server.match(s.T, regexp.MustCompile(`msg=disconnected .*id=`+id+` code=1006 reason="read: .*i/o timeout"\n`))
	stalled.interrupt(s.T)
	stalled.end(s.T, 0)

	peer, id := s.peer(server, url, "-vanish")
	peer.until(s.T, "s  a ping, which gets no pong\n")
	server.match(s.T, regexp.MustCompile(`msg=disconnected .*id=`+id+` code=1006 reason="read: .*i/o timeout"\n`))
	last := peer.match(s.T, regexp.MustCompile(` (\d+\.\d) s  the server cut the connection, without a close frame\n`))
	if at := number(s.T, last[1]); at < 1.9 {
		s.Errorf("it was cut off after %.1f s, although it may be silent for 2 s", at)
	}
	peer.end(s.T, 0)
}

func (s *session) vanishAtTheEnd() {
	server, url := s.server("solutions/08-limits")
	peer, id := s.peer(server, url, "-vanish")
	server.interrupt(s.T)
	peer.until(s.T, "the server closed the connection: 1001 server is shutting down\n")
	server.until(s.T, "id="+id+" code=1001")
	server.end(s.T, 0)
	peer.end(s.T, 0)
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPeerSaysWhatIsWrongWithItsCommandLine(t *testing.T) {
	root, program := thisProgram(t)
	for _, test := range []struct{ args, says string }{
		{"", "peer: what is it to do? One of -stall, -vanish and -flood."},
		{"-stall -flood", "peer: what is it to do? One of -stall, -vanish and -flood."},
		{"-sleep", "peer: flag provided but not defined: -sleep."},
		{"-flood 100", `peer: what is "100"?`},
		{"-flood -rate 0", "peer: a rate of 0 messages a second is not one of 1 to 1000000."},
		{"-flood -rate 1000001", "peer: a rate of 1000001 messages a second is not one of 1 to 1000000."},
		{"-flood -rate fast", `peer: invalid value "fast" for flag -rate: parse error.`},
		{"-stall -url http://127.0.0.1:8080/ws", `peer: "http://127.0.0.1:8080/ws" is not the address of a WebSocket, such as ws://127.0.0.1:8080/ws.`},
		{"-stall -url 127.0.0.1:8080", `peer: "127.0.0.1:8080" is not the address of a WebSocket, such as ws://127.0.0.1:8080/ws.`},
	} {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"peer"}, strings.Fields(test.args)...)...)
		cmd.Dir = root
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		output, _ := cmd.Output() // the exit code tells
		want := test.says + "\nMore: go run ./steps help peer\n"
		if code := cmd.ProcessState.ExitCode(); code != 2 || complaint.String() != want || len(output) > 0 {
			t.Errorf("peer %s: exit code %d, want 2; it says\n%s%s\nwant\n%s", test.args, code, output, complaint.Bytes(), want)
		}
	}
}
