package contract

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes about the program and its command line, each with a
// process of its own.

// program starts the program with these flags.
func (t *trial) program(flags ...string) *wstest.Process {
	return wstest.StartProcess(t.T, t.about, "program", flags...)
}

// wantStatus demands that a handshake is answered with a status.
func wantStatus(p *wstest.Process, r wstest.Request, want int, why string) {
	got := p.Handshake(r)
	if got == want {
		return
	}
	cause := "the flag of the command line and the field of Config that it sets do not belong together; or a flag that may be repeated keeps its last value only."
	if got == http.StatusTooManyRequests {
		cause = "the cap, the rate or the burst of step 8 is lower than it should be, or counts all addresses together; or a flag sets another field of Limits."
	}
	p.FailBecause(cause, "the handshake was answered with %d. It should be %d: %s.", got, want, why)
}

// originFlags tries -origin and -dev.
func originFlags(t *trial) {
	page := func(origin string) wstest.Request { return wstest.Request{Header: http.Header{"Origin": {origin}}} }
	p := t.program()
	if p.Handshake(wstest.Request{}) == 0 {
		return // it answers nobody, since its timeouts have no unit: that is the matter of 1.4
	}
	wantStatus(p, page("https://evil.example"), http.StatusForbidden, "no flag lets that page in")
	wantStatus(p, wstest.Request{}, http.StatusSwitchingProtocols, "a program is no page")
	p = t.program("-origin", "https://one.example", "-origin", "https://two.example:8443")
	wantStatus(p, page("https://one.example"), http.StatusSwitchingProtocols, "the first -origin lists it")
	wantStatus(p, page("https://two.example:8443"), http.StatusSwitchingProtocols, "the second -origin lists it")
	wantStatus(p, page("https://evil.example"), http.StatusForbidden, "no -origin lists it")
	p = t.program("-dev")
	wantStatus(p, page("https://evil.example"), http.StatusSwitchingProtocols, "-dev lets any page in")
}

// What a flag of step 8 does is tried where it is promised: who has not come to the
// next task yet need not have its flags.
const (
	letIn   = http.StatusSwitchingProtocols
	tooMany = http.StatusTooManyRequests
)

// capFlags tries -max-per-ip, and that 0 lifts it.
func capFlags(t *trial) {
	p := t.program("-max-per-ip", "2")
	wantStatus(p, wstest.Request{}, letIn, "it is the first of two")
	wantStatus(p, wstest.Request{}, letIn, "it is the second of two")
	wantStatus(p, wstest.Request{}, tooMany, "-max-per-ip is 2")

	p = t.program("-max-per-ip", "0", "-handshake-rate", "0")
	for i := range 2 * maxPerIP {
		wantStatus(p, wstest.Request{}, letIn, fmt.Sprintf("it is number %d, and no limit holds", i+1))
	}
}

// handshakeFlags tries -handshake-rate.
func handshakeFlags(t *trial) {
	p := t.program("-handshake-rate", "0.25")
	wantStatus(p, wstest.Request{}, letIn, "four seconds' worth at once is one handshake")
	wantStatus(p, wstest.Request{}, tooMany, "-handshake-rate is 0.25")
}

// messageFlags tries -message-rate.
func messageFlags(t *trial) {
	// Two seconds' worth is one message. The next is due in ten seconds.
	p := t.program("-message-rate", "0.1", "-max-per-ip", "5")
	for range 3 {
		wantStatus(p, wstest.Request{}, letIn, "-message-rate is no rate of handshakes")
	}
	ann := p.Connect("ann") // she has sent her one message
	ann.Send("too many")
	p.Connect("bob") // he has sent his, and it has come back
	if ann.HasTextBy("bob is here", "too many") {
		p.FailBecause("the flag sets another field of Limits.", "ann's second message came back at once, although -message-rate is 0.1.")
	}
}

// proxyFlags tries -trusted-proxy.
func proxyFlags(t *trial) {
	p := t.program("-trusted-proxy", "127.0.0.1/32", "-trusted-proxy", "10.9.9.0/24", "-max-per-ip", "1")
	behind := func(hops string) wstest.Request {
		return wstest.Request{Header: http.Header{"X-Forwarded-For": {hops}}}
	}
	wantStatus(p, behind("203.0.113.1"), letIn, "it is the first of its address")
	wantStatus(p, behind("203.0.113.2, 10.9.9.9"), letIn, "it is the first of its address: both proxies are trusted")
	wantStatus(p, behind("203.0.113.2"), tooMany, "it is the second of its address, and -max-per-ip is 1")
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// idsOfTwoProcesses demands that a program that was restarted gives other ids.
func idsOfTwoProcesses(t *trial) {
	seen := make(map[string]bool)
	for range 2 {
		p := t.program()
		p.Connect("ann")
		id := uuids.FindString(p.WaitLine(uuids))
		if seen[id] {
			p.FailBecause("the random numbers behind the ids are the same in each process: leave the source of google/uuid as it is.",
				"two processes have given the same id to their first client: %s.", id)
		}
		seen[id] = true
	}
}

// answerUnderWay lets a request of HTTP be under way when the signal comes. A machine
// that is very busy may not have begun to read it by then, and then net/http does not
// answer it: one good end of three will do.
func answerUnderWay(t *trial, end func(*wstest.Process)) {
	for try := 1; ; try++ {
		p := t.program()
		if answeredUnderWay(p, end) {
			return
		}
		if try == 3 {
			p.FailBecause("the http.Server is closed with Close, which cuts off what is under way. Its Shutdown lets it end.",
				"the request was under way when the signal came, and was not answered.")
		}
	}
}

// answeredUnderWay is one try of answerUnderWay.
func answeredUnderWay(p *wstest.Process, end func(*wstest.Process)) bool {
	conn := p.Dial("a browser")
	p.Did("it asks for /online, and the body of this request is still on its way")
	fmt.Fprint(conn, "GET /online HTTP/1.1\r\nHost: server.example\r\nContent-Length: 4\r\n\r\n")
	ann := p.Connect("ann") // by now the request has arrived, too
	end(p)
	ann.WantClose(1001)
	for p.Handshake(wstest.Request{Plain: true}) != 0 {
		// Nobody listens any more when the http.Server is being closed.
	}
	p.Did("the browser sends the body")
	fmt.Fprint(conn, "body")
	var answer strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		answer.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return strings.HasPrefix(answer.String(), "HTTP/1.1 200")
}
