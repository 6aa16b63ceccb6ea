package main

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/google/uuid"
)

var errNotYet = errors.New("no broadcast has this number yet")

// Hello is the first message to a peer that counts, as JSON. Each message after it is
// the next broadcast, but for those that come behind Alone.
type Hello struct {
	Log     string `json:"log"`     // the log that the numbers are of
	Next    int64  `json:"next"`    // the number of the broadcast that comes next
	Waiting int64  `json:"waiting"` // how many broadcasts wait for the peer already
	Gap     bool   `json:"gap"`     // between what the peer has and Next there were others, or may have been
	Missed  int64  `json:"missed"`  // how many, or 0 if nobody knows
	Alone   string `json:"alone"`   // this text says: the message behind it is for you alone
}

// position is what a peer says in the query of its handshake. One that counts has
// "after=", with the number of the last broadcast that it has, and "log=", with the
// log that it is of. A newcomer, who has nothing, leaves both empty.
type position struct {
	counts bool
	log    string
	after  int64
}

// parsePosition reads the query of a handshake.
func parsePosition(query string) (p position, err error) {
	q, err := url.ParseQuery(query)
	if !q.Has("after") && !q.Has("log") {
		return p, nil // whatever else it says
	}
	if err != nil {
		return p, err
	}
	p.counts, p.log = true, q.Get("log")
	if len(q["after"]) != 1 || len(q["log"]) > 1 || (q.Get("after") == "") != (p.log == "") {
		return p, errors.New("after and log belong together, once each")
	}
	if p.log != "" {
		n, err := strconv.ParseUint(q.Get("after"), 10, 63)
		if err != nil {
			return p, errors.New("after is not the number of a broadcast")
		}
		p.after = int64(n)
	}
	return p, nil
}

// Begin returns where in the log a peer begins, by the query of its handshake, and its
// first message, which is nil if it does not count. An error says what is wrong with
// the query.
func (l *Log) Begin(query string) (Cursor, *Hello, error) {
	cursor, next := l.End()
	p, err := parsePosition(query)
	if err != nil || !p.counts {
		return cursor, nil, err
	}
	hello := &Hello{Log: l.id, Next: next, Alone: uuid.NewString()}
	switch p.log {
	case "": // a newcomer
	case l.id:
		if cursor, hello.Next, err = l.After(p.after); err != nil {
			return cursor, nil, err
		}
		hello.Waiting = max(0, next-hello.Next)
		hello.Missed = hello.Next - p.after - 1
		hello.Gap = hello.Missed > 0
	default:
		hello.Gap = true
	}
	return cursor, hello, nil
}
