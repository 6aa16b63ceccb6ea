package programs

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What the command line says is what the program does. The tests are of the first
// program, which has three flags, of step 8, and of the last.
func TestCommandLine(t *testing.T) {
	type flagTest struct {
		flag string
		run  func(t *testing.T, program string)
	}
	first := []flagTest{{"addr", testAddr}, {"dev", testDev}, {"origin", testOrigin}}
	all := append(first, []flagTest{
		{"byte-rate", testByteRate},
		{"handshake-rate", testHandshakeRate},
		{"max-connections", testMostConnections},
		{"max-per-ip", testMaxPerIP},
		{"message-rate", testMessageRate},
		{"trusted-proxy", testTrustedProxy},
	}...)
	for _, folder := range []string{"01-upgrade", "08-limits", last} {
		flags := all
		if folder == "01-upgrade" {
			flags = first
		}
		t.Run(folder, func(t *testing.T) {
			program := buildServer(t, folder)
			code, help := outcome(t, program, "-h")
			if code != 0 {
				t.Errorf("-h: exit code %d; 0 is right", code)
			}
			var listed, tested []string
			for _, m := range regexp.MustCompile(`(?m)^  -(\S+)`).FindAllStringSubmatch(help, -1) {
				listed = append(listed, m[1])
			}
			for _, f := range flags {
				tested = append(tested, f.flag)
				t.Run(f.flag, func(t *testing.T) {
					t.Parallel() // most of them wait
					f.run(t, program)
				})
			}
			slices.Sort(tested)
			if !slices.Equal(listed, tested) {
				t.Errorf("-h lists %q, and this test knows %q", listed, tested)
			}
			refused := testRefusals(t, program, listed)
			t.Cleanup(func() {
				t.Logf("command line: %s: %d flags looked at, and %d wrong command lines, which got a sentence and exit code 2", folder, len(listed), refused)
			})
		})
	}
}

// testRefusals tries command lines that are wrong: each gets one sentence that names the
// flag. It returns how many there were.
func testRefusals(t *testing.T, program string, flags []string) int {
	limit, rate := []string{"-1", "1.5", "many", ""}, []string{"-1", "-0.5", "NaN", "Inf", "1e10", "many", ""}
	wrong := map[string][]string{
		"addr": {"nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:nonsense", "[::1"},
		"dev":  {"maybe"},
		"origin": {"", "*", "null", "chat.example.com", "https://*.example.com", "wss://chat.example.com", "https://bücher.example",
			"https://chat.example.com:443", "http://chat.example.com:80", "https://chat.example.com/", "https://chat.example.com/chat",
			"https://chat.example.com?a=b", "https://me@chat.example.com", "https://chat.example.com:"},
		"trusted-proxy":   {"", "nonsense", "10.0.0.1", "10.0.0.0/33", "::ffff:10.0.0.0/104"},
		"max-per-ip":      limit,
		"max-connections": limit,
		"handshake-rate":  rate,
		"message-rate":    rate,
		"byte-rate":       rate,
	}
	n := 0
	refused := func(names string, args ...string) {
		n++
		code, says := outcome(t, program, args...)
		if code < 0 {
			t.Fatalf("%q: the program has not ended, and says %q; it should exit with 2", args, says)
		}
		sentence, isLine := strings.CutSuffix(says, "\n")
		if code != 2 || !isLine || strings.Contains(sentence, "\n") || !strings.Contains(sentence, names) {
			t.Errorf("%q: exit code %d and %q; right is 2 and one line that has %s", args, code, says, names)
		}
	}
	for _, flag := range flags {
		for _, value := range wrong[flag] {
			refused("-"+flag, "-addr=127.0.0.1:0", "-"+flag+"="+value)
		}
	}
	refused("-addr", "-addr")
	refused("-nonsense", "-nonsense")
	refused("extra", "-addr=127.0.0.1:0", "extra")
	return n
}

// outcome runs a program that is to end by itself, and returns what it says and its exit
// code, which is -1 if it had to be killed.
func outcome(t *testing.T, program string, args ...string) (code int, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), output.String()
}

// answers demands the status that a handshake from an address gets. Where another try may
// help, it must say when.
func (p *process) answers(t *testing.T, want int, ip string, header http.Header) {
	t.Helper()
	conn, response, err := p.dial(ip, header)
	switch {
	case response == nil:
		t.Errorf("a handshake from %s with %v: %v; %d is right", ip, header, err, want)
	case response.StatusCode != want:
		t.Errorf("a handshake from %s with %v got %s; %d is right", ip, header, response.Status, want)
	case want == http.StatusTooManyRequests || want == http.StatusServiceUnavailable:
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("%s with Retry-After %q; it should be a number of seconds", response.Status, response.Header.Get("Retry-After"))
		}
	}
	if conn != nil {
		t.Cleanup(func() { conn.Close() })
	}
}

func origin(value string) http.Header { return http.Header{"Origin": {value}} }

func testAddr(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.7:0")
	if !strings.HasPrefix(server.addr, "127.0.0.7:") {
		t.Errorf("-addr 127.0.0.7:0 listens on %s", server.addr)
	}
	said(t, "hello", server.join(t, "127.0.0.2"))
	for _, addr := range []string{server.addr, "203.0.113.1:0"} { // a port in use, and an address of somebody else
		code, says := outcome(t, program, "-addr", addr)
		if code != 1 || strings.Count(says, "\n") != 1 || !strings.Contains(says, "-addr 127.0.0.1:0") {
			t.Errorf("-addr %s, which cannot be had: exit code %d and %q; right is 1 and one line that has -addr 127.0.0.1:0", addr, code, says)
		}
	}
}

