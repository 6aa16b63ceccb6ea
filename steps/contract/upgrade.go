package contract

import (
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
				s.Connect("ann")
			})
			t.scene(func(s *scene) {
				_, answer := s.Handshake("ann", wstest.Request{Plain: true})
				if answer.Status < 400 || answer.Status > 499 {
					s.Fail("%s. A request that asks for no upgrade gets an error (400 or another 4xx).", answer)
				}
				if strings.Count(answer.Body, "\n") > 1 {
					s.Fail("the answer has more than one text: %q. Upgrade has written one, and ServeHTTP another.", answer.Body)
				}
			})
		},
	},
	{
		Task: "1.2", Name: "each message comes back", lax: true,
		cause: "no loop reads a message and writes it back, or the loop writes another type than it has read.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann := s.Connect("ann")
				for _, f := range []wstest.Frame{
					wstest.Text("hello"), wstest.Text(""), wstest.Text("naïve café 世界"),
					wstest.Binary("\x00\xff\x80"), wstest.Text(long(2000)),
				} {
					ann.SendFrame(f)
					ann.Want(f)
				}
			})
			t.scene(func(s *scene) {
				ann, bob := s.Connect("ann"), s.Connect("bob")
				s.Pass(pongWait / 2)
				for _, p := range []*wstest.Peer{ann, bob, ann} {
					p.Send("I am " + p.Name)
					if !p.HasText("I am " + p.Name) {
						s.FailBecause("both connections share something that each must have for itself, such as a variable of the Server. Or a deadline of the handshake still holds after it.",
							"with two peers connected, %s's message did not come back.", p.Name)
					}
				}
			})
		},
	},
	{
		Task: "1.3", Name: "only the same host, listed origins and non-browsers may connect", lax: true,
		cause: "Upgrader.CheckOrigin is not set to checkOrigin, or compares something else than the whole host with its port, and the whole of a listed origin.",
		test:  origins,
	},
	{
		Task: "1.4", Name: "a peer that stalls in the handshake is let go after 5 s", lax: true,
		cause: "Upgrader.HandshakeTimeout is not set, so that the write of the answer waits for ever for a peer that does not read it.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.Connect("ann")
				for _, stall := range []struct{ name, does, sends string }{
					{"bob", "sends half of his handshake and stalls", string(wstest.Request{}.Bytes("/ws"))[:40]},
					{"eve", "sends her handshake and does not read the answer", string(wstest.Request{}.Bytes("/ws"))},
				} {
					raw := s.Dial(stall.name)
					s.Did("%s %s", stall.name, stall.does)
					raw.Write([]byte(stall.sends))
					s.Pass(handshakeTimeout - time.Second)
					if raw.Gone() {
						s.Fail("the server gave up on %s after less than %v.", stall.name, handshakeTimeout)
					}
					s.Pass(time.Second + grace)
					if !raw.Gone() {
						s.Fail("%s is still connected after more than %v.", stall.name, handshakeTimeout)
					}
				}
			})
		},
	},
	{
		Task: "1.5", Name: "when the peer leaves, the socket is closed and nothing is left behind",
		cause: "conn.Close is not called on each way out of ServeHTTP. After Upgrade the connection is yours: net/http does not close it any more.",
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
					ann.WantGone("she has left")
				})
			}
		},
	},
}

// causeDev is what usually keeps a foreign origin out in development.
const causeDev = "Config.AnyOrigin, which -dev sets, is not looked at."

func origins(t *trial) {
	cfg := Config{Origins: []string{"https://good.example", "http://dev.example:3000"}}
	t.sceneWith(cfg, func(s *scene) {
		s.wantIn("", "http://server.example", "it is that of the own host")
		s.wantIn("", "https://server.example", "it is that of the own host")
		s.wantIn("", "https://good.example", "it is listed")
		s.wantIn("", "http://dev.example:3000", "it is listed")
		s.Connect("a program that is no browser and sends no origin")
		for _, o := range []struct{ origin, why string }{
			{"https://evil.example", "it is foreign"},
			{"https://good.example.evil.example", "it only begins like a listed origin"},
			{"https://evilgood.example", "it only ends like a listed origin"},
			{"https://sub.good.example", "it is another host than the listed one"},
			{"https://good-example", "a dot in a listed origin is a dot, and no wildcard"},
			{"https://server.example.evil.example", "it only begins like the own host"},
			{"http://evil-server.example", "it only ends like the own host"},
			{"http://sub.server.example", "it is another host than the own one"},
			{"https://good.example:8443", "its port is not the listed one"},
			{"http://dev.example", "its port is not the listed one"},
			{"http://good.example", "its scheme is not the listed one"},
			{"http://server.example:81", "its port is not that of the own host"},
			{"https://good.example@evil.example", "its host is what follows the @"},
			{"https://evil.example/good.example", "its host is what stands before the /"},
			{"null", "it is that of a sandboxed page or a file"},
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
	t.sceneWith(Config{AnyOrigin: true}, func(s *scene) {
		s.Did("the server is in development mode: any origin may connect")
		for _, origin := range []string{"https://evil.example", "null"} {
			if peer, answer := s.Handshake("ann", from("", origin)); peer == nil {
				s.FailBecause(causeDev, "%s. In development any origin may connect, also %s.", answer, origin)
			}
		}
	})
}

// from returns the handshake of a page of the given origin. host is what the page
// calls the server; "" stands for the usual name.
func from(host, origin string) wstest.Request {
	return wstest.Request{Host: host, Header: http.Header{"Origin": {origin}}}
}

func (s *scene) wantIn(host, origin, why string) {
	if peer, answer := s.Handshake("ann", from(host, origin)); peer == nil {
		s.Fail("%s. The origin %s is allowed: %s.", answer, origin, why)
	}
}

func (s *scene) wantRefused(host, origin, why string) {
	peer, answer := s.Handshake("eve", from(host, origin))
	if peer != nil {
		s.Fail("eve was let in. The origin %s is not allowed: %s.", origin, why)
	}
	if answer.Status != http.StatusForbidden {
		s.Fail("%s. The origin %s is refused with 403.", answer, origin)
	}
}
