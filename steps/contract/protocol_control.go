package contract

import (
	"slices"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeControl = "a handler of pings or pongs does something else than to answer with the same payload, or an error of it is lost."

// protocolControl is about control frames, and pings and pongs.
var protocolControl = []protocolSection{
	{
		number: "5.5", cause: causeLibrary,
		says: "a control frame MUST have a payload of at most 125 bytes and MUST NOT be fragmented; no meaning is left for another but an error (1002)",
		cases: []protocolCase{
			{"a ping of 126 bytes fails the connection", failing([]int{1002}, frame(fin|opPing, long(126)))},
			{"a pong of 126 bytes fails the connection", failing([]int{1002}, frame(fin|opPong, long(126)))},
			{"a close frame of 126 bytes fails the connection", failing([]int{1002}, closeFrame(1000, long(124)))},
			{"a ping of 65536 bytes fails the connection", failing([]int{1002}, frame(fin|opPing, long(1<<16)))},
			{"a ping in fragments fails the connection", failing([]int{1002}, frame(opPing, "hel"), frame(fin|opMore, "lo"))},
			{"a pong in fragments fails the connection", failing([]int{1002}, frame(opPong, "hel"), frame(fin|opMore, "lo"))},
			{"a close frame in fragments fails the connection", failing([]int{1002}, frame(opClose, "\x03"), frame(fin|opMore, "\xe8"))},
			{"a ping in fragments within a message fails the connection", failing([]int{1002}, frame(opText, "hel"), frame(opPing, ""), frame(fin|opMore, "lo"))},
		},
	},
	{
		number: "5.5", cause: causeLibrary,
		says: "a control frame's length fits in 7 bits; one of at most 125 in more bits breaks the rule of section 5.2 for senders alone, so that a receiver may answer it, or fail the connection with 1002 (as gorilla does)",
		cases: []protocolCase{{"a ping of 2 bytes with a length in 16 bits is answered or refused", func(w *wire) {
			w.open()
			w.send(header(fin|opPing, 2, 2, [4]byte{}), []byte("hi"))
			if f, failed := w.failsOr(1002); !failed {
				w.wantSame(f, pongOf("hi"))
			}
		}}},
	},
	{
		number: "5.5.2", cause: causeControl,
		says: "a ping MUST be answered with a pong that has its payload, unless a close frame has come; of several pings it is enough to answer the last",
		cases: slices.Concat(
			each("a ping of %d bytes is answered", func(w *wire, n int) {
				w.open()
				w.send(frame(fin|opPing, pattern(n)))
				w.want(pongOf(pattern(n)))
			}, 0, 1, 124, 125),
			[]protocolCase{
				{"of many pings at least the last is answered, and none twice", func(w *wire) {
					w.open()
					all := texts("ping", 20)
					var b []byte
					for _, text := range all {
						b = append(b, frame(fin|opPing, text)...)
					}
					w.send(b)
					for len(all) > 0 {
						f, open := w.next()
						i := slices.Index(all, string(f.Payload))
						if !open || f.Op != opPong || i < 0 {
							w.Fail("the server sent %s instead of a pong for one of the pings that are left.", f)
						}
						all = all[i+1:]
					}
				}},
				{"a ping before and after a message is answered", func(w *wire) {
					w.open()
					w.send(frame(fin|opPing, "before"))
					w.want(pongOf("before"))
					w.send(frame(fin|opText, "hello"))
					w.relays(wstest.Text("hello"))
					w.send(frame(fin|opPing, "after"))
					w.want(pongOf("after"))
				}},
				{"a ping after the server's close frame, before the client's, is answered", func(w *wire) {
					w.chatting()
					wait := w.shutDown()
					w.wantClose(1001)
					w.send(frame(fin|opPing, "still here"), closeFrame(1001, ""))
					if f, open := w.next(); open {
						w.wantSame(f, pongOf("still here"))
						w.ends()
					} else {
						w.deviation = "gorilla/websocket 1.5.3 writes nothing after its close frame (ErrCloseSent), so that there is no pong"
					}
					wait()
				}},
			},
		),
	},
	{
		number: "5.5.3", cause: causeControl,
		says: "a pong that nobody asked for is allowed, and is not answered",
		cases: each("a pong of %d bytes that nobody asked for is no harm", func(w *wire, n int) {
			w.open()
			w.send(frame(fin|opPong, long(n)), frame(fin|opPing, "mine"))
			w.want(pongOf("mine"))
			w.chats()
		}, 0, 4, 125),
	},
}
