package contract

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// upgrade is the contract of step 1: the handshake (RFC 6455, section 4), who
// may come in (section 10.2), and an echo.
var upgrade = []Promise{
	{
		Task: "1.1", Name: "an upgrade request gets 101, a plain GET gets one HTTP error", lax: true, first: true,
		cause: "ServeHTTP does not call Upgrade, or goes on after Upgrade has failed. A failed Upgrade has answered the request already.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.wantUpgrade(wstest.Request{})
			})
			t.scene(func(s *scene) {
				s.Did("ann is a browser: she offers to compress messages")
				s.wantUpgrade(offer)
			})
			t.scene(func(s *scene) {
				_, answer := s.Handshake("ann", wstest.Request{Plain: true})
				s.notPanicked("after a failed Upgrade conn is nil. Return before anything uses it, and before a defer of conn.Close.")
				if answer.Status < 400 || answer.Status > 499 {
					s.Fail("%s. A request that asks for no upgrade gets an error (400 or another 4xx).", answer)
				}
				// What Upgrade answers is the text of the status; a server may have
				// another text instead, of several lines, but none beside it.
				if _, more, _ := strings.Cut(answer.Body, http.StatusText(answer.Status)+"\n"); more != "" {
					s.Fail("the answer has more than one text: %q. Upgrade has written one, and ServeHTTP another.", answer.Body)
				}
			})
		},
	},
	{
		Task: "1.2", Name: "each message comes back", lax: true,
		cause: "no loop reads a message and writes it back; or a writer from NextWriter is not closed, and only Close sends the message.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				for _, f := range []wstest.Frame{
					wstest.Text("hello"), wstest.Text(""), wstest.Text("naïve café 世界"),
					wstest.Text("  two\nlines "), wstest.Text("100% <b>\"&amp;'</b>"), wstest.Binary("\x00\xff\x80"), wstest.Text(long(20000)),
				} {
					s.wantEcho(ann, f)
				}
			})
			t.scene(nothingInIt)
			if t.step == 1 { // from then on 2.4 is about it
				t.scene(closeIsAnswered)
			}
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.Pass(pongWait / 2)
				for _, p := range []*wstest.Peer{ann, bob, ann} {
					p.Send("I am " + p.Name)
					switch {
					case p.HasText("I am " + p.Name):
						s.Settle()
					case p.Gone():
						s.FailBecause("a deadline or a timer of the handshake still holds after it; or a deadline for messages is set once, and not before each read or write.",
							"the server has closed the connection of %s, who had said nothing for %v.", p.Name, pongWait/2)
					default:
						s.FailBecause("both connections share something that each must have for itself, such as a variable of the Server.",
							"with two peers connected, %s's message did not come back.", p.Name)
					}
				}
			})
			if t.step < 4 { // from then on what one sends goes to all, and 4.2 is about who waits
				t.scene(sharesNothing)
			}
		},
	},
	{
		Task: "1.3", Name: "only the same host, listed origins and non-browsers may connect", lax: true,
		cause: causeOrigin,
		test:  origins,
	},
	{
		Task: "1.4", Name: "a peer that stalls in the handshake is let go after 5 s", lax: true,
		cause: "a lock is held while Upgrade writes its answer: a peer that does not read it holds up all others.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.Connect("ann")
				for _, stall := range []struct{ name, does, sends, cause string }{
					{
						"bob", "sends half of his handshake and stalls", string(wstest.Request{}.Bytes("/ws"))[:40],
						"the http.Server has no ReadHeaderTimeout, or a longer one. Before Upgrade is called, nobody else can help.",
					},
					{
						"eve", "sends her handshake and does not read the answer", string(wstest.Request{}.Bytes("/ws")),
						"Upgrader.HandshakeTimeout is not set, or longer, so that the write of the answer waits for a peer that does not read it.",
					},
				} {
					raw := s.Dial(stall.name)
					s.Did("%s %s", stall.name, stall.does)
					raw.Write([]byte(stall.sends))
					s.Settle() // it has come before the next handshake does
					s.Connect("another peer")
					s.Pass(handshakeTimeout - time.Second)
					if raw.Gone() {
						s.FailBecause("a timeout is written without its unit: 5 is 5 nanoseconds, 5 * time.Second is what is meant.",
							"the server gave up on %s after less than %v.", stall.name, handshakeTimeout)
					}
					s.Pass(time.Second + grace)
					if !raw.Gone() {
						s.FailBecause(stall.cause, "%s is still connected after more than %v.", stall.name, handshakeTimeout)
					}
				}
			})
		},
	},
	{
		Task: "1.5", Name: "when the peer leaves, the socket is closed and nothing is left behind",
		cause: "conn.Close is not called on each way out of ServeHTTP; or ServeHTTP waits for something else than the peer, such as the end of r.Context. After Upgrade the connection is yours: net/http does not close it any more.",
		test: func(t *trial) {
			for _, leave := range []func(*wstest.Peer){
				func(p *wstest.Peer) { p.Close(1000, "bye") },
				(*wstest.Peer).HangUp,
				(*wstest.Peer).Reset,
			} {
				t.scene(func(s *scene) {
					ann := s.Connect("ann")
					s.talk(ann, "hello")
					leave(ann)
					s.Pass(grace)
					s.notPanicked(causeReadsOn)
					if !ann.Gone() && s.step > 1 {
						s.FailBecause("a pump ends without finish, or hangUp waits for a pump that does not end, or that does not say so at its end.",
							"ann's connection is still open on the server's side, although she has left.")
					}
					ann.WantGone("she has left")
				})
			}
			if t.step == 1 { // from then on 2.3 is about it
				t.scene(func(s *scene) {
					ann := s.Connect("ann")
					s.talk(ann, "hello")
					ann.FailNextWrite()
					s.Did("ann's network breaks: the server's next write to her fails")
					ann.Send("hello?")
					s.Pass(grace)
					if !ann.Gone() {
						s.FailBecause("the error of the write is not looked at, or the loop goes on after it, or conn.Close is called on other ways out only.",
							"ann's connection is still open on the server's side, although a write to her has failed.")
					}
				})
			}
		},
	},
}

