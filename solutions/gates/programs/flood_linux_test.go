package programs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// An address that sends as much as it can costs the others next to nothing.
func testFlood(t *testing.T, program string) {
	const calm, storm, connections = 4 * time.Second, 8 * time.Second, 20
	server := startProcess(t, program, "-addr", "127.0.0.1:0")
	var r round
	t.Cleanup(r.all.Wait) // after the connections are closed
	for i := range r.conns {
		r.conns[i] = server.join(t, nth(i))
	}
	server.has(t, len(r.conns))
	for i := range r.conns {
		r.all.Go(func() { r.listen(t, i) })
	}
	atFirst := server.cpu(t)
	p99AtFirst := r.talk(t, calm)
	before := server.cpu(t)

	var flooding sync.WaitGroup
	var flooded atomic.Int64
	t.Cleanup(flooding.Wait)
	flood := func(ip string, begin, again []byte, times int) {
		conn := server.join(t, ip).NetConn()
		flooding.Go(func() { io.Copy(io.Discard, conn) })
		flooding.Go(func() {
			_, err := conn.Write(begin)
			for n := 0; err == nil && times > 0; times-- {
				n, err = conn.Write(again)
				flooded.Add(int64(n))
			}
		})
	}
	largest := append([]byte{0x82, 0xfe, 0x80, 0, 0, 0, 0, 0}, make([]byte, 32<<10)...)
	fragment := []byte{0x02, 0x80, 0, 0, 0, 0} // the first; those that follow have no opcode
	fragments := bytes.Repeat([]byte{0x00, 0x80, 0, 0, 0, 0}, 10_000)
	for range connections {
		flood("127.0.2.1", nil, largest, 40)
		flood("127.0.2.2", fragment, fragments, 1<<20)
	}
	p99 := r.talk(t, storm)
	cost := server.cpu(t) - before
	if p99 > 10*time.Second {
		t.Errorf("what healthy peers say takes %v, and took %v before", p99, p99AtFirst)
	}
	if cost > storm/3 { // without the limit of bytes it is more than a half
		t.Errorf("in %v the flood has cost the server %v of CPU", storm, cost)
	}
	if n := server.logged("msg=disconnected"); n > 0 {
		t.Errorf("%d are cut off; the server's log ends with\n%s", n, tail(server.records(), 5))
	}
	sent := flooded.Load()
	server.Process.Signal(syscall.SIGTERM)
	server.leaves(t)
	t.Logf("attacks: a flood: 2 addresses with %d connections each sent %d MB; %d healthy peers lost nothing, p99 %v before and %v meanwhile; CPU %v in %v before, and %v in %v meanwhile",
		connections, sent>>20, len(r.conns), p99AtFirst, p99, before-atFirst, calm, cost, storm)
}

// talkers is how many peers of a round talk.
const talkers = 2

// round is healthy peers. A message has the number of its talker, its number among the
// talker's, and the time.
type round struct {
	conns [10]*websocket.Conn
	all   sync.WaitGroup
	said  [talkers]uint32 // each belongs to its talker
	heard [10][talkers]atomic.Uint32

	mu   sync.Mutex // guards took
	took []time.Duration
}

// listen reads until the server says goodbye. No message may be missing.
func (r *round) listen(t *testing.T, i int) {
	for {
		_, data, err := r.conns[i].ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, websocket.CloseGoingAway) && t.Context().Err() == nil {
				t.Errorf("a healthy peer: %v", err)
			}
			return
		}
		if len(data) != 16 {
			continue // of the flood
		}
		talker, number := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		if want := r.heard[i][talker].Add(1); number != want {
			t.Errorf("message %d came where %d should", number, want)
		}
		r.mu.Lock()
		r.took = append(r.took, time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(data[8:])))))
		r.mu.Unlock()
	}
}

// talk lets the talkers say five messages a second for a while. When all have come to all,
// it returns in what time 99 of 100 have.
func (r *round) talk(t *testing.T, wait time.Duration) time.Duration {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), wait)
	defer stop()
	var talking sync.WaitGroup
	for i := range r.said {
		talking.Go(func() {
			every(ctx, 200*time.Millisecond, func() {
				r.said[i]++
				data := binary.BigEndian.AppendUint32(nil, uint32(i))
				data = binary.BigEndian.AppendUint32(data, r.said[i])
				data = binary.BigEndian.AppendUint64(data, uint64(time.Now().UnixNano()))
				if err := r.conns[i].WriteMessage(websocket.BinaryMessage, data); err != nil {
					t.Errorf("a talker: %v", err)
				}
			})
		})
	}
	talking.Wait()
	eventually(t, "all has come to all", func() bool {
		for i := range r.heard {
			for talker := range r.said {
				if r.heard[i][talker].Load() != r.said[talker] {
					return false
				}
			}
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.took)
	p99 := r.took[len(r.took)*99/100]
	r.took = nil
	return p99.Round(time.Millisecond / 100)
}

// cpu returns how long the process has used a CPU.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ, which is 100 everywhere
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ") // behind the name, where fields 3 and on begin
	f := strings.Fields(after)
	user, _ := strconv.Atoi(f[14-3])
	system, _ := strconv.Atoi(f[15-3])
	return time.Duration(user+system) * tick
}
