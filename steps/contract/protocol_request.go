package contract

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	firstLine  = "GET /ws HTTP/1.1"
	exampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // of section 1.3
	otherKey   = "/////////////////////w=="
)

// handshake returns a request: the usual headers, or in their place the given
// ones of the same name. One without a colon is left out.
func handshake(first string, headers ...string) []byte {
	name := func(header string) string { return strings.ToLower(strings.SplitN(header, ":", 2)[0]) }
	all := []string{"Host: server.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + exampleKey}
	all = slices.DeleteFunc(all, func(usual string) bool {
		return slices.ContainsFunc(headers, func(h string) bool { return name(h) == name(usual) })
	})
	all = append(all, headers...)
	all = slices.DeleteFunc(all, func(h string) bool { return !strings.Contains(h, ":") })
	return []byte(first + "\r\n" + strings.Join(all, "\r\n") + "\r\n\r\n")
}

// ask sends a handshake and returns the answer.
func (w *wire) ask(first string, headers ...string) *http.Response {
	b := handshake(first, headers...)
	w.Did("ann sends %q", b)
	w.write(b)
	return w.answer(b)
}

// answer reads the answer to a handshake.
func (w *wire) answer(request []byte) *http.Response {
	r := bufio.NewReader(w.conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		w.Fail("the server gave no answer (%v).", err)
	}
	w.Did("the server answers %s", answer.Status)
	if answer.StatusCode == http.StatusSwitchingProtocols {
		early, _ := r.Peek(r.Buffered())
		w.raw = slices.Clone(early)
	}
	if asked, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request))); err == nil {
		answer.Request = asked
	}
	return answer
}

// open opens an ordinary connection.
func (w *wire) open() {
	w.Did("ann sends a handshake")
	b := handshake(firstLine)
	w.write(b)
	w.wantIn(w.answer(b))
}

// wantIn demands that the answer lets ann in, with what she offered.
func (w *wire) wantIn(answer *http.Response) {
	asked := answer.Request.Header
	if answer.StatusCode != http.StatusSwitchingProtocols {
		w.Fail("the server answered %s instead of 101.", answer.Status)
	}
	if got := answer.Header.Values("Upgrade"); len(got) != 1 || !strings.EqualFold(got[0], "websocket") {
		w.Fail("Upgrade is %q instead of websocket.", got)
	}
	if got := elements(answer.Header, "Connection"); !slices.ContainsFunc(got, func(s string) bool { return strings.EqualFold(s, "Upgrade") }) {
		w.Fail("Connection is %q, without the token Upgrade.", got)
	}
	if got, want := answer.Header.Values("Sec-WebSocket-Accept"), acceptOf(asked.Get("Sec-WebSocket-Key")); len(got) != 1 || got[0] != want {
		w.Fail("Sec-WebSocket-Accept is %q instead of %q.", got, want)
	}
	offered := elements(asked, "Sec-WebSocket-Protocol")
	if got := elements(answer.Header, "Sec-WebSocket-Protocol"); len(got) > 1 || len(got) == 1 && !slices.Contains(offered, got[0]) {
		w.Fail("Sec-WebSocket-Protocol is %q; offered was %q.", got, offered)
	}
	offered = elements(asked, "Sec-WebSocket-Extensions")
	for _, got := range elements(answer.Header, "Sec-WebSocket-Extensions") {
		if w.extended = true; got != "permessage-deflate" || !slices.Contains(offered, got) {
			w.Fail("Sec-WebSocket-Extensions has %q; offered was %q.", got, offered)
		}
	}
}

// wantRefused demands an error that blames the client.
func (w *wire) wantRefused(answer *http.Response) {
	if answer.StatusCode < 400 || answer.StatusCode > 499 {
		w.Fail("the server answered %s instead of an error such as 400.", answer.Status)
	}
}

// refuses demands that a handshake with this header in the place of the usual one
// is refused.
func refuses(w *wire, header protocolInput) { w.wantRefused(w.ask(firstLine, header.sends)) }

// accepts demands that a handshake with these headers lets ann in.
func accepts(headers ...string) func(*wire) {
	return func(w *wire) {
		w.wantIn(w.ask(firstLine, headers...))
		w.chats()
	}
}

// chats demands that a message of ann's reaches everybody.
func (w *wire) chats() {
	if !w.extended { // an extension may change what frames hold
		w.send(frame(fin|opText, "hello"))
		w.relays(wstest.Text("hello"))
	}
}

// chatting opens an ordinary connection and chats.
func (w *wire) chatting() {
	w.open()
	w.chats()
}

// readAway reads until the server ends the connection, whatever comes.
func (w *wire) readAway() {
	if _, err := io.Copy(io.Discard, w.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		w.Fail("the connection is still open on the server's side.")
	}
}

// elements returns the elements of a list in a header, without parameters.
func elements(h http.Header, name string) []string {
	var all []string
	for e := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		e, _, _ = strings.Cut(e, ";")
		if e = strings.TrimSpace(e); e != "" {
			all = append(all, e)
		}
	}
	return all
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
