package contract

import (
	"fmt"
	"slices"
	"strings"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	causeLibrary = "the frames are read past gorilla/websocket, or an error of ReadMessage does not end the connection."
	causeTooBig  = "SetReadLimit is not called with 32 KiB, or is called too late."
)

// protocolFrames is about single frames: masks, the first byte, lengths.
var protocolFrames = []protocolSection{
	{
		number: "5.1", cause: causeLibrary,
		says: "a server MUST close the connection when a frame has no mask; it MAY send a close frame with 1002 before",
		cases: slices.Concat(
			each("%s without a mask ends the connection", func(w *wire, in protocolInput) {
				failing([]int{1002}, []byte(in.sends))(w)
			},
				protocolInput{"text", "\x81\x02hi"},
				protocolInput{"an empty frame", "\x81\x00"},
				protocolInput{"a ping", "\x89\x00"},
				protocolInput{"a close frame", "\x88\x02\x03\xe8"},
			),
			[]protocolCase{
				{"a continuation without a mask ends the connection", failing([]int{1002}, frame(opText, "hel"), []byte("\x80\x02lo"))},
				{"the connection ends even if the client does not hang up", func(w *wire) {
					w.open()
					w.send([]byte("\x81\x02hi"))
					if f, open := w.next(); open && f.Op != opClose {
						w.Fail("the server sent %s, and did not fail the connection.", f)
					} else if open {
						w.wantCode(f, []int{1002})
						w.ends() // when it has waited for an answer: here 2 s
					}
				}},
			},
		),
	},
	{
		number: "5.3", cause: causeLibrary,
		says: "the client masks each frame with a key of its own, any of the 2^32; byte i of the payload is masked with byte i mod 4 of the key",
		cases: []protocolCase{
			{"payloads of all small lengths are unmasked", func(w *wire) {
				w.open()
				for n := 1; n <= 33; n++ {
					w.send(frame(fin|opBinary, pattern(n)))
					w.relays(wstest.Binary(pattern(n)))
				}
			}},
			{"each frame is unmasked with its own key", func(w *wire) {
				w.open()
				for _, key := range [][4]byte{{}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1}, {0x80, 0, 0, 0}, {0xde, 0xad, 0xbe, 0xef}} {
					w.send(header(fin|opText, 0, 5, key), masked("hello", key))
					w.relays(wstest.Text("hello"))
				}
			}},
			{"each fragment is unmasked with its own key", func(w *wire) {
				w.open()
				a, b, c := [4]byte{1, 2, 3, 4}, [4]byte{0xa0, 0xb0, 0xc0, 0xd0}, [4]byte{}
				w.send(
					header(opText, 0, 3, a), masked("one", a),
					header(opMore, 0, 6, b), masked(" two, ", b),
					header(fin|opMore, 0, 5, c), masked("three", c))
				w.relays(wstest.Text("one two, three"))
			}},
			{"a payload that comes byte by byte is unmasked", func(w *wire) {
				w.open()
				w.sendSlowly(frame(fin|opBinary, pattern(300)))
				w.relays(wstest.Binary(pattern(300)))
			}},
		},
	},
	{
		number: "5.2", cause: causeLibrary,
		says: "without an extension that gives it a meaning, a reserved bit that is set MUST fail the connection",
		cases: []protocolCase{
			{"text with the reserved bit 1 fails the connection", failing([]int{1002}, frame(fin|rsv1|opText, "hi"))},
			{"text with the reserved bit 2 fails the connection", failing([]int{1002}, frame(fin|rsv2|opText, "hi"))},
			{"text with the reserved bit 3 fails the connection", failing([]int{1002}, frame(fin|rsv3|opText, "hi"))},
			{"text with all reserved bits fails the connection", failing([]int{1002}, frame(fin|rsv1|rsv2|rsv3|opText, "hi"))},
			{"a continuation with a reserved bit fails the connection", failing([]int{1002}, frame(opText, "hel"), frame(fin|rsv1|opMore, "lo"))},
			{"a ping with a reserved bit fails the connection", failing([]int{1002}, frame(fin|rsv1|opPing, "hi"))},
			{"a close frame with a reserved bit fails the connection", failing([]int{1002}, frame(fin|rsv3|opClose, "\x03\xe8"))},
			{"reserved bit 1 fails the connection if permessage-deflate was offered, but not answered", func(w *wire) {
				w.wantIn(w.ask(firstLine, "Sec-WebSocket-Extensions: permessage-deflate"))
				if w.extended {
					return // it has a meaning now
				}
				w.violates([]int{1002}, frame(fin|rsv1|opText, "hi"))
			}},
		},
	},
	{
		number: "5.2", cause: causeLibrary,
		says: "an unknown opcode MUST fail the connection",
		cases: each("opcode %#x fails the connection", func(w *wire, op byte) {
			failing([]int{1002}, frame(fin|op, "hi"))(w)
		}, 0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf),
	},
	{
		number: "5.2", cause: causeLibrary,
		says: "a length of up to 125 stands in 7 bits, of up to 65535 in 16 more, and above in 64 more",
		cases: slices.Concat(
			each("a message of %d bytes comes back whole", func(w *wire, n int) {
				relaying([][]byte{frame(fin|opBinary, pattern(n))}, wstest.Binary(pattern(n)))(w)
			}, 0, 1, 125, 126, 127, 128, 255, 256, 1023, 1024, 1025, maxMessageSize-1, maxMessageSize),
			[]protocolCase{{"the server's own lengths are right, and as short as can be", func(w *wire) {
				w.chatting()
				for _, n := range []int{0, 125, 126, 1<<16 - 1, 1 << 16} {
					w.Did("the server broadcasts a text of %d bytes", n)
					if w.Broadcast([]byte(long(n))) != nil {
						break // too big for this server, and so are those after it
					}
					w.relays(wstest.Text(long(n)))
				}
			}}},
		),
	},
	{
		number: "10.4", cause: causeTooBig,
		says: "a server that limits the size of messages (here to 32768 bytes) MUST protect itself against more: it fails the connection, and 1009 says why (section 7.4.1)",
		cases: slices.Concat(
			each("a message of %d bytes fails the connection", func(w *wire, n int) {
				failing([]int{1009}, frame(fin|opText, long(n)))(w)
			}, maxMessageSize+1, 1<<16-1, 1<<16, 1<<20),
			each("the beginning of a message of %d bytes fails the connection", func(w *wire, n uint64) {
				failing([]int{1009}, header(fin|opBinary, 8, n, [4]byte{}), make([]byte, 2*maxMessageSize))(w)
			}, 1<<31, 1<<32, 1<<62, 1<<63-1),
		),
	},
	{
		number: "5.2", cause: causeLibrary,
		says: "the first bit of a length of 64 bits MUST be 0; how a receiver takes it is not said, so that 1002 (it is an error) and 1009 (it is too big) both fit",
		cases: each("the beginning of a message of %d bytes fails the connection", func(w *wire, n uint64) {
			failing([]int{1002, 1009}, header(fin|opBinary, 8, n, [4]byte{}), make([]byte, 2*maxMessageSize))(w)
		}, 1<<63, 1<<63+2, 1<<64-1),
	},
	{
		number: "5.2", cause: causeLibrary,
		says: "a sender MUST use as few bytes for the length as will do; a receiver need not mind, so that it may take the frame for what it says (as gorilla does), or fail the connection with 1002",
		cases: each("a length in more bytes than it needs, %s, is read right or refused", func(w *wire, in needless) {
			w.open()
			w.send(header(fin|opText, in.lengthBytes, uint64(in.length), [4]byte{}), []byte(long(in.length)))
			want := wstest.Text(long(in.length))
			if f, failed := w.failsOr(1002); !failed {
				w.wantSame(f, want)
				w.relayed = append(w.relayed, want)
			}
		}, needless{2, 0}, needless{2, 2}, needless{2, 125}, needless{8, 2}, needless{8, 126}, needless{8, 300}),
	},
	{
		number: "5.2", cause: "the bytes that one Read returns are taken for one frame.",
		says: "frames follow one another without a gap; where TCP cuts its segments means nothing",
		cases: []protocolCase{
			{"many frames in one segment are many frames", func(w *wire) {
				w.open()
				var b []byte
				var all []wstest.Frame
				for _, text := range texts("message", 30) {
					b = append(b, frame(fin|opText, text)...)
					all = append(all, wstest.Text(text))
				}
				w.send(b)
				w.relays(all...)
			}},
			{"frames that come byte by byte are the same frames", func(w *wire) {
				world := strings.Repeat("世", 50)
				w.open()
				w.sendSlowly(frame(opText, world), frame(fin|opPing, "hi"))
				w.want(pongOf("hi"))
				w.sendSlowly(frame(fin|opMore, "界"))
				w.relays(wstest.Text(world + "界"))
				w.sendSlowly(closeFrame(1000, ""))
				w.closes(1000, noCode)
			}},
		},
	},
}

// needless is a length in more bytes than it needs.
type needless struct{ lengthBytes, length int }

func (n needless) String() string {
	return fmt.Sprintf("%d in %d bits", n.length, 8*n.lengthBytes)
}
