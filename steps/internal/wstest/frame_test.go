package wstest

import (
	"encoding/binary"
	"strings"
	"testing"
)

// unmasked returns f as a server sends it: the frame of a client without its mask.
func unmasked(f Frame) []byte {
	b := appendMasked(nil, f)
	head := len(b) - len(f.Payload) - 4
	b = append(b[:head:head], f.Payload...)
	b[1] &^= 0x80
	return b
}

func TestFrameComesBackAsItWasSent(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1} {
		want := Text(strings.Repeat("x", size))
		wire := unmasked(want)
		got, n, err := ParseFrame(append(wire, "rest"...))
		if err != nil || n != len(wire) || got.String() != want.String() || string(got.Payload) != string(want.Payload) {
			t.Errorf("%d bytes: ParseFrame = %s, %d, %v; want %s, %d", size, got, n, err, want, len(wire))
		}
		for _, cut := range []int{0, 1, 2, 3, len(wire) / 2, len(wire) - 1} {
			if cut >= len(wire) {
				continue
			}
			if _, n, err := ParseFrame(wire[:cut]); n != 0 || err != nil {
				t.Errorf("%d bytes, cut after %d: ParseFrame = %d, %v; want 0 and no error", size, cut, n, err)
			}
		}
	}
}

func TestMaskedPayloadIsNotPlain(t *testing.T) {
	b := appendMasked(nil, Text("hello"))
	if b[1]&0x80 == 0 || strings.Contains(string(b), "hello") {
		t.Errorf("% x is not masked", b)
	}
	mask := b[2:6]
	for i, c := range b[6:] {
		if c^mask[i%4] != "hello"[i] {
			t.Errorf("byte %d of the payload is masked wrongly", i)
		}
	}
}

func TestBytesThatNoServerSendsAreAnError(t *testing.T) {
	for name, b := range map[string]string{
		"a masked frame":            "\x81\x85",
		"a reserved bit":            "\xc1\x00",
		"a reserved data opcode":    "\x83\x00",
		"a reserved control opcode": "\x8b\x00",
		"a control frame in parts":  "\x09\x00",
		"a control frame too long":  "\x89\x7e\x00\x7e",
		"HTTP":                      "HTTP/1.1 400",
	} {
		if f, n, err := ParseFrame([]byte(b)); err == nil {
			t.Errorf("%s: ParseFrame = %s, %d; want an error", name, f, n)
		}
	}
}

func TestFragmentsBecomeOneMessage(t *testing.T) {
	p := &Peer{outgoing: newQueue(), changed: make(chan struct{}, 1)}
	for _, f := range []Frame{
		{Op: OpText, Payload: []byte("he")},
		Ping("in between"),
		{Op: OpContinuation, Payload: []byte("ll")},
		{Op: OpContinuation, Payload: []byte("o"), Fin: true},
		Binary("whole"),
	} {
		p.raw = append(p.raw, unmasked(f)...)
	}
	p.handle()
	if p.broken != nil || len(p.messages) != 2 || len(p.pings) != 1 {
		t.Fatalf("got %v and %d pings (%v)", p.messages, len(p.pings), p.broken)
	}
	if m := p.messages[0]; m.String() != `text "hello"` || m.Parts != 2 || m.Op != OpText {
		t.Errorf("got %s, with %d more frames; want text \"hello\", with 2", m, m.Parts)
	}
	if m := p.messages[1]; m.Parts != 0 {
		t.Errorf("%s is one frame, not %d", m, m.Parts+1)
	}
}

func TestFragmentsOutOfPlaceAreAnError(t *testing.T) {
	for name, frames := range map[string][]Frame{
		"continues nothing":     {{Op: OpContinuation, Fin: true}},
		"begins before the end": {{Op: OpText}, Text("hello")},
	} {
		p := &Peer{outgoing: newQueue(), changed: make(chan struct{}, 1)}
		for _, f := range frames {
			p.raw = append(p.raw, unmasked(f)...)
		}
		if p.handle(); p.broken == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFrameDescribesItself(t *testing.T) {
	for want, f := range map[string]Frame{
		`text "hello"`:             Text("hello"),
		`binary of 2 bytes`:        Binary("\xff\xfe"),
		`text of 61 bytes`:         Text(strings.Repeat("x", 61)),
		`text (not final) "hel"`:   {Op: OpText, Payload: []byte("hel")},
		`continuation "lo"`:        {Op: OpContinuation, Fin: true, Payload: []byte("lo")},
		`ping "1"`:                 Ping("1"),
		`pong "1"`:                 {Op: OpPong, Fin: true, Payload: []byte("1")},
		`close frame 1001 "later"`: Close(1001, "later"),
		`close frame 1000`:         Close(1000, ""),
		`close frame 1005`:         {Op: OpClose, Fin: true},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := binary.BigEndian.Uint16(Close(1009, "").Payload); got != 1009 {
		t.Errorf("the close frame holds %d", got)
	}
}
