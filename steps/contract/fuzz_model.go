package contract

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"example.com/wsworkshop/steps/internal/wstest"
)

// reading is what RFC 6455 makes of the bytes that one peer sends: up to the first
// violation, the first close frame, or the end of the bytes.
type reading struct {
	messages []wstest.Frame // whole and valid
	pings    []string       // their payloads
	frames   int            // how many frames there are
	between  bool           // the bytes end where the next message may begin
	ends     []int          // the close codes that may answer what ends it; 1005: without a code
	why      string         // what ends it, in words
}

// read returns the reading of what a peer has sent. Where gorilla is milder than
// the RFC it allows both: for a close frame of one byte, and for a length in more
// bytes than it needs.
func read(b []byte) (r reading) {
	var message *wstest.Frame // the fragments so far
	for {
		if len(b) < 2 {
			r.between = len(b) == 0 && message == nil
			return r
		}
		fin, op, masked, size := b[0]&0x80 != 0, b[0]&0x0f, b[1]&0x80 != 0, uint64(b[1]&0x7f)
		control := op >= wstest.OpClose
		switch {
		case b[0]&0x70 != 0:
			return r.end("a reserved bit", 1002)
		case op > wstest.OpBinary && !control || op > wstest.OpPong:
			return r.end("an unknown opcode", 1002)
		case control && (!fin || size > 125):
			return r.end("a control frame that is too long or not final", 1002)
		case !control && (op == wstest.OpContinuation) != (message != nil):
			return r.end("a fragment out of place", 1002)
		case !masked:
			return r.end("a frame without a mask", 1002)
		}

		head := 2
		switch {
		case size == 126 && len(b) >= 4:
			size, head = uint64(binary.BigEndian.Uint16(b[2:])), 4
		case size == 127 && len(b) >= 10:
			size, head = binary.BigEndian.Uint64(b[2:]), 10
		case size >= 126:
			return r
		}
		if size > 1<<63-1 {
			return r.end("a length of 64 bits", 1002, 1009)
		}
		if len(b) < head+4 {
			return r
		}
		mask, rest := b[head:head+4], b[head+4:]
		before := 0
		if message != nil {
			before = len(message.Payload)
		}
		if !control && size+uint64(before) > maxMessageSize {
			return r.end("a message that is too big", 1009)
		}
		if uint64(len(rest)) < size {
			return r
		}
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = rest[i] ^ mask[i%4]
		}
		b = rest[size:]
		r.frames++

		switch op {
		case wstest.OpPing:
			r.pings = append(r.pings, string(payload))
		case wstest.OpPong:
		case wstest.OpClose:
			return r.closed(wstest.Frame{Op: op, Payload: payload})
		default:
			if message == nil {
				message = &wstest.Frame{Op: op}
			}
			message.Payload = append(message.Payload, payload...)
			if message.Fin = fin; !fin {
				continue
			}
			if message.Op == wstest.OpText && !utf8.Valid(message.Payload) {
				return r.end("text that is not UTF-8", 1007)
			}
			r.messages = append(r.messages, *message)
			message = nil
		}
	}
}

// String describes the reading for a person.
func (r reading) String() string {
	s := fmt.Sprintf("%d messages, %d pings", len(r.messages), len(r.pings))
	switch {
	case r.ends != nil:
		return s + ", then " + r.why
	case !r.between:
		return s + ", and a part of a message"
	}
	return s
}

func (r reading) end(why string, codes ...int) reading {
	r.why, r.ends = why, codes
	return r
}

// closed ends the reading with a close frame, which is answered with its code or
// with 1000.
func (r reading) closed(f wstest.Frame) reading {
	why, code := "a "+f.String(), f.CloseCode()
	switch {
	case len(f.Payload) == 0:
		return r.end(why, 1005, 1000)
	case len(f.Payload) == 1:
		return r.end("a close frame of one byte", 1002, 1005, 1000)
	case code == 1014: // registered after gorilla's list was made
		return r.end(why, 1002, 1014, 1000)
	case !maySend(code):
		return r.end(why, 1002)
	case !utf8.Valid(f.Payload[2:]):
		return r.end("a close frame whose reason is not UTF-8", 1002, 1007)
	}
	return r.end(why, code, 1000)
}

// maySend reports whether a close code may be in a close frame (RFC 6455, section
// 7.4, and IANA's registry).
func maySend(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}