// sharesNothing lets a peer stop reading while it is written to, and another one go on.
func sharesNothing(s *scene) {
	ann, bob := s.Connect("ann"), s.Connect("bob")
	ann.StopReading()
	anns, bobs := strings.Repeat("a", 20000), strings.Repeat("b", 20000)
	ann.Send(anns)
	s.Settle()
	bob.Send(bobs)
	if !bob.HasText(bobs) {
		s.FailBecause("one connection waits for another: for a lock, or for a place in something that both share.",
			"bob's message did not come back, while ann does not read hers.")
	}
	s.Settle()
	ann.ResumeReading()
	if !ann.HasText(anns) {
		s.FailBecause("both connections read into the same buffer, which is still in use for ann's message when bob's comes.",
			"ann's message did not come back as she sent it, after bob had sent another.")
	}
}

const (
	causeOrigin = "Upgrader.CheckOrigin is not set to checkOrigin, or compares something else than the whole host with its port (u.Host, which u.Hostname() is only a part of), and the whole of a listed origin."

	// causeSwitch is what usually lets a foreign origin in without Config.AnyOrigin.
	causeSwitch = "checkOrigin takes an empty list, or a server on the own machine, for leave to let all in. Only Config.AnyOrigin is that, which -dev sets."

	causeNoOrigin = "checkOrigin refuses a request without an Origin header. A program that is no browser sends none: let it in."

	// causeDev is what usually keeps a foreign origin out in development.
	causeDev = "Config.AnyOrigin, which -dev sets, is not looked at."
)

const causeReadsOn = "the loop goes on after an error of ReadMessage. Every such error is final: return."

// closeIsAnswered lets a peer close (RFC 6455, section 5.5.1).
func closeIsAnswered(s *scene) {
	for _, code := range []int{1000, 4321} {
		ann := s.Connect("ann")
		s.talk(ann, "hello")
		ann.Close(code, "bye")
		closing, ok := ann.WaitClose()
		if !ok || closing.CloseCode() != code && closing.CloseCode() != 1000 {
			s.FailBecause("a close handler of your own replaces gorilla's, which answers. Without one, ReadMessage does it.",
				"ann's close frame was not answered with one.")
		}
		s.Pass(grace)
		s.notPanicked(causeReadsOn)
	}
}

