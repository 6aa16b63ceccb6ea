package main

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits bounds what one address, one connection, and all together may ask of the
// server. Zero lifts a limit.
type Limits struct {
	MaxPerIP       int            // connections at a time from one address
	MaxConnections int            // connections at a time from all addresses
	HandshakeRate  float64        // handshakes a second from one address; four seconds' worth at once
	MessageRate    float64        // messages, pings and pongs a second on one connection; two seconds' worth at once
	ByteRate       float64        // bytes a second from one address, on all its connections; two seconds' worth at once
	TrustedProxies []netip.Prefix // proxies whose X-Forwarded-For is believed
}

// DefaultLimits returns limits that no person in a browser meets alone. Many
// behind one address need a higher MaxPerIP and ByteRate.
func DefaultLimits() Limits {
	return Limits{MaxPerIP: 20, MaxConnections: 10_000, HandshakeRate: 5, MessageRate: 20, ByteRate: 256 << 10}
}

const (
	handshakeBurst = 4 * time.Second // of the handshake rate
	messageBurst   = 2 * time.Second // of the message rate
	byteBurst      = 2 * time.Second // of the byte rate

	// slotRetry is what a handshake over a cap is told to wait. When a connection
	// of its own ends, only the address itself knows.
	slotRetry = 5 * time.Second

	// sweepPeriod is how often addresses that have gone are forgotten.
	sweepPeriod = time.Minute

	// recordRate is how many handshakes that failed are logged a second for each
	// address, and recordBurst how many seconds' worth at once.
	recordRate  = 1
	recordBurst = 5 * time.Second
)

// newLimiter returns a token bucket for perSecond events a second, full at
// first, which holds as many as come in burst. Zero lets everything pass.
func newLimiter(perSecond float64, burst time.Duration) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, math.MaxInt)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond*burst.Seconds())))
}

// full reports whether all tokens of l are there.
func full(l *rate.Limiter, now time.Time) bool {
	return l.TokensAt(now) >= float64(l.Burst())
}

// pace takes n tokens and waits until they are due. Nothing is lost: what is not
// read waits in the peer's own socket. Meanwhile nobody listens to the peer, so
// its silence counts anew.
func (c *Client) pace(tokens *rate.Limiter, n int) {
	// TODO(8.3): wait until n tokens are due, or the connection is finished.
}

// gate counts connections and handshakes by address. Its methods may be called
// from any goroutine.
type gate struct {
	limits Limits

	mu    sync.Mutex // guards what follows
	hosts map[netip.Prefix]*host
	swept time.Time
}

// host is what the gate knows of one address.
type host struct {
	connections int           // guarded by gate.mu
	handshakes  *rate.Limiter // tokens for handshakes
	bytes       *rate.Limiter // tokens for the bytes of all its connections
	records     *rate.Limiter // tokens for log records about handshakes that failed
	unlogged    atomic.Int64  // how many have found no token since the last
}

func newGate(limits Limits) *gate {
	return &gate{limits: limits, hosts: make(map[netip.Prefix]*host), swept: time.Now()}
}

func newHost(limits Limits) *host {
	return &host{
		handshakes: newLimiter(limits.HandshakeRate, handshakeBurst),
		bytes:      newLimiter(limits.ByteRate, byteBurst),
		records:    newLimiter(recordRate, recordBurst),
	}
}

// logFailed logs that a handshake has failed, unless the log has enough of those
// from this address: a flood shall not fill the disk.
func (h *host) logFailed(log *slog.Logger, why any) {
	if !h.records.Allow() {
		h.unlogged.Add(1)
		return
	}
	log.Info("handshake failed", "err", why, "unlogged", h.unlogged.Swap(0))
}

// enter asks for one more connection from addr. If it may come in, wait is 0
// and the caller must call leave once when the connection, or the attempt, has
// ended. Otherwise wait says when to try again.
func (g *gate) enter(addr netip.Prefix) (h *host, wait time.Duration) {
	// TODO(8.1): find the host of addr, or put a new one into the table. Count the
	// connection, or refuse it at the cap with slotRetry.
	// TODO(8.2): refuse it also if the handshakes come too fast.
	// TODO(8.5): sweep.
	return newHost(g.limits), 0
}

// leave gives back what enter took.
func (g *gate) leave(addr netip.Prefix) {
	// TODO(8.1): count one less.
}

// sweep forgets the addresses that are as good as new: no connection, and all
// their tokens back. To forget one earlier would give it a fresh burst.
func (g *gate) sweep(now time.Time) {
	// TODO(8.5): each sweepPeriod, and no more often.
}

// clientAddr returns the address that r counts for: an IPv4 address, or the
// /64 of an IPv6 address, which is what one household or one host is given.
//
// X-Forwarded-For counts only when r comes from a trusted proxy. Each proxy
// appends the address that it saw, so the list is read from the right, up to
// the first address that is not a trusted proxy. All that stands left of it
// can be forged.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Prefix {
	addr, _ := parseAddr(r.RemoteAddr)
	// TODO(8.4): believe trusted proxies; of an IPv6 address return the /64.
	bits := addr.BitLen()
	prefix, _ := addr.Prefix(bits) // without an address: the zero Prefix, which all such share
	return prefix
}

// parseAddr parses an IP address with or without a port, brackets and a zone. An
// IPv4 address mapped into IPv6 is that IPv4 address.
func parseAddr(s string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}
