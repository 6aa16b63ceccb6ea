package contract

import (
	"fmt"
	"net/http"
	"slices"
)

const causeHandshake = "the handshake is answered by hand, or its headers are changed on the way. Let the Upgrader read and answer it."

// protocolHandshake is about the opening handshake.
var protocolHandshake = []protocolSection{
	{
		number: "4.2.2", cause: causeHandshake,
		says: "a server that lets a client in answers 101 with Upgrade: websocket and Connection: Upgrade; Sec-WebSocket-Accept is the base64 of the SHA-1 of the key, as the client wrote it, followed by the GUID of section 1.3",
		cases: []protocolCase{
			{"the key of the RFC's example gets the RFC's answer", func(w *wire) {
				answer := w.ask(firstLine)
				if got, want := answer.Header.Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
					w.Fail("Sec-WebSocket-Accept is %q instead of %q.", got, want)
				}
				w.wantIn(answer)
				w.chats()
			}},
			{"another key gets another answer", accepts("Sec-WebSocket-Key: " + otherKey)},
			{"blanks around the key do not count", accepts("Sec-WebSocket-Key: \t " + exampleKey + " \t ")},
		},
	},
	{
		number: "4.2.1", cause: causeHandshake,
		says: "the Connection header includes the token Upgrade, and the Upgrade header the value websocket, both in any letter case; headers come in any order (and, as everywhere in HTTP, a list may stand in several lines)",
		cases: []protocolCase{
			{"Upgrade may be the last token of Connection", accepts("Connection: keep-alive, Upgrade")},
			{"Upgrade may be the first token of Connection", accepts("Connection: Upgrade,keep-alive")},
			{"Connection may stand in two lines", accepts("Connection: keep-alive", "Connection: Upgrade")},
			{"Upgrade may name other protocols too", accepts("Upgrade: h2c, websocket")},
			{"the letter case of names and tokens does not count", accepts("CONNECTION: uPGRADE", "upgrade: WebSocket", "sec-websocket-key: "+exampleKey, "SEC-WEBSOCKET-VERSION: 13")},
			{"the order of headers does not count", accepts("Sec-WebSocket-Key: "+exampleKey, "Sec-WebSocket-Version: 13", "Connection: Upgrade", "Upgrade: websocket", "Host: server.example")},
			{"the request may name its target with an absolute URI", func(w *wire) {
				w.wantIn(w.ask("GET http://server.example/ws HTTP/1.1"))
				w.chats()
			}},
			{"a handshake may come byte by byte", func(w *wire) {
				b := handshake(firstLine)
				w.sendSlowly(b)
				w.wantIn(w.answer(b))
				w.chats()
			}},
		},
	},
	{
		number: "4.2.1", cause: causeHandshake,
		says: "the server MUST refuse, with an error such as 400 (any 4xx will do here), a request that is not the handshake that this section describes",
		cases: slices.Concat(
			each("the method %s is refused", func(w *wire, method string) {
				w.wantRefused(w.ask(method + " /ws HTTP/1.1"))
			}, "POST", "PUT", "get"),
			each("a handshake %s is refused", refuses,
				protocolInput{"without Host", "Host"},
				protocolInput{"without Upgrade", "Upgrade"},
				protocolInput{"with an Upgrade to something else", "Upgrade: h2c"},
				protocolInput{"with an Upgrade to something longer", "Upgrade: websocket2"},
				protocolInput{"without Connection", "Connection"},
				protocolInput{"with Connection keep-alive", "Connection: keep-alive"},
				protocolInput{"with Connection not-upgrade", "Connection: not-upgrade"},
				protocolInput{"without a version", "Sec-WebSocket-Version"},
				protocolInput{"with a version that is no number", "Sec-WebSocket-Version: thirteen"},
				protocolInput{"with a version with a leading zero", "Sec-WebSocket-Version: 013"},
				protocolInput{"without a key", "Sec-WebSocket-Key"},
				protocolInput{"with an empty key", "Sec-WebSocket-Key: "},
				protocolInput{"with a key of 15 bytes", "Sec-WebSocket-Key: ZmlmdGVlbiBieXRlcyAh"},
				protocolInput{"with a key of 17 bytes", "Sec-WebSocket-Key: aXQgaXMgc2V2ZW50ZWVuIGI="},
				protocolInput{"with a key that is not base64", "Sec-WebSocket-Key: ?GhlIHNhbXBsZSBub25jZQ=="},
			),
			[]protocolCase{
				{"a handshake in HTTP 1.0 is refused", func(w *wire) {
					if answer := w.ask("GET /ws HTTP/1.0"); answer.StatusCode == http.StatusSwitchingProtocols {
						w.deviation = "gorilla/websocket 1.5.3 does not look at the version of HTTP, and answers 101"
					} else if answer.StatusCode != http.StatusHTTPVersionNotSupported { // 505, which is about the request too
						w.wantRefused(answer)
					}
				}},
				{"a handshake with a list of versions is refused", func(w *wire) {
					if answer := w.ask(firstLine, "Sec-WebSocket-Version: 8, 13"); answer.StatusCode == http.StatusSwitchingProtocols {
						w.deviation = "gorilla/websocket 1.5.3 looks for 13 in the list, and answers 101"
					} else {
						w.wantRefused(answer)
					}
				}},
			},
		),
	},
	{
		number: "4.2.2", cause: causeHandshake,
		says: "a server that does not speak the client's version MUST refuse, with an error such as 426 (any 4xx will do here), and MUST name the versions that it speaks in Sec-WebSocket-Version",
		cases: each("version %d is refused, and 13 offered", func(w *wire, version int) {
			answer := w.ask(firstLine, fmt.Sprint("Sec-WebSocket-Version: ", version))
			w.wantRefused(answer)
			if got := elements(answer.Header, "Sec-WebSocket-Version"); !slices.Contains(got, "13") {
				w.Fail("the answer %s has the Sec-WebSocket-Version %q, without 13.", answer.Status, got)
			}
		}, 0, 8, 12, 14, 255),
	},
	{
		number: "4.2.2", cause: "the answer's headers are set without a look at the request.",
		says: "of the subprotocols that the client offers the server may choose one, and of the extensions any that it knows, or none; nothing else may be in the answer",
		cases: []protocolCase{
			{"an offered subprotocol may be chosen, no other", accepts("Sec-WebSocket-Protocol: chat, superchat")},
			{"an extension that nobody knows is not answered", accepts("Sec-WebSocket-Extensions: x-nobody-knows; level=3")},
			{"permessage-deflate may be answered or not", accepts("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")},
		},
	},
	{
		number: "11.3.1", cause: causeHandshake,
		says: "a client MUST NOT send two keys; what the server then does is not said: it may refuse, or answer either key",
		cases: []protocolCase{{"of two keys one is answered, or none", func(w *wire) {
			answer := w.ask(firstLine, "Sec-WebSocket-Key: "+exampleKey, "Sec-WebSocket-Key: "+otherKey)
			if answer.StatusCode != http.StatusSwitchingProtocols {
				w.wantRefused(answer)
			} else if got := answer.Header.Get("Sec-WebSocket-Accept"); got != acceptOf(exampleKey) && got != acceptOf(otherKey) {
				w.Fail("Sec-WebSocket-Accept is %q, which answers neither key.", got)
			}
		}}},
	},
	{
		number: "4.1", cause: "a handshake that fails takes more with it than its own connection.",
		says: "the client MUST wait for the answer before it sends frames; what the server does with one that does not is not said",
		cases: []protocolCase{
			{"a client that does not wait for the answer harms itself alone", func(w *wire) {
				w.Did("ann sends a handshake and a ping in one go, and ends her side of TCP")
				w.write(append(handshake(firstLine), frame(fin|opPing, "early")...))
				w.conn.CloseWrite()
				w.readAway()
			}},
			{"a client that leaves within the handshake harms itself alone", func(w *wire) {
				w.Did("ann sends half of a handshake, and ends her side of TCP")
				w.write(handshake(firstLine)[:60])
				w.conn.CloseWrite()
				w.readAway()
			}},
		},
	},
}
