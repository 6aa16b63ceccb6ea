package contract

import (
	"encoding/binary"
	"fmt"

	"example.com/wsworkshop/steps/internal/wstest"
)

// The first byte of a frame (RFC 6455, section 5.2).
const (
	fin, rsv1, rsv2, rsv3 = 0x80, 0x40, 0x20, 0x10

	opMore   = wstest.OpContinuation
	opText   = wstest.OpText
	opBinary = wstest.OpBinary
	opClose  = wstest.OpClose
	opPing   = wstest.OpPing
	opPong   = wstest.OpPong
)

// noCode stands for a close frame without a code (section 7.1.5).
const noCode = 1005

// frame returns a frame as a client should send it, but with any first byte.
func frame(first byte, payload string) []byte {
	return wstest.Frame{Fin: first&fin != 0, Op: first &^ fin, Payload: []byte(payload)}.Bytes()
}

// header returns the header of a frame whose length stands in so many bytes after
// the second: 0, 2 or 8, needed or not. With the mask 0 the payload stays as it is.
func header(first byte, lengthBytes int, length uint64, mask [4]byte) []byte {
	b := []byte{first, 0x80}
	switch lengthBytes {
	case 0:
		b[1] |= byte(length)
	case 2:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	case 8:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, length)
	}
	return append(b, mask[:]...)
}

// masked returns a masked payload (section 5.3).
func masked(payload string, mask [4]byte) []byte {
	b := []byte(payload)
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return b
}

// closeFrame returns a close frame with a code and a reason.
func closeFrame(code int, reason string) []byte {
	return wstest.Close(code, reason).Bytes()
}

// pongOf returns the answer to a ping.
func pongOf(payload string) wstest.Frame {
	return wstest.Frame{Fin: true, Op: opPong, Payload: []byte(payload)}
}

// pattern returns n bytes that show when some of them are lost or swapped.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> (i % 3))
	}
	return string(b)
}

// hex shows bytes, or the first of many.
func hex(b []byte) string {
	if len(b) <= 40 {
		return fmt.Sprintf("% x", b)
	}
	return fmt.Sprintf("% x ... (%d bytes)", b[:32], len(b))
}
