package programs

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// follower is a peer that counts what is broadcast, and comes back to where it was.
type follower struct {
	url  string
	from string // its address
	log  string
	last int64 // the number of the last broadcast that it has

	back, gaps, missing int64
}

// follow connects, and reads until stop comes, or until it has a number. Each broadcast
// says its number.
func (f *follower) follow(until int64, stop <-chan time.Time) error {
	query := "?after="
	if f.log != "" {
		query = fmt.Sprintf("?after=%d&log=%s", f.last, f.log)
	}
	dialer := websocket.Dialer{NetDialContext: from(f.from).DialContext, HandshakeTimeout: patience}
	conn, _, err := dialer.Dial(f.url+query, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	var cut atomic.Bool
	if stop != nil {
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-stop:
				cut.Store(true)
				conn.NetConn().(*net.TCPConn).SetLinger(0) // the network goes, without a word
				conn.NetConn().Close()
			case <-ended:
			}
		}()
	}
	var hello struct {
		Log, Alone   string
		Next, Missed int64
		Gap          bool
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	_, data, err := conn.ReadMessage()
	if cut.Load() {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &hello); err != nil {
		return err
	}
	switch {
	case f.log == "": // a newcomer
	case hello.Gap:
		f.gaps++
		f.missing += hello.Next - f.last - 1
		if hello.Missed != hello.Next-f.last-1 {
			return fmt.Errorf("missed %d is told, between %d and %d", hello.Missed, f.last, hello.Next)
		}
	case hello.Next != f.last+1:
		return fmt.Errorf("next %d is told after %d, and no gap", hello.Next, f.last)
	}
	f.log, f.last = hello.Log, hello.Next-1
	f.back++
	for f.last < until {
		_, data, err := conn.ReadMessage()
		if err != nil && cut.Load() {
			return nil
		}
		if err != nil {
			return err
		}
		f.last++
		if number, _, _ := strings.Cut(string(data), " "); number != fmt.Sprint(f.last) {
			return fmt.Errorf("%q came as number %d", number, f.last)
		}
	}
	return nil
}

// Peers whose network comes and goes get every broadcast once and in order, or are
// told how many they have missed.
func TestComeAndGo(t *testing.T) {
	peers, took := 100, 2*time.Second
	if *long {
		peers, took = 500, *soak
	}
	server := startProcess(t, buildServer(t, last), "-addr", "127.0.0.1:0", "-handshake-rate", "0", "-message-rate", "0", "-byte-rate", "0")
	url := "ws://" + server.addr + "/ws"
	speaker, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer speaker.Close()
	said := int64(0)
	say := func(size int) {
		said++
		if err := speaker.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%-*d", size, said)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := speaker.ReadMessage(); err != nil { // it has come back: all can have it
			t.Fatal(err)
		}
	}

	followers := make([]*follower, peers)
	each := func(do func(f *follower) error) {
		var all sync.WaitGroup
		for _, f := range followers {
			all.Go(func() {
				if err := do(f); err != nil {
					t.Errorf("%s, with %d of %d: %v", f.from, f.last, said, err)
				}
			})
		}
		all.Wait()
	}
	for i := range followers {
		followers[i] = &follower{url: url, from: fmt.Sprintf("127.0.%d.%d", 2+i/200, 1+i%200)}
	}
	each(func(f *follower) error { return f.follow(0, nil) }) // all know the log, and have nothing

	var over atomic.Bool
	var chat sync.WaitGroup
	chat.Go(func() {
		each(func(f *follower) error {
			for !over.Load() {
				if err := f.follow(1<<60, time.After(time.Duration(rand.IntN(500))*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	for began := time.Now(); time.Since(began) < took && !t.Failed(); {
		say(64)
	}
	over.Store(true)
	chat.Wait()
	each(func(f *follower) error { return f.follow(said, nil) })
	if t.Failed() {
		return
	}
	comes := int64(0)
	for _, f := range followers {
		comes += f.back
		if f.last != said || f.gaps > 0 {
			t.Errorf("%s has got %d of %d, and was told %d gaps", f.from, f.last, said, f.gaps)
		}
	}
	t.Logf("come and go: %d peers came %d times while %d messages were broadcast; each got all of them once, in order, and was told no gap", peers, comes, said)

	// Now all are away while more is said than the log holds.
	before := said
	for range 300 {
		say(32 << 10)
	}
	each(func(f *follower) error { return f.follow(said, nil) })
	say(64)
	each(func(f *follower) error { return f.follow(said, nil) })
	gaps, missing := int64(0), int64(0)
	for _, f := range followers {
		gaps, missing = gaps+f.gaps, missing+f.missing
	}
	if want := int64(peers) * (said - 1 - before); gaps != int64(peers) || missing != want {
		t.Errorf("%d peers were told %d gaps and %d messages missing, and not %d", peers, gaps, missing, want)
	}
	t.Logf("come and go: %d peers were away for %d messages of 32 KiB: gaps told %d, missing %d as told", peers, said-1-before, gaps, missing)
}
