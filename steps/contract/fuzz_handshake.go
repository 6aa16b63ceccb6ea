package contract

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// FuzzHandshake sends bytes as the handshake itself. What stands behind the cut
// follows after the answer, or after a second if there is none.
func FuzzHandshake(f *testing.F, start func(Config) Server) {
	// All peers come through a proxy, so that X-Forwarded-For counts.
	cfg := Config{Origins: []string{goodOrigin}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	f.Fuzz(func(t *testing.T, sent []byte, cut uint16) {
		sent = sent[:min(len(sent), 40<<10)] // more than the server takes
		first := len(sent)
		if cut > 0 {
			first = min(first, int(cut))
		}
		fuzzScene(t, start, "whatever a peer sends as its handshake, it harms nobody", cfg, func(s *scene) {
			ann, bob := s.Connect("ann"), s.Connect("bob")
			if eve, stream := s.knock(sent, first); eve != nil {
				s.judge(stream, eve, ann, bob)
			} else {
				s.Settle()
				s.wantUndisturbed(ann, bob)
			}
		})
	})
}

const goodOrigin = "https://good.example"

// knock sends the first bytes of an input as a handshake, and the rest later. If the
// answer is 101 it returns the peer, and what it has sent after its handshake.
func (s *scene) knock(sent []byte, first int) (eve *wstest.Peer, stream []byte) {
	raw := s.Dial("eve")
	s.Did("eve sends %d bytes: %.400q", first, sent[:first])
	if first < len(sent) {
		s.Did("and later %d bytes: %.400q", len(sent)-first, sent[first:])
	}
	upgraded, wrote := make(chan struct{}), 0
	writing := s.Start(func() {
		for _, end := range []int{first, len(sent)} {
			if wrote < end {
				n, _ := raw.Write(sent[wrote:end])
				wrote += n
			}
			select {
			case <-upgraded:
				return
			case <-time.After(time.Second):
			}
		}
	})

	const most = 15 * time.Second // longer than all timeouts of a request
	raw.SetReadDeadline(time.Now().Add(most))
	answers := bufio.NewReader(raw)
	asked := requests(sent)
	for n := range 8 {
		r, behind := new(http.Request), 0
		if n < len(asked) {
			r, behind = asked[n].Request, asked[n].behind
		}
		answer, err := http.ReadResponse(answers, r)
		if err != nil {
			silent := errors.Is(err, os.ErrDeadlineExceeded)
			s.hold(answered, !silent || n > 0, "there is neither an answer nor an end after %v.", most)
			s.hold(answered, silent || errors.Is(err, io.ErrUnexpectedEOF) && answers.Buffered() == 0, "answer %d is not HTTP: %v.", n+1, err)
			s.hold(validUpgrade, n > 0 || behind != first || !isPlain(r), "the handshake was not answered: %v.", err)
			break
		}
		status := answer.StatusCode
		s.Did("answer %d is %s", n+1, answer.Status)
		if status == http.StatusSwitchingProtocols {
			s.hold(validUpgrade, isHandshake(r) && answer.Header.Get("Sec-WebSocket-Accept") == acceptKey(r), "request %d got 101.", n+1)
			early, _ := answers.Peek(answers.Buffered())
			close(upgraded)
			raw.SetWriteDeadline(time.Now())
			writing.Within(0)
			raw.SetWriteDeadline(time.Time{})
			end := min(len(sent), max(wrote, behind+maxStream))
			eve = s.Upgraded(raw, "eve", early)
			eve.NoPongs()
			eve.IgnoreClose()
			eve.SendRaw(sent[wrote:end])
			return eve, sent[behind:end]
		}
		s.hold(validUpgrade, n > 0 || behind != first || !isPlain(r), "the handshake got %s.", answer.Status)
		s.hold(answered, status < 500 || status == http.StatusNotImplemented || status == http.StatusHTTPVersionNotSupported, "the answer is %s.", answer.Status)
		if answer.Close {
			break
		}
		io.Copy(io.Discard, answer.Body)
	}
	raw.Close()
	return nil, nil
}

// asked is a request, and where the bytes behind its header begin.
type asked struct {
	*http.Request
	behind int
}

// requests returns the whole requests at the beginning of what a peer has sent.
func requests(sent []byte) (all []asked) {
	in := bytes.NewReader(sent)
	buffered := bufio.NewReader(in)
	for len(all) < 8 {
		r, err := http.ReadRequest(buffered)
		if err != nil {
			break
		}
		all = append(all, asked{r, len(sent) - in.Len() - buffered.Buffered()})
		io.Copy(io.Discard, r.Body)
	}
	return all
}

// isHandshake reports whether r may get 101 (RFC 6455, section 4.2.1).
func isHandshake(r *http.Request) bool {
	has := func(header, token string) bool {
		all := strings.Split(strings.Join(r.Header.Values(header), ","), ",")
		return slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), token) })
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	return r.Method == "GET" && r.URL.Path == "/ws" && has("Connection", "upgrade") && has("Upgrade", "websocket") &&
		has("Sec-WebSocket-Version", "13") && err == nil && len(key) == 16 && mayCome(r.Header.Get("Origin"), r.Host)
}

// mayCome reports whether a page of origin may connect to host. What no browser
// sends as an origin comes from no page, and is not judged.
func mayCome(origin, host string) bool {
	_, from, _ := strings.Cut(origin, "://")
	return !browserOrigin.MatchString(origin) || strings.EqualFold(origin, goodOrigin) || from != "" && strings.EqualFold(from, host)
}

// acceptKey returns the answer to the key of a handshake (RFC 6455, section 4.2.2).
func acceptKey(r *http.Request) string {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// isPlain reports whether r is a handshake that has nothing odd about it, so that it
// must get 101.
func isPlain(r *http.Request) bool {
	for name, values := range r.Header {
		if usual[name] == nil || len(values) > 1 || !usual[name].MatchString(values[0]) {
			return false
		}
	}
	return r.RequestURI == "/ws" && r.Proto == "HTTP/1.1" && usualHost.MatchString(r.Host) && isHandshake(r)
}

var (
	browserOrigin = regexp.MustCompile(`^(null|[a-z][a-z0-9+.-]*://[^/?#@]*)$`)
	usualHost     = regexp.MustCompile(`^[a-z.]+(:[0-9]+)?$`)
	usualList     = regexp.MustCompile(`^[A-Za-z0-9-]+( *, *[A-Za-z0-9-]+)*$`)
	usualText     = regexp.MustCompile(`^[ -~]*$`)
	usual         = map[string]*regexp.Regexp{
		"Connection": usualList, "Upgrade": usualList, "Sec-Websocket-Version": usualList, "Origin": browserOrigin,
		"Sec-Websocket-Key": usualText, "Sec-Websocket-Protocol": usualText, "X-Forwarded-For": usualText, "User-Agent": usualText,
	}
)