func testDev(t *testing.T, program string) {
	evil := origin("https://evil.example")
	startProcess(t, program, "-addr", "127.0.0.1:0", "-dev").answers(t, http.StatusSwitchingProtocols, "127.0.0.2", evil)
	startProcess(t, program, "-addr", "127.0.0.1:0").answers(t, http.StatusForbidden, "127.0.0.2", evil)
}

func testOrigin(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-origin", "https://chat.example.com", "-origin", "http://app.example.com:8080")
	for value, want := range map[string]int{
		"https://chat.example.com":     101,
		"http://app.example.com:8080":  101,
		"http://" + server.addr:        101, // the server's own page
		"http://chat.example.com":      403,
		"https://app.example.com:8080": 403,
		"http://app.example.com":       403,
		"https://evil.example":         403,
		"null":                         403,
	} {
		server.answers(t, want, "127.0.0.2", origin(value))
	}
	server = startProcess(t, program, "-addr", "127.0.0.1:0")
	for host, want := range map[string]int{"chat.example.com:443": 101, "chat.example.com": 101, "chat.example.com:8443": 403, "evil.example:443": 403} {
		header := origin("https://chat.example.com")
		header.Set("Host", host) // as a proxy hands it on
		server.answers(t, want, "127.0.0.2", header)
	}
}

func testMaxPerIP(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-max-per-ip", "2")
	for range 2 {
		server.join(t, "127.0.0.2")
	}
	server.answers(t, http.StatusTooManyRequests, "127.0.0.2", nil)
	server.answers(t, http.StatusSwitchingProtocols, "127.0.0.3", nil)

	server = startProcess(t, program, "-addr", "127.0.0.1:0", "-max-per-ip", "0", "-handshake-rate", "0")
	for range 60 {
		server.join(t, "127.0.0.2")
	}
	startProcess(t, program, "-addr", "127.0.0.1:0", "-max-per-ip", "1000000000").join(t, "127.0.0.2")
}

func testMostConnections(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-max-connections", "1")
	server.join(t, "127.0.0.2")
	server.answers(t, http.StatusServiceUnavailable, "127.0.0.3", nil)

	server = startProcess(t, program, "-addr", "127.0.0.1:0", "-max-connections", "0")
	for n := range 60 {
		server.join(t, nth(n))
	}
}

func testHandshakeRate(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-handshake-rate", "0.01") // the next after 100 seconds
	server.join(t, "127.0.0.2").Close()
	server.answers(t, http.StatusTooManyRequests, "127.0.0.2", nil)
	server.answers(t, http.StatusSwitchingProtocols, "127.0.0.3", nil)

	server = startProcess(t, program, "-addr", "127.0.0.1:0", "-handshake-rate", "0", "-max-per-ip", "0")
	for range 60 {
		server.join(t, "127.0.0.2").Close()
	}
}

func testMessageRate(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-message-rate", "5")
	if took := conversation(t, server.join(t, "127.0.0.2"), "hello", 20); took < 2*time.Second { // 10 at once
		t.Errorf("-message-rate 5: 20 messages took %v; right is 2s", took)
	}
	server = startProcess(t, program, "-addr", "127.0.0.1:0", "-message-rate", "0")
	if took := conversation(t, server.join(t, "127.0.0.2"), "hello", 400); took > 15*time.Second {
		t.Errorf("-message-rate 0: 400 messages took %v, as if the limit were still there: then it would be 18s", took)
	}
}

func testByteRate(t *testing.T, program string) {
	largest := strings.Repeat("a", 32<<10)
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-byte-rate", "20000")
	took := conversation(t, server.join(t, "127.0.0.2"), largest, 1) + conversation(t, server.join(t, "127.0.0.2"), largest, 1)
	if took < time.Second { // 40 KB at once, for all connections of the address
		t.Errorf("-byte-rate 20000: 64 KiB took %v; right is 1.2s", took)
	}
	server = startProcess(t, program, "-addr", "127.0.0.1:0", "-byte-rate", "0", "-message-rate", "0")
	if took := conversation(t, server.join(t, "127.0.0.2"), largest, 150); took > 15*time.Second {
		t.Errorf("-byte-rate 0: 150 messages of 32 KiB took %v, as if the limit were still there: then it would be 17s", took)
	}
}

// conversation lets a peer talk to itself, and returns how long that took.
func conversation(t *testing.T, conn *websocket.Conn, text string, times int) time.Duration {
	t.Helper()
	began := time.Now()
	for range times {
		said(t, text, conn)
	}
	conn.Close() // so that nobody is said anything who does not listen any more
	return time.Since(began)
}

func testTrustedProxy(t *testing.T, program string) {
	server := startProcess(t, program, "-addr", "127.0.0.1:0", "-max-per-ip", "1", "-trusted-proxy", "127.0.0.9/32", "-trusted-proxy", "127.0.1.0/24")
	for _, try := range []struct {
		from, forwardedFor string
		want               int
	}{
		{"127.0.0.9", "192.0.2.1", http.StatusSwitchingProtocols},
		{"127.0.1.5", "192.0.2.1", http.StatusTooManyRequests}, // the same client through another proxy
		{"127.0.1.5", "192.0.2.2", http.StatusSwitchingProtocols},
		{"127.0.0.9", "192.0.2.9, 192.0.2.2", http.StatusTooManyRequests}, // what the client claims is no address
		{"127.0.0.8", "192.0.2.3", http.StatusSwitchingProtocols},         // no proxy: it counts itself
		{"127.0.0.8", "192.0.2.4", http.StatusTooManyRequests},
		{"127.0.0.9", "192.0.2.3", http.StatusSwitchingProtocols},
	} {
		server.answers(t, try.want, try.from, http.Header{"X-Forwarded-For": {try.forwardedFor}})
	}
}
