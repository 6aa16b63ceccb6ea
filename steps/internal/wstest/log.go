package wstest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Log collects log records. It is an [slog.Handler].
type Log struct {
	attrs []slog.Attr // of the loggers made by With
	store *logStore
}

type logStore struct {
	slow atomic.Bool // see Slow
	told atomic.Pointer[func(Record)]

	mu      sync.Mutex // guards records
	records []Record
}

// Record is one log record, with the attributes of its logger.
type Record struct {
	Level   slog.Level
	Message string
	Attrs   []slog.Attr
}

// turns is how often a slow log lets others run before it takes a record.
const turns = 1000

// NewLog returns an empty log.
func NewLog() *Log { return &Log{store: new(logStore)} }

// Logger returns a logger that writes to the log.
func (l *Log) Logger() *slog.Logger { return slog.New(l) }

// Records returns the records so far.
func (l *Log) Records() []Record {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return append([]Record{}, l.store.records...)
}

// Slow lets whatever can run go first, before each record from now on. It does not
// wait: a server may log under a lock, and that would stop the time of a bubble.
func (l *Log) Slow() { l.store.slow.Store(true) }

// OnRecord lets f be called for each record from now on, before the server that logs
// goes on. f must not wait.
func (l *Log) OnRecord(f func(Record)) { l.store.told.Store(&f) }

// Clear forgets all records.
func (l *Log) Clear() {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.store.records = nil
}

func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

func (l *Log) Handle(_ context.Context, r slog.Record) error {
	record := Record{Level: r.Level, Message: r.Message, Attrs: slices.Clone(l.attrs)}
	r.Attrs(func(a slog.Attr) bool {
		record.Attrs = appendFlat(record.Attrs, a)
		return true
	})
	if l.store.slow.Load() {
		for range turns {
			runtime.Gosched()
		}
	}
	l.store.mu.Lock()
	l.store.records = append(l.store.records, record)
	l.store.mu.Unlock()
	if f := l.store.told.Load(); f != nil {
		(*f)(record)
	}
	return nil
}

func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &Log{attrs: slices.Clone(l.attrs), store: l.store}
	for _, a := range attrs {
		with.attrs = appendFlat(with.attrs, a)
	}
	return with
}

// appendFlat appends an attribute, or the attributes of a group, as they are now.
func appendFlat(to []slog.Attr, a slog.Attr) []slog.Attr {
	value := a.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		return append(to, slog.Attr{Key: a.Key, Value: value})
	}
	for _, inner := range value.Group() {
		to = appendFlat(to, inner)
	}
	return to
}

// WithGroup ignores the group: a contract looks for values, not for paths.
func (l *Log) WithGroup(string) slog.Handler { return l }

// String shows the record on one line, long values cut short.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", r.Level, short(r.Message, 200))
	for _, a := range r.Attrs {
		fmt.Fprintf(&b, " %s=%s", a.Key, short(a.Value.String(), 80))
	}
	return b.String()
}

// short returns the first line of s, or as much of it as there is room for.
func short(s string, room int) string {
	first, _, cut := strings.Cut(s, "\n")
	if cut || len(first) > room {
		return first[:min(len(first), room)] + "..."
	}
	return s
}
