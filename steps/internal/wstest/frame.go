package wstest

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Opcodes of frames (RFC 6455, section 5.2).
const (
	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	OpPong         = 0xA
)

// Frame is one WebSocket frame, as it crosses the wire. The bench has a codec of
// its own because libraries hide what a contract must see: where one frame ends
// and the next begins.
type Frame struct {
	Fin     bool
	Op      byte
	Payload []byte
	Parts   int // of a message: in how many more frames it came
}

// Text returns the frame of a whole text message.
func Text(s string) Frame { return Frame{Fin: true, Op: OpText, Payload: []byte(s)} }

// Binary returns the frame of a whole binary message.
func Binary(s string) Frame { return Frame{Fin: true, Op: OpBinary, Payload: []byte(s)} }

// Ping returns a ping with a payload.
func Ping(s string) Frame { return Frame{Fin: true, Op: OpPing, Payload: []byte(s)} }

// Close returns a close frame with a status code and a reason.
func Close(code int, reason string) Frame {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	return Frame{Fin: true, Op: OpClose, Payload: append(payload, reason...)}
}

// CloseCode returns the status code of a close frame, or 1005 if it has none
// (RFC 6455, section 7.1.5).
func (f Frame) CloseCode() int {
	if len(f.Payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(f.Payload))
}

// String describes the frame for a person.
func (f Frame) String() string {
	switch f.Op {
	case OpText, OpBinary, OpContinuation:
		name := map[byte]string{OpText: "text", OpBinary: "binary", OpContinuation: "continuation"}[f.Op]
		if !f.Fin {
			name += " (not final)"
		}
		return name + " " + quote(f.Payload)
	case OpClose:
		if len(f.Payload) > 2 {
			return fmt.Sprintf("close frame %d %q", f.CloseCode(), f.Payload[2:])
		}
		return fmt.Sprintf("close frame %d", f.CloseCode())
	case OpPing:
		return "ping " + quote(f.Payload)
	case OpPong:
		return "pong " + quote(f.Payload)
	}
	return fmt.Sprintf("frame with opcode %#x", f.Op)
}

// quote shows a payload, or its size if it is long or not text.
func quote(p []byte) string {
	if len(p) > 60 || !utf8.Valid(p) {
		return fmt.Sprintf("of %d bytes", len(p))
	}
	return fmt.Sprintf("%q", p)
}

// masks is a mask, many times. Any mask does: nobody is in between.
var masks = bytes.Repeat([]byte{0x12, 0x34, 0x56, 0x78}, 1024)

// appendMasked appends f as a client sends it: masked (RFC 6455, section 5.3).
func appendMasked(b []byte, f Frame) []byte {
	first := f.Op
	if f.Fin {
		first |= 0x80
	}
	b = append(b, first)
	switch n := len(f.Payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, masks[:4]...)
	begin := len(b)
	b = append(b, f.Payload...)
	for rest := b[begin:]; len(rest) > 0; {
		rest = rest[subtle.XORBytes(rest, rest, masks):]
	}
	return b
}

// ParseFrame takes the first frame from b, which a server sent. It returns n == 0
// if the frame is not complete yet, and an error if no server may send it.
func ParseFrame(b []byte) (f Frame, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	control, reserved := b[0]&0x08 != 0, b[0]&0x07 > 2
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 || reserved || control && (b[0]&0x80 == 0 || b[1] > 125) {
		return f, 0, fmt.Errorf("the bytes % x do not begin a frame of a server", b[:2])
	}
	f.Fin, f.Op = b[0]&0x80 != 0, b[0]&0x0f
	size, head, least := uint64(b[1]), 2, uint64(0)
	switch {
	case size == 126 && len(b) >= 4:
		size, head, least = uint64(binary.BigEndian.Uint16(b[2:])), 4, 126
	case size == 127 && len(b) >= 10:
		size, head, least = binary.BigEndian.Uint64(b[2:]), 10, 1<<16
	case size >= 126:
		return f, 0, nil
	}
	if size < least || size >= 1<<63 {
		return f, 0, fmt.Errorf("the bytes % x give a length of %d in more bytes than it needs, or in too many bits", b[:head], size)
	}
	if uint64(len(b)-head) < size {
		return f, 0, nil
	}
	f.Payload = append([]byte{}, b[head:head+int(size)]...)
	return f, head + int(size), nil
}
