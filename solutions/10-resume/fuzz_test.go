package main

import (
	"encoding/binary"
	"testing"

	"example.com/wsworkshop/steps/contract"
	"github.com/gorilla/websocket"
)

// go test runs the inputs in testdata/fuzz; -v says which one, should the whole
// program die. To look for new inputs:
//
//	go test ./solutions/10-resume -fuzz FuzzFrames -fuzzminimizetime 10x
//
// Which goroutine runs first differs from run to run, and with it the coverage. So
// it is a waste to minimize each input for long (60 s, if nothing is said).

func FuzzFrames(f *testing.F)    { contract.FuzzFrames(f, start) }
func FuzzHandshake(f *testing.F) { contract.FuzzHandshake(f, start) }
func FuzzActions(f *testing.F)   { contract.FuzzActions(f, start) }

// FuzzPosition asks a log of so many broadcasts with the query of a handshake. LOG stands
// for the log's name. Whoever is let in gets exactly what the hello says.
func FuzzPosition(f *testing.F) {
	for _, query := range []string{"", "after=", "after=3&log=LOG", "after=0&log=LOG", "after=7&log=other", "log=LOG&after=9223372036854775807", "after=-1&log=LOG", "after=%33&log=LOG&x=1", "a;b"} {
		f.Add(query, uint16(5), uint16(100))
		f.Add(query, uint16(900), uint16(32<<10)) // more than the log holds
	}
	f.Fuzz(func(t *testing.T, query string, broadcasts, size uint16) {
		l := NewLog()
		l.id = "LOG"
		for n := range int(broadcasts) % 1000 {
			if err := l.Append(&Message{Type: websocket.TextMessage, Data: make([]byte, n*int(size)%(32<<10+1))}); err != nil {
				t.Fatal(err)
			}
		}
		cursor, hello, err := l.Begin(query)
		if err != nil {
			return
		}
		got := int64(0)
		for {
			frames, more, err := cursor.Next()
			if err != nil {
				t.Fatalf("%q: %v", query, err)
			}
			for ; len(frames) > 0; got++ {
				size := 2 + int(frames[1])
				if frames[1] == 126 {
					size = 4 + int(binary.BigEndian.Uint16(frames[2:]))
				}
				frames = frames[size:]
			}
			if more != closed {
				break
			}
		}
		_, next := l.End()
		if hello == nil {
			hello = &Hello{Next: next}
		}
		if hello.Next < 1 || got != next-hello.Next || got != hello.Waiting || hello.Missed < 0 || hello.Missed > 0 && !hello.Gap {
			t.Errorf("%q: hello %+v, and then %d broadcasts; the next one has number %d", query, *hello, got, next)
		}
	})
}
