package main

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bounds what one address, and one connection, may ask of the server.
// Zero lifts a limit.
type Limits struct {
	MaxPerIP       int            // connections at a time from one address
	HandshakeRate  float64        // handshakes a second from one address; four seconds' worth at once
	MessageRate    float64        // messages, pings and pongs a second on one connection; two seconds' worth at once
	TrustedProxies []netip.Prefix // proxies whose X-Forwarded-For is believed
}

// DefaultLimits returns limits that no person in a browser meets alone. Many
// behind one address need a higher MaxPerIP.
func DefaultLimits() Limits {
	return Limits{MaxPerIP: 20, HandshakeRate: 5, MessageRate: 20}
}

const (
	handshakeBurst = 4 * time.Second // of the handshake rate
	messageBurst   = 2 * time.Second // of the message rate

	// slotRetry is what an address at its cap is told to wait. When a
	// connection of its own ends, only the address itself knows.
	slotRetry = 5 * time.Second

	// sweepPeriod is how often addresses that have gone are forgotten.
	sweepPeriod = time.Minute
)

// newLimiter returns a token bucket for perSecond events a second, full at
// first, which holds as many as come in burst. Zero lets everything pass.
func newLimiter(perSecond float64, burst time.Duration) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond*burst.Seconds())))
}

// gate counts connections and handshakes by address. Its methods may be called
// from any goroutine.
type gate struct {
	limits Limits

	mu    sync.Mutex // guards what follows
	hosts map[netip.Prefix]*host
	swept time.Time
}

// host is what the gate knows of one address. It is guarded by gate.mu.
type host struct {
	connections int
	handshakes  *rate.Limiter
}

func newGate(limits Limits) *gate {
	return &gate{limits: limits, hosts: make(map[netip.Prefix]*host), swept: time.Now()}
}

// enter asks for one more connection from addr. If it may come in, wait is 0
// and the caller must call leave once when the connection, or the attempt, has
// ended. Otherwise wait says when to try again.
func (g *gate) enter(addr netip.Prefix) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.sweep(now)

	h := g.hosts[addr]
	if h == nil {
		h = &host{handshakes: newLimiter(g.limits.HandshakeRate, handshakeBurst)}
		g.hosts[addr] = h
	}
	if g.limits.MaxPerIP > 0 && h.connections >= g.limits.MaxPerIP {
		return slotRetry
	}
	token := h.handshakes.ReserveN(now, 1)
	if wait := token.DelayFrom(now); wait > 0 {
		token.CancelAt(now) // refused: it takes nothing from the next one
		return wait
	}
	h.connections++
	return 0
}

// leave gives back what enter took.
func (g *gate) leave(addr netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hosts[addr].connections--
}

// sweep forgets the addresses that are as good as new: no connection, and all
// their tokens back. To forget one earlier would give it a fresh burst.
func (g *gate) sweep(now time.Time) {
	if now.Sub(g.swept) < sweepPeriod {
		return
	}
	g.swept = now
	for addr, h := range g.hosts {
		if h.connections == 0 && h.handshakes.TokensAt(now) >= float64(h.handshakes.Burst()) {
			delete(g.hosts, addr)
		}
	}
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
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			break
		}
		next, ok := parseAddr(strings.TrimSpace(hop))
		if !ok {
			break
		}
		addr = next
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
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
