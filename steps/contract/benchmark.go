package contract

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	benchReceivers = 100
	benchPayload   = 64 // bytes
)

// BenchmarkFanOut measures what it takes to bring a message to 100 receivers, over
// real TCP: with each message only when all have got the one before, and with 32
// at a time. One operation is one message. The receivers read in the same process
// and count in: compare figures with each other, not with those of other programs.
func BenchmarkFanOut(b *testing.B, start func(Config) Server) {
	for _, together := range []int{1, 32} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) { fanOut(b, start, together) })
	}
}

// fanOut brings b.N messages to all receivers, some of them at a time.
func fanOut(b *testing.B, start func(Config) Server, together int) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	server := start(Config{Log: slog.New(slog.DiscardHandler), TrustedProxies: []netip.Prefix{loopback}})
	defer server.end()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go server.HTTP.Serve(listener)
	defer server.HTTP.Close()

	var arrived, expected atomic.Int64 // deliveries
	all := make(chan struct{})         // as many have arrived as are expected
	lost := make(chan error, benchReceivers)
	for i := range benchReceivers {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		// Each comes from an address of its own, as the server's proxy says.
		request := wstest.Request{Header: http.Header{"X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", i+1)}}}
		if _, err := conn.Write(request.Bytes("/ws")); err != nil {
			b.Fatal(err)
		}
		in := bufio.NewReaderSize(conn, 32<<10)
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			b.Fatalf("handshake: %v, %v", answer, err)
		}
		go func() {
			for {
				if _, err := in.Discard(2 + benchPayload); err != nil {
					lost <- err
					return
				}
				if arrived.Add(1) == expected.Load() {
					all <- struct{}{}
				}
			}
		}()
	}

	for online := 0; online < benchReceivers; { // a client may know of its handshake before the hub does
		answer, err := http.Get("http://" + listener.Addr().String() + "/online")
		if err != nil {
			b.Fatal(err)
		}
		if err := json.NewDecoder(answer.Body).Decode(&struct{ Online *int }{&online}); err != nil {
			b.Fatal(err)
		}
		answer.Body.Close()
	}

	message := make([]byte, benchPayload)
	for i := range message {
		message[i] = 'x'
	}
	b.ReportAllocs()
	left := b.N
	for b.ResetTimer(); left > 0; left -= together {
		n := min(left, together)
		expected.Add(int64(n * benchReceivers))
		for range n {
			server.Broadcast(message)
		}
		select {
		case <-all:
		case err := <-lost:
			b.Fatalf("the server has ended a connection: %v", err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchReceivers, "ns/delivery")
}
