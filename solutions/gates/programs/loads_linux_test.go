package programs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Who reads is not cut off and loses nothing, however many speak in the same moment, as
// long as each keeps to the limits.
func TestLoads(t *testing.T) {
	programs := map[string]string{"08-limits": buildServer(t, "08-limits"), last: buildServer(t, last)}
	for _, load := range []struct {
		folder                         string
		clients, speakers, times, size int
		long                           bool
		flags                          []string
	}{
		{"08-limits", 70, 70, 1, 8, false, nil},
		{"08-limits", 200, 200, 1, 8, false, nil},
		{"08-limits", 200, 4, 40, 8, false, nil},
		{last, 70, 70, 1, 8, false, nil},
		{last, 200, 200, 1, 8, false, nil},
		{last, 1000, 1000, 1, 8, true, nil},
		{last, 200, 4, 40, 8, false, nil},
		{last, 200, 200, 40, 8, true, nil},
		{last, 70, 4, 40, 32 << 10, true, []string{"-byte-rate", "0"}},
	} {
		t.Run(fmt.Sprintf("%s, %d of %d say %d of %d bytes", load.folder, load.speakers, load.clients, load.times, load.size), func(t *testing.T) {
			if load.long && !*long {
				t.Skip("it takes a while: go test ./solutions/gates/programs -long -v -run Loads")
			}
			server := startProcess(t, programs[load.folder], append(load.flags, "-addr", "127.0.0.1:0")...)
			testLoad(t, server, load.clients, load.speakers, load.times, load.size, load.folder == last)
		})
	}
}

// testLoad lets speakers say something at once, a number of times each. A message begins
// with who says it and its number.
func testLoad(t *testing.T, server *process, clients, speakers, times, size int, sameOrder bool) {
	conns := make([]*websocket.Conn, clients)
	for i := range conns {
		conns[i] = server.join(t, nth(i))
	}
	server.has(t, clients)
	var (
		all       sync.WaitGroup
		lost      atomic.Int64
		seed      = maphash.MakeSeed()
		orders    = make([]uint64, clients)
		began     = time.Now()
		undamaged = bytes.Repeat([]byte("a"), size-8)
	)
	for i, conn := range conns {
		all.Go(func() {
			conn.SetReadDeadline(began.Add(patience))
			var order maphash.Hash
			order.SetSeed(seed)
			next := make([]uint32, speakers)
			data := make([]byte, size)
			for n := range speakers * times {
				_, message, err := conn.NextReader()
				if err == nil {
					_, err = io.ReadFull(message, data)
				}
				if err != nil {
					lost.Add(int64(speakers*times - n))
					t.Errorf("client %d, after %d messages: %v", i, n, err)
					return
				}
				speaker, number := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
				if number != next[speaker] || !bytes.Equal(data[8:], undamaged) {
					t.Errorf("client %d: message %d of %d came where %d should, or is damaged", i, number, speaker, next[speaker])
				}
				next[speaker]++
				order.Write(data[:8])
			}
			orders[i] = order.Sum64()
		})
	}
	for i, conn := range conns[:speakers] {
		all.Go(func() {
			data := append(make([]byte, 8), undamaged...)
			binary.BigEndian.PutUint32(data, uint32(i))
			for n := range times {
				binary.BigEndian.PutUint32(data[4:], uint32(n))
				if err := conn.WriteMessage(websocket.BinaryMessage, data); err != nil {
					t.Errorf("speaker %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	evicted := server.logged("msg=disconnected")
	if evicted > 0 {
		t.Errorf("%d are cut off; the server's log ends with\n%s", evicted, tail(server.records(), 3))
	}
	slices.Sort(orders)
	different := len(slices.Compact(orders))
	if sameOrder && different > 1 {
		t.Errorf("the clients have got the messages in %d different orders", different)
	}
	t.Logf("loads: %d of %d clients say %d messages of %d bytes at once: %d deliveries in %v, evicted %d, lost %d, %d different orders",
		speakers, clients, times, size, clients*speakers*times, took.Round(time.Millisecond), evicted, lost.Load(), different)
}