func origins(t *trial) {
	cfg := Config{Origins: []string{"https://good.example", "http://dev.example:3000"}}
	t.sceneWith(cfg, func(s *scene) {
		s.wantIn("", "http://server.example", "it is that of the own host")
		s.wantIn("", "https://server.example", "it is that of the own host")
		s.wantIn("", "https://good.example", "it is listed")
		s.wantIn("", "http://dev.example:3000", "it is listed")
		s.wantUpgrade(wstest.Request{}) // of a program that is no browser
		for _, o := range []struct{ origin, why string }{
			{"https://evil.example", "it is foreign"},
			{"https://good.example.evil.example", "it only begins like a listed origin"},
			{"https://evilgood.example", "it only ends like a listed origin"},
			{"https://sub.good.example", "it is another host than the listed one"},
			{"https://good-example", "a dot in a listed origin is a dot, and no wildcard"},
			{"https://server.example.evil.example", "it only begins like the own host"},
			{"http://evil-server.example", "it only ends like the own host"},
			{"http://server", "the own host only begins like it"},
			{"http://example", "the own host only ends like it"},
			{"http://sub.server.example", "it is another host than the own one"},
			{"http://www.server.example", "it is another host than the own one"},
			{"http://localhost:3000", "it is foreign, as long as -dev is not set"},
			{"chrome-extension://server", "it is that of a browser extension, which is not listed"},
			{"https://good.example:8443", "its port is not the listed one"},
			{"http://dev.example", "its port is not the listed one"},
			{"http://good.example", "its scheme is not the listed one"},
			{"http://server.example:81", "its port is not that of the own host"},
			{"http://server.example:443", "its port is not that of the own host"},
			{"https://good.example@evil.example", "its host is what follows the @"},
			{"http://server.example@evil.example", "its host is what follows the @"},
			{"https://evil.example/good.example", "its host is what stands before the /"},
			{"null", "it is that of a sandboxed page or a file"},
			{"https://evil.example:port", "it is no URL"},
		} {
			s.wantRefused("", o.origin, o.why)
		}
	})
	t.sceneWith(cfg, func(s *scene) {
		const host = "server.example:8080"
		s.Did("the server is reached as %s", host)
		s.wantIn(host, "http://server.example:8080", "it is that of the own host, with its port")
		s.wantRefused(host, "http://server.example", "its port is not that of the own host")
		s.wantRefused(host, "http://server.example:81", "its port is not that of the own host")
	})
	t.sceneWith(cfg, func(s *scene) {
		const host = "Server.Example"
		s.Did("the server is reached as %s", host)
		if peer, answer := s.Handshake("ann", from(host, "http://server.example")); peer == nil {
			s.FailBecause("hosts are compared with ==. Use strings.EqualFold.",
				"%s. The origin http://server.example is that of the own host: in hosts, upper and lower case are the same.", answer)
		}
	})
	t.scene(func(s *scene) {
		s.Did("no origin is listed")
		s.wantIn("", "http://server.example", "it is that of the own host")
		s.wantRefusedFor(causeSwitch, "", "https://evil.example", "it is foreign, and an empty list allows nobody")
	})
	t.sceneWith(cfg, func(s *scene) {
		s.Did("the server is reached as %s, from the same machine", localhost)
		s.wantIn(localhost, "http://localhost:8080", "it is that of the own host")
		s.Pass(time.Second)
		s.wantRefusedFor(causeSwitch, localhost, "https://evil.example", "it is foreign, wherever the server runs")
		s.Pass(time.Second)
		s.wantRefusedFor(causeSwitch, localhost, "http://localhost:3000", "its port is not that of the own host")
	})
	t.sceneWith(cfg, func(s *scene) {
		const cause = "ports are compared as they are written. The port that is the default of the origin's scheme (80 for http, 443 for https) may be written or not, on both sides."
		for _, o := range []struct{ host, origin string }{
			{"server.example:443", "https://server.example"},
			{"server.example:80", "http://server.example"},
			{"server.example", "http://server.example:80"},
			{"server.example", "https://server.example:443"},
			{"other.example", "https://good.example:443"},
		} {
			s.Did("the server is reached as %s", o.host)
			if peer, answer := s.Handshake("ann", from(o.host, o.origin)); peer == nil {
				s.FailBecause(cause, "%s. The origin %s is allowed when the server is reached as %s.", answer, o.origin, o.host)
			}
		}
		const mixed = "a port is taken off that is the default one of another scheme than the origin's: 80 is that of http alone, 443 that of https."
		s.Did("the server is reached as server.example:443")
		s.wantRefusedFor(mixed, "server.example:443", "http://server.example", "443 is not the default port of http")
		s.Did("the server is reached as server.example:80")
		s.wantRefusedFor(mixed, "server.example:80", "https://server.example", "80 is not the default port of https")
	})
	t.sceneWith(Config{AnyOrigin: true}, func(s *scene) {
		s.Did("the server is in development mode: any origin may connect")
		for _, origin := range []string{"https://evil.example", "null"} {
			if peer, answer := s.Handshake("ann", from("", origin)); peer == nil {
				s.FailBecause(causeDev, "%s. In development any origin may connect, also %s.", answer, origin)
			}
		}
	})
	originFlags(t)
}

// localhost is what a browser on the server's own machine calls the server.
const localhost = "localhost:8080"

