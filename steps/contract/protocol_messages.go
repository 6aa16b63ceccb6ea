package contract

import (
	"bytes"
	"slices"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	causeFragments = "frames are handed on instead of messages: let ReadMessage, or the reader of NextReader, put the fragments together."
	causeUTF8      = "text is not checked with utf8.Valid, which gorilla leaves to you; or a fragment is checked instead of the message."
)

// protocolMessages is about messages: fragments, and what text may hold.
var protocolMessages = []protocolSection{
	{
		number: "5.4", cause: causeFragments,
		says: "a server MUST accept a message in fragments, whose payloads together are the payload of the message; how it cuts the message for others is its own affair",
		cases: []protocolCase{
			{"text in two fragments is one message", relaying([][]byte{frame(opText, "hello, "), frame(fin|opMore, "world")}, wstest.Text("hello, world"))},
			{"binary in two fragments is one message", relaying([][]byte{frame(opBinary, "\xff\x00"), frame(fin|opMore, "\xfe")}, wstest.Binary("\xff\x00\xfe"))},
			{"a thousand fragments of one byte are one message", relaying([][]byte{frame(opText, ""), bytes.Repeat(frame(opMore, "x"), 1000), frame(fin|opMore, "")}, wstest.Text(long(1000)))},
			{"fragments may be empty: the first", relaying([][]byte{frame(opText, ""), frame(fin|opMore, "hello")}, wstest.Text("hello"))},
			{"fragments may be empty: one in the middle", relaying([][]byte{frame(opText, "hel"), frame(opMore, ""), frame(fin|opMore, "lo")}, wstest.Text("hello"))},
			{"fragments may be empty: the last", relaying([][]byte{frame(opText, "hello"), frame(fin|opMore, "")}, wstest.Text("hello"))},
			{"fragments may be empty: all", relaying([][]byte{frame(opBinary, ""), frame(opMore, ""), frame(fin|opMore, "")}, wstest.Binary(""))},
			{"after a message in fragments comes a whole one", relaying(
				[][]byte{frame(opText, "hel"), frame(fin|opMore, "lo"), frame(fin|opBinary, "\xff"), frame(opText, "bye"), frame(fin|opMore, "!")},
				wstest.Text("hello"), wstest.Binary("\xff"), wstest.Text("bye!"))},
			{"fragments up to the limit are one message", relaying(
				[][]byte{frame(opText, long(maxMessageSize/2)), frame(opMore, long(maxMessageSize/2)), frame(fin|opMore, "")},
				wstest.Text(long(maxMessageSize)))},
		},
	},
	{
		number: "5.4", cause: causeFragments,
		says: "control frames may stand between the fragments of a message, and MUST be handled there",
		cases: []protocolCase{
			{"a ping between fragments is answered before the message ends", func(w *wire) {
				w.open()
				w.send(frame(opText, "hel"), frame(fin|opPing, "between"))
				w.want(pongOf("between"))
				w.send(frame(fin|opMore, "lo"))
				w.relays(wstest.Text("hello"))
			}},
			{"pongs between fragments are no part of the message", relaying(
				[][]byte{frame(opText, "hel"), frame(fin|opPong, "between"), frame(opMore, ""), frame(fin|opPong, ""), frame(fin|opMore, "lo")},
				wstest.Text("hello"))},
			{"a close frame between fragments ends the connection, and the message is nobody's", func(w *wire) {
				w.open()
				w.send(frame(opText, "hel"), closeFrame(1000, ""))
				w.closes(1000, noCode)
			}},
		},
	},
	{
		number: "5.4", cause: causeLibrary,
		says: "the fragments of one message follow each other: a new message within, or a continuation of nothing, MUST NOT be sent; no meaning is left for it but an error (1002)",
		cases: []protocolCase{
			{"text within a message fails the connection", failing([]int{1002}, frame(opText, "hel"), frame(fin|opText, "lo"))},
			{"binary within a message fails the connection", failing([]int{1002}, frame(opText, "hel"), frame(fin|opBinary, "lo"))},
			{"the start of a message within a message fails the connection", failing([]int{1002}, frame(opText, "hel"), frame(opText, "lo"))},
			{"a last fragment of nothing fails the connection", failing([]int{1002}, frame(fin|opMore, "lo"))},
			{"a fragment of nothing fails the connection", failing([]int{1002}, frame(opMore, "lo"))},
			{"a fragment of a message that is whole already fails the connection", func(w *wire) {
				w.chatting()
				w.violates([]int{1002}, frame(fin|opMore, "lo"))
			}},
		},
	},
	{
		number: "10.4", cause: causeTooBig,
		says: "a server that limits the size of messages (here to 32768 bytes) MUST protect itself against many fragments, too: it fails the connection, and 1009 says why (section 7.4.1)",
		cases: []protocolCase{
			{"fragments that are too big together fail the connection", failing([]int{1009}, frame(opText, long(16<<10)), frame(opMore, long(16<<10)), frame(fin|opMore, "x"))},
			{"many fragments that are too big together fail the connection", failing([]int{1009}, frame(opText, ""), bytes.Repeat(frame(opMore, long(100)), 328))},
			{"a fragment that makes the size overflow 63 bits fails the connection", failing([]int{1002, 1009}, frame(opText, "0123456789"), header(fin|opMore, 8, 1<<63-1, [4]byte{}), make([]byte, 2*maxMessageSize))},
		},
	},
	{
		number: "5.6", cause: causeUTF8,
		says: "text is UTF-8, and only the whole message need be: a fragment may end within a rune; binary messages hold any bytes",
		cases: slices.Concat(
			each("%s comes back", func(w *wire, in protocolInput) {
				relaying([][]byte{frame(fin|opText, in.sends)}, wstest.Text(in.sends))(w)
			},
				protocolInput{"an empty text", ""},
				protocolInput{"text with NUL and other control characters", "\x00\x01\x7f"},
				protocolInput{"text with runes of 1 to 4 bytes", "aé世𝄞"},
				protocolInput{"text with the first rune of each length", "\x00\u0080\u0800\U00010000"},
				protocolInput{"text with the last rune of each length", "\u007f\u07ff\uffff\U0010ffff"},
				protocolInput{"text with the runes around the surrogates", "\ud7ff\ue000"},
				protocolInput{"text with a byte order mark and noncharacters", "\ufeff\ufffe\ufdd0\U0001fffe"},
				protocolInput{"text with the replacement character", "\ufffd"},
			),
			[]protocolCase{
				{"text cut in two within its runes comes back whole", func(w *wire) {
					const text = "aé世𝄞"
					w.open()
					for i := range len(text) {
						w.send(frame(opText, text[:i]), frame(fin|opMore, text[i:]))
						w.relays(wstest.Text(text))
					}
				}},
				{"text cut into its bytes, with pings between them, comes back whole", func(w *wire) {
					const text = "é世𝄞"
					w.open()
					w.send(frame(opText, ""))
					for i := range len(text) {
						w.send(frame(opMore, text[i:i+1]), frame(fin|opPing, "?"))
						w.want(pongOf("?"))
					}
					w.send(frame(fin|opMore, ""))
					w.relays(wstest.Text(text))
				}},
				{"binary messages may hold what is no UTF-8", func(w *wire) {
					all := make([]byte, 256)
					for i := range all {
						all[i] = byte(i)
					}
					relaying([][]byte{frame(fin|opBinary, string(all)), frame(opBinary, "\xff"), frame(fin|opMore, "\xc3")},
						wstest.Binary(string(all)), wstest.Binary("\xff\xc3"))(w)
				}},
			},
		),
	},
	{
		number: "8.1", cause: causeUTF8,
		says: "text that is not UTF-8 MUST fail the connection; 1007 says so (section 7.4.1); when the error is found, in the middle or at the end, is not said",
		cases: slices.Concat(
			each("text with %s fails the connection", func(w *wire, in protocolInput) {
				failing([]int{1007}, frame(fin|opText, "caf"+in.sends))(w)
			}, notUTF8...),
			each("text in fragments with %s fails the connection", func(w *wire, in protocolInput) {
				failing([]int{1007}, frame(opText, "caf"+in.sends[:1]), frame(opMore, in.sends[1:]), frame(fin|opMore, ""))(w)
			}, notUTF8...),
			[]protocolCase{
				{"a rune that is cut off by the end of its message fails the connection", func(w *wire) {
					failing([]int{1007}, frame(opText, "caf"), frame(fin|opMore, "\xc3"), frame(fin|opText, "\xa9"))(w)
				}},
			},
		),
	},
}

// notUTF8 are bytes that stand in no UTF-8 text.
var notUTF8 = []protocolInput{
	{"a continuation byte of nothing", "\x80"},
	{"a rune of 2 bytes cut off", "\xc3"},
	{"a rune of 3 bytes cut off", "\xe4\xb8"},
	{"a rune of 4 bytes cut off", "\xf0\x9d\x84"},
	{"a rune that breaks off for a letter", "\xe4\xb8x"},
	{"an overlong rune of 2 bytes", "\xc0\xaf"},
	{"an overlong rune of 3 bytes", "\xe0\x9f\xbf"},
	{"an overlong rune of 4 bytes", "\xf0\x8f\xbf\xbf"},
	{"the first surrogate", "\xed\xa0\x80"},
	{"the last surrogate", "\xed\xbf\xbf"},
	{"a pair of surrogates", "\xed\xa0\xb4\xed\xb4\x9e"},
	{"a rune above U+10FFFF", "\xf4\x90\x80\x80"},
	{"a rune of 5 bytes", "\xf8\x88\x80\x80\x80"},
	{"the byte fe", "\xfe"},
	{"the byte ff", "\xff"},
}
