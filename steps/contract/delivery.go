package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes in which much happens at once, and every message counts.

// inOrderToMany lets two peers and the server speak to many.
func inOrderToMany(s *scene) {
	const receivers, each = 300, 30
	peers, _ := s.HandshakeAll("peer", receivers, wstest.Request{})
	ann, bob := s.Connect("ann"), s.Connect("bob")
	s.Did("ann and bob send %d messages each in one go, and %d more are broadcast", each, each)
	var all sync.WaitGroup
	all.Go(func() { ann.SendRaw(inOneGo(texts("ann", each))) })
	all.Go(func() { bob.SendRaw(inOneGo(texts("bob", each))) })
	all.Go(func() {
		for _, text := range texts("server", each) {
			s.Broadcast([]byte(text))
		}
	})
	all.Wait()
	s.Settle()
	for _, p := range append(peers, ann, bob) {
		next := make(map[string]int)
		got := p.Messages()
		if len(got) != 3*each {
			s.FailBecause("a message is lost when there are many clients, or when others broadcast at the same moment.",
				"%s got %d of the %d messages.", p.Name, len(got), 3*each)
		}
		for _, f := range got {
			var sender string
			var number int
			fmt.Sscanf(string(f.Payload), "%s %d", &sender, &number)
			if next[sender]++; number != next[sender] {
				s.FailBecause("a message goes its way in a goroutine of its own, and those run in any order.",
					"%s got number %d of %s's messages where number %d should have come.", p.Name, number, sender, next[sender])
			}
		}
	}
}

// joinAndLookUpAtOnce lets peers come and go while somebody looks for an id again and
// again: of two who use a map at the same time without a lock, the runtime ends the
// program when it sees them.
func joinAndLookUpAtOnce(s *scene) {
	const rounds, each = 500, 300
	s.Did("%d times a peer comes and another goes, while somebody sends to an id that nobody has", rounds)
	var last *wstest.Peer
	s.together(rounds, time.Millisecond, func(side, round int) {
		if side == 0 {
			for range each {
				s.Send(unknownID, "is anybody there?")
			}
			return
		}
		if last != nil {
			last.Leave()
		}
		last, _ = s.HandshakeQuietly(wstest.Request{})
	})
	s.Settle()
}

// joinAndBroadcastAtOnce lets peers come and go while somebody broadcasts, so that
// both meet at the hub's lock again and again.
func joinAndBroadcastAtOnce(s *scene) {
	const rounds, each = 1000, 20
	ann := s.Connect("ann")
	s.Did("%d times a peer comes and another goes while %d messages are broadcast", rounds, each)
	var last *wstest.Peer
	got := 0
	s.together(rounds, time.Millisecond, func(side, round int) {
		if side == 1 {
			if last != nil {
				last.Leave()
			}
			last, _ = s.HandshakeQuietly(wstest.Request{})
			return
		}
		got += len(ann.Messages())
		for i := range each {
			s.Broadcast(fmt.Append(nil, round*each+i))
		}
	})
	s.Settle()
	got += len(ann.Messages())
	if ann.Gone() {
		s.Fail("ann, who reads, was cut off.")
	}
	if got != rounds*each {
		s.FailBecause("Broadcast gives up when it does not get the lock at once, or goes through a map that somebody changes.",
			"ann got %d of %d messages, although she was connected all the time.", got, rounds*each)
	}
}

// joiner is the answer to a handshake that goes on over a joining.
type joiner struct {
	*httptest.ResponseRecorder
	conn *joining
}

// WriteHeader may be how a server answers, before it takes the connection over.
func (w *joiner) WriteHeader(status int) {
	w.conn.answered.Store(true)
	w.ResponseRecorder.WriteHeader(status)
}

func (w *joiner) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// joining is a connection whose peer takes everything at once, answers a close frame
// and says nothing else.
type joining struct {
	answered atomic.Bool // the handshake
	once     sync.Once
	written  chan struct{} // closed when a close frame has been written
	ending   sync.Once
	closed   chan struct{}
	said     bool // the close frame was read; belongs to the reader

	hold   <-chan struct{} // closed when the handshake may be answered; nil: at once
	answer <-chan struct{} // closed when a close frame may be answered
}

func newJoining(answer <-chan struct{}) *joining {
	return &joining{written: make(chan struct{}), closed: make(chan struct{}), answer: answer}
}

func (c *joining) Write(p []byte) (int, error) {
	if c.hold != nil && !c.answered.Load() {
		<-c.hold
	}
	c.answered.Store(true)
	if p[0] == 0x88 {
		c.once.Do(func() { close(c.written) })
	}
	return len(p), nil
}

func (c *joining) Read(p []byte) (int, error) {
	if c.said {
		<-c.closed
		return 0, io.EOF
	}
	select {
	case <-c.written:
		select {
		case <-c.answer:
		case <-c.closed:
			return 0, io.EOF
		}
		c.said = true
		return copy(p, closeFrame(1001, "")), nil
	case <-c.closed:
		return 0, io.EOF
	}
}

func (c *joining) Close() error {
	c.ending.Do(func() { close(c.closed) })
	return nil
}

func (c *joining) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (c *joining) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1234} }
func (c *joining) SetDeadline(time.Time) error      { return nil }
func (c *joining) SetReadDeadline(time.Time) error  { return nil }
func (c *joining) SetWriteDeadline(time.Time) error { return nil }