// from returns the handshake of a page of the given origin. host is what the page
// calls the server; "" stands for the usual name.
func from(host, origin string) wstest.Request {
	r := wstest.Request{Host: host, Header: http.Header{"Origin": {origin}}}
	if host == localhost {
		r.IP = "127.0.0.1"
	}
	return r
}

func (s *scene) wantIn(host, origin, why string) {
	if peer, answer := s.Handshake("ann", from(host, origin)); peer == nil {
		s.notPanicked(causeParse)
		s.Fail("%s. The origin %s is allowed: %s.", answer, origin, why)
	}
}

func (s *scene) wantRefused(host, origin, why string) {
	s.wantRefusedFor(causeOrigin, host, origin, why)
}

// wantRefusedFor is wantRefused with a cause of its own: what usually lets eve in.
func (s *scene) wantRefusedFor(cause, host, origin, why string) {
	peer, answer := s.Handshake("eve", from(host, origin))
	if peer != nil {
		s.FailBecause(cause, "eve was let in. The origin %s is not allowed: %s.", origin, why)
	}
	s.notPanicked(causeParse)
	if answer.Err != nil {
		s.FailBecause("ServeHTTP refuses the request itself, and then goes on to Upgrade, which answers once more. Let checkOrigin refuse.",
			"the answer to eve cannot be read (%v). The origin %s is refused with 403, and with no more than that.", answer.Err, origin)
	}
	if answer.Status != http.StatusForbidden {
		s.Fail("%s. The origin %s is refused with 403.", answer, origin)
	}
}

// causeParse is what usually makes a check of the origin panic.
const causeParse = "the error of url.Parse is ignored: with an error the URL is nil. Or the error of Upgrade is: after a refusal conn is nil."

// offer is the handshake of a browser, which offers to compress messages.
var offer = wstest.Request{Header: http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate; client_max_window_bits"}}}

// wantUpgrade demands that a handshake without an Origin is answered with 101.
func (s *scene) wantUpgrade(r wstest.Request) {
	peer, answer := s.Handshake("ann", r)
	s.Settle()
	if peer != nil {
		return
	}
	s.notPanicked("checkOrigin expects an Origin header. A program that is no browser sends none.")
	saw := fmt.Sprintf("ann could not connect: %s. A handshake is answered with 101.", answer)
	switch records := s.Log.Records(); {
	case answer.Status == http.StatusForbidden:
		s.FailBecause(causeNoOrigin, "%s", saw)
	case answer.Status == http.StatusInternalServerError && len(records) > 0:
		s.FailBecause("something around the ResponseWriter, such as middleware or http.TimeoutHandler, hides its Hijack method; or the third argument of Upgrade is not nil: it is for headers of the answer, not of the request.",
			"%s The log says:\n%s", saw, records[len(records)-1])
	}
	s.Fail("%s", saw)
}

// wantEcho demands that f comes back as it is.
func (s *scene) wantEcho(p *wstest.Peer, f wstest.Frame) {
	p.SendFrame(f)
	got, ok := p.Next()
	s.Settle() // the server may still be busy with it after the answer
	saw, closing := fmt.Sprintf("%s got %s instead of %s.", p.Name, got, f), p.ClosedWith()
	switch {
	case ok && got.Op != f.Op:
		s.FailBecause("the answer is always written with the same type. Write it with the type that ReadMessage has returned.", "%s", saw)
	case ok && len(got.Payload) < len(f.Payload) && bytes.HasPrefix(f.Payload, got.Payload):
		s.FailBecause("one Read returns only a part of a message. ReadMessage returns all of it.", "%s", saw)
	case ok && !bytes.Equal(got.Payload, f.Payload):
		s.FailBecause("something is done to the message on its way. It comes back as it is.", "%s", saw)
	case ok:
	case closing != nil:
		s.FailBecause("SetReadLimit is called with a number that is too low; or a check refuses what is as it should be: binary data need not be UTF-8, and the replacement character U+FFFD is one like others.",
			"%s got a %s instead of %s.", p.Name, closing, f)
	case p.Gone():
		s.FailBecause("the connection is closed, or the loop left, before an error says that the peer has gone.",
			"%s got no %s: the server has closed the connection, without a close frame (a browser calls this 1006).", p.Name, f)
	default:
		s.Fail("%s got no %s: nothing more came, and the connection is open.", p.Name, f)
	}
}

// notPanicked demands that no handler has panicked. net/http recovers such a panic,
// and only the log tells of it.
func (s *scene) notPanicked(cause string) {
	for _, r := range s.Log.Records() {
		if strings.HasPrefix(r.Message, "http: panic serving ") {
			s.FailBecause(cause, "net/http has recovered a panic.")
		}
	}
}
