package main

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	// logRoom is how many records may wait for whoever reads the log.
	logRoom = 1000

	// flushWait is how long the last of them may take at the end of the program.
	flushWait = time.Second
)

// logWriter writes records to the log from a goroutine of its own. So a log that
// blocks, such as a pipe whose reader has stopped, costs its own records, and nobody
// has to wait for it. It never fails.
type logWriter struct {
	records chan []byte
	lost    atomic.Int64 // records that found no room
	flushed chan struct{}
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{records: make(chan []byte, logRoom), flushed: make(chan struct{})}
	go func() { // until the program ends
		for record := range l.records {
			if record == nil {
				close(l.flushed)
				return
			}
			if n := l.lost.Swap(0); n > 0 {
				fmt.Fprintf(w, "level=WARN msg=\"log is too slow\" lost=%d\n", n)
			}
			w.Write(record)
		}
	}()
	return l
}

// Write hands on one record ([io.Writer]).
func (l *logWriter) Write(record []byte) (int, error) {
	select {
	case l.records <- bytes.Clone(record):
	default:
		l.lost.Add(1)
	}
	return len(record), nil
}

// flush waits until what was written before has come through, or for flushWait. Call
// it once, at the end.
func (l *logWriter) flush() {
	timer := time.NewTimer(flushWait)
	defer timer.Stop()
	select {
	case l.records <- nil:
	case <-timer.C:
		return
	}
	select {
	case <-l.flushed:
	case <-timer.C:
	}
}
