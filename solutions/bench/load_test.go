package main

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// message returns the payload of a sender's message with that count, as queue
// builds it.
func message(t *testing.T, sender int, count int32) string {
	t.Helper()
	l := &load{size: messageSize, clients: make([]*client, senders)}
	l.setSenders(senders)
	l.clients[sender] = new(client)
	l.sent[sender] = count
	l.queue(sender, 0)
	return string(l.clients[sender].unsent[2+4:])
}

// frame returns a server's frame.
func frame(first byte, payload string) string {
	if len(payload) < 126 {
		return string([]byte{first, byte(len(payload))}) + payload
	}
	return string(binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(payload)))) + payload
}

// Whatever way the bytes are cut into reads, each message counts once.
func TestMessagesAreFoundInAnyPieces(t *testing.T) {
	joinedByNewlines := message(t, 0, 1) + "\n" + message(t, 1, 0) + "\n" + message(t, 0, 2)
	stream := "HTTP/1.1 101 Switching Protocols\r\n\r\n" +
		frame(0x81, message(t, 0, 0)) +
		frame(0x01, joinedByNewlines[:100]) + frame(0x80, joinedByNewlines[100:]) +
		frame(0x81, `{"push":{"pub":{"data":"`+message(t, 3, 0)+`"}}}`)
	for size := 1; size <= len(stream); size++ {
		l := &load{size: messageSize}
		l.setSenders(senders)
		c := &client{fd: -1, next: make([]int32, senders)}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			data := append(c.unparsed, rest[:n]...)
			c.unparsed = append([]byte(nil), l.parse(c, data, 0)...)
			rest = rest[n:]
		}
		if l.delivered != 5 || !slices.Equal(c.next, []int32{3, 1, 0, 1}) || c.disorder != 0 || len(c.unparsed) != 0 {
			t.Fatalf("read %d bytes at a time: %d messages, next %v, %d in disorder, %d bytes left; want 5, [3 1 0 1], 0, 0",
				size, l.delivered, c.next, c.disorder, len(c.unparsed))
		}
	}
}

// A message that is missing is not counted, one that comes twice is disorder.
func TestLossAndDisorderShow(t *testing.T) {
	l := &load{size: messageSize}
	l.setSenders(senders)
	c := &client{fd: -1, state: joined, next: make([]int32, senders)}
	l.clients = []*client{c}
	l.sent[0] = 5
	for _, count := range []int32{0, 1, 3, 3, 2, 4} {
		l.parse(c, []byte(frame(0x81, message(t, 0, count))), 0)
	}
	r := &run{load: l, figures: figures{}}
	r.account()
	for name, want := range map[string]float64{"expected": 5, "delivered": 4, "lost": 1, "disorder": 2, "evicted": 0} {
		if got := r.figures[name]; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// To read a delivery allocates nothing.
func TestReadingAllocatesNothing(t *testing.T) {
	l := &load{size: messageSize}
	l.setSenders(senders)
	c := &client{fd: -1, state: joined, next: make([]int32, senders)}
	data := []byte(frame(0x81, message(t, 0, 0)))
	if n := testing.AllocsPerRun(100, func() { l.parse(c, data, 0) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}

func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	var h histogram
	for i := range 100_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 0.9999} {
		got, want := float64(h.quantile(q)), q*100_000*float64(time.Microsecond)
		if math.Abs(got-want) > 0.02*want {
			t.Errorf("quantile %v is %v, want about %v", q, time.Duration(got), time.Duration(want))
		}
	}
}

// Ratios are those of one round; the median is over the rounds.
func TestMedianOfRatios(t *testing.T) {
	all := results{Rounds: 3, Peers: []string{"08-limits", chat}}
	for round, rates := range [][2]float64{{1, 2}, {90, 100}, {1, 10}} {
		for i, peer := range all.Peers {
			all.Measured = append(all.Measured, measured{Round: round + 1, Scenario: "fanout", Peer: peer, Figures: figures{"per second": rates[i]}})
		}
	}
	c := column{figure: "per second", format: "%.2f", ratio: true}
	if got := all.median("fanout", "08-limits", c); got != 0.5 {
		t.Errorf("the median of 0.5, 0.9 and 0.1 is %v, want 0.5", got)
	}
	all.Measured[0].Error = "failed"
	if got := all.median("fanout", "08-limits", c); !math.IsNaN(got) {
		t.Errorf("with a round failed: %v, want NaN", got)
	}
}

func TestFillReplacesWhatIsBetweenTheMarks(t *testing.T) {
	page := "before\n<!-- bench: a -->\nold\n<!-- /bench -->\nbetween\n<!-- bench: b -->\n<!-- /bench -->\nafter\n"
	got, err := fill(page, func(name string) string { return "new " + name + "\n" })
	want := strings.NewReplacer("old", "new a", "b -->\n", "b -->\nnew b\n").Replace(page)
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := fill("<!-- bench: a -->\n", nil); err == nil {
		t.Error("a mark without its end is no error")
	}
}
