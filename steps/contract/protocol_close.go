package contract

import (
	"context"
	"slices"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeClose = "a close handler does not answer, or the socket is closed before the close frame is out."

// protocolClose is about the end of connections.
var protocolClose = []protocolSection{
	{
		number: "5.5.1", cause: causeClose,
		says: "a close frame MUST be answered with a close frame, typically with the same code (1000, or none, will do); then the server closes TCP (section 7.1.1)",
		cases: slices.Concat(
			each("a close frame with %d is answered", func(w *wire, code int) {
				w.open()
				w.send(closeFrame(code, ""))
				w.closes(code, 1000, noCode)
			}, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999),
			each("a close frame with %s is answered", func(w *wire, in protocolInput) {
				w.open()
				w.send([]byte(in.sends))
				w.closes(1000, noCode)
			},
				protocolInput{"an empty body", string(frame(fin|opClose, ""))},
				protocolInput{"a reason", string(closeFrame(1000, "bye, 世界"))},
				protocolInput{"a reason of 123 bytes", string(closeFrame(1000, long(123)))},
			),
		),
	},
	{
		number: "5.5.1", cause: "what is still queued is written after the close frame.",
		says: "after a close frame nobody may send a data frame; the answer to one may wait for the message that is under way, and a server need not wait for ever for a client that does not read",
		cases: []protocolCase{{"nothing follows the server's close frame, even if more is queued", func(w *wire) {
			w.chatting()
			w.Did("the server broadcasts 200 messages of 32 KiB, more than TCP holds")
			text := long(maxMessageSize)
			for range 200 {
				w.Broadcast([]byte(text))
				w.relayed = append(w.relayed, wstest.Text(text))
				w.bob.Want(w.relayed...) // else one that reads would be too slow, too
				w.relayed = nil
			}
			w.send(closeFrame(1000, ""))
			for open := true; open; {
				_, open = w.next()
			}
		}}},
	},
	{
		number: "1.4", cause: "the read loop goes on after the close frame.",
		says: "after a close frame a peer discards whatever else comes",
		cases: []protocolCase{
			{"text after a close frame is nobody's", func(w *wire) {
				w.open()
				w.send(closeFrame(1000, ""), frame(fin|opText, "too late"), frame(fin|opPing, "too late"))
				w.ends()
			}},
			{"text between two close frames is nobody's", func(w *wire) {
				w.open()
				bye := closeFrame(1000, "")
				w.send(bye, frame(fin|opText, "too late"), bye)
				w.ends()
			}},
		},
	},
	{
		number: "5.5.1", cause: causeClose,
		says: "the body of a close frame, if there is one, MUST begin with a code of two bytes; how a receiver takes one byte is not said: it may be an error (1002), or stand for no code (as gorilla has it)",
		cases: []protocolCase{{"a close frame with a body of one byte ends the connection", func(w *wire) {
			w.open()
			w.send(frame(fin|opClose, "\x03"))
			w.fails(1002, 1000, noCode)
		}}},
	},
	{
		number: "7.4", cause: causeClose,
		says: "some codes MUST NOT stand in a close frame: 1004 to 1006, 1015, and what nobody has defined; how a receiver takes one is not said, but it may not send one back: 1002, 1000 or none will do",
		cases: each("a close frame with %d, which nobody may send, ends the connection and is not echoed", func(w *wire, code int) {
			w.open()
			w.send(closeFrame(code, ""))
			w.fails(1002, 1000, noCode)
		}, 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535),
	},
	{
		number: "7.4.2", cause: causeClose,
		says: "1000 to 2999 are for the RFC and what extends it; 1012 to 1014 were registered after it, so that a server may know them or not (gorilla knows 1012 and 1013)",
		cases: each("a close frame with %d, which came after the RFC, ends the connection", func(w *wire, code int) {
			w.open()
			w.send(closeFrame(code, ""))
			w.fails(code, 1002, 1000, noCode)
		}, 1012, 1013, 1014),
	},
	{
		number: "8.1", cause: causeClose,
		says: "the reason of a close frame is UTF-8 (section 5.5.1), and what is not UTF-8 MUST fail the connection; 1007 and 1002 both fit",
		cases: each("a close frame whose reason has %s fails the connection", func(w *wire, in protocolInput) {
			w.open()
			w.send(closeFrame(1000, "caf"+in.sends))
			w.fails(1002, 1007)
		}, notUTF8...),
	},
	{
		number: "7.1.1", cause: "Shutdown closes the sockets without a close frame, or does not wait for the answer, or does not close them after it.",
		says: "after both close frames the server closes TCP, and does so first; 1001 says that a server is going down (section 7.4.1)",
		cases: []protocolCase{
			{"Shutdown sends 1001, and closes TCP after the answer", func(w *wire) {
				w.chatting()
				wait := w.shutDown()
				w.wantClose(1001)
				w.send(closeFrame(1001, ""))
				w.ends()
				wait()
			}},
			{"Shutdown closes TCP after an answer without a code", func(w *wire) {
				w.chatting()
				wait := w.shutDown()
				w.wantClose(1001)
				w.send(frame(fin|opClose, ""))
				w.ends()
				wait()
			}},
			{"messages on their way when the server says 1001 do no harm", func(w *wire) {
				w.chatting()
				wait := w.shutDown()
				w.wantClose(1001)
				w.send(frame(fin|opBinary, "on its way"), frame(opText, "and "), frame(fin|opMore, "this"), closeFrame(1001, ""))
				w.ends()
				wait()
			}},
		},
	},
	{
		number: "7.1.5", cause: "the end of TCP does not end the connection, or ends more than one.",
		says: "a connection that ends without a close frame is closed (1006, which stands in no frame)",
		cases: slices.Concat(
			each("the end of TCP %s ends the connection alone", func(w *wire, in protocolInput) {
				w.chatting()
				w.send([]byte(in.sends))
				w.Did("ann ends her side of TCP")
				w.conn.CloseWrite()
				w.ends()
			},
				protocolInput{"between frames", ""},
				protocolInput{"within the first two bytes", "\x81"},
				protocolInput{"within a length", "\x82\xfe\x01"},
				protocolInput{"within a mask", "\x81\x85\x12\x34"},
				protocolInput{"within a payload", "\x81\x85\x12\x34\x56\x78zz"},
				protocolInput{"within a message", string(frame(opText, "hel"))},
			),
			[]protocolCase{{"a reset ends the connection alone", func(w *wire) {
				w.chatting()
				w.send(frame(opText, "hel"))
				w.Did("ann's connection is reset")
				w.conn.SetLinger(0)
				w.conn.Close()
			}}},
		),
	},
}

// shutDown starts Shutdown; what it returns waits for its end.
func (w *wire) shutDown() (wait func()) {
	w.Did("Shutdown is called")
	w.over = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- w.Shutdown(ctx) }()
	return func() {
		defer cancel()
		if err := <-done; err != nil {
			w.Fail("Shutdown returned %v, although everybody has answered.", err)
		}
	}
}
