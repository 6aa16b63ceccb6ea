package contract

import (
	"fmt"

	"example.com/wsworkshop/steps/internal/wstest"
)

// What the actors of FuzzActions may send.
var (
	messageSizes = []int{1, 20, 125, 126, 1000, maxMessageSize, maxMessageSize + 1}
	closeReasons = []string{"", "bye", long(123), "\xff"}

	closeCodes = []int{1000, 1001, 1003, 1007, 1010, 1011, 1013, 1014, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535}

	oddFrames = []struct{ name, bytes string }{
		{"a frame without a mask", "\x81\x02hi"},
		{"a frame with a reserved bit", "\xc1\x80\x00\x00\x00\x00"},
		{"a frame with opcode 3", "\x83\x80\x00\x00\x00\x00"},
		{"a frame with opcode 11", "\x8b\x80\x00\x00\x00\x00"},
		{"half a ping", "\x09\x80\x00\x00\x00\x00"},
		{"a ping of 126 bytes", "\x89\xfe\x00\x7e\x00\x00\x00\x00" + long(126)},
		{"the continuation of nothing", "\x80\x80\x00\x00\x00\x00"},
		{"the head of a message of 32 KiB and a byte", "\x82\xfe\x80\x01\x00\x00\x00\x00"},
		{"the head of a message of 2^63-1 bytes", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"},
		{"the head of a message of 2^64-1 bytes", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"},
		{"text that is not UTF-8", "\x81\x82\x00\x00\x00\x00\xc3\x28"},
		{"a close frame without a code", "\x88\x80\x00\x00\x00\x00"},
		{"a close frame of one byte", "\x88\x81\x00\x00\x00\x00\x03"},
	}
)

// send sends bytes as they are.
func (p *play) send(a *actor, what string, b []byte) {
	p.Did("%s sends %s", a.Name, what)
	a.stream = append(a.stream, b...)
	a.SendRaw(b)
	p.frames++
}

// text returns the next message of a, as long as size if that is long enough. It
// begins with the sender, so that who hears it knows.
func (a *actor) text(size int) []byte {
	a.sent++
	text := fmt.Sprintf("%s %d ", a.Name, a.sent)
	return []byte(text + long(max(0, size-len(text))))
}

func (p *play) say(a *actor, op byte, size int) {
	if size >= maxMessageSize {
		if p.big++; p.big > maxBig {
			return
		}
	}
	f := wstest.Frame{Fin: true, Op: op, Payload: a.text(size)}
	if op == wstest.OpBinary {
		f.Payload[len(f.Payload)-1] = 0xff
	}
	p.send(a, f.String(), f.Bytes())
}

// flood sends n messages or pings in one go.
func (p *play) flood(a *actor, n int, pings bool) {
	n = min(n, maxFrames-p.frames)
	if n <= 0 {
		return
	}
	p.apart = true
	var all []byte
	for range n {
		f := wstest.Frame{Fin: true, Op: wstest.OpText, Payload: a.text(0)}
		if pings {
			f.Op = wstest.OpPing
		}
		all = append(all, f.Bytes()...)
	}
	what := fmt.Sprint(n, " messages in one go")
	if pings {
		what = fmt.Sprint(n, " pings in one go")
	}
	p.send(a, what, all)
	p.frames += n - 1
}

// fragments sends a message in fragments. The bits of how say what else happens.
func (p *play) fragments(a *actor, how int) {
	is := func(bit int) bool { return how>>bit&1 == 1 }
	what := "a message in fragments"
	f := wstest.Frame{Op: wstest.OpText, Payload: a.text(0)}
	all := f.Bytes()
	add := func(says string, f wstest.Frame) {
		what += says
		all = append(all, f.Bytes()...)
	}
	if is(0) {
		add(", a ping between", wstest.Ping("between"))
	}
	if is(1) {
		add(", an empty one", wstest.Frame{Op: wstest.OpContinuation})
	}
	if is(2) && p.big < maxBig {
		p.big++
		add(", a big one", wstest.Frame{Op: wstest.OpContinuation, Payload: []byte(long(maxMessageSize - len(f.Payload)))})
	}
	if is(3) {
		add(", half a character", wstest.Frame{Op: wstest.OpContinuation, Payload: []byte("\xc3")})
	}
	if is(4) {
		add(", another message between", wstest.Text("between"))
	}
	if is(5) {
		add(", a close frame between", wstest.Close(1000, ""))
	}
	if !is(6) {
		add(", the last one", wstest.Frame{Fin: true, Op: wstest.OpContinuation, Payload: []byte("\xa9")[:how>>3&1]})
	}
	if is(7) {
		what += ", cut short by three bytes"
		all = all[:len(all)-3]
		p.silence(a) // what it would answer would only fill the gap
		a.IgnoreClose()
	}
	p.send(a, what, all)
}
