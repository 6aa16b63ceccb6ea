package contract

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// TestHubGoroutine holds a server of another design than the workshop's to all
// contracts: its hub is no locked map but a goroutine that owns the map, and its
// connections end by a context, while the handler waits for them. A contract that
// fails it asks for a design, and not for a behaviour.
func TestHubGoroutine(t *testing.T) {
	Run(t, 8, func(cfg Config) Server {
		s := newChatServer(cfg)
		return Server{
			HTTP: s.web(),
			Main: program(newChatServer),
			Send: func(id, text string) error { return s.hub.send(id, chatMessage{websocket.TextMessage, []byte(text)}) },
			Broadcast: func(text []byte) error {
				tell(s.hub, s.hub.broadcast, chatMessage{websocket.TextMessage, text})
				return nil
			},
			Shutdown: s.Shutdown,
		}
	})
}

// chatHub knows who is connected, and who may come in. One goroutine, run, owns
// all that it knows; the channels are the only way to it. run never waits for
// anything but its channels, so that a send on them takes no time.
type chatHub struct {
	admit      chan admission    // asks whether a handshake may go on
	release    chan netip.Prefix // owed by everyone who was admitted
	register   chan *chatClient  // between admit and release
	unregister chan *chatClient  // likewise
	broadcast  chan chatMessage  // to every client
	sendTo     chan chatLetter   // to one
	count      chan int          // run sends the number of clients
	shutdown   chan struct{}     // admits nobody any more, and ends every client
	ended      chan struct{}     // closed by run when it returns
}

type admission struct {
	from   netip.Prefix
	answer chan refusal // has room for it
}

// refusal is the answer to a handshake that may not go on; zero if it may.
type refusal struct {
	status int
	retry  time.Duration
}

type chatLetter struct {
	to     string
	m      chatMessage
	answer chan error // has room for it
}

// chatHost is what the hub knows of one address.
type chatHost struct {
	inside     int
	handshakes *rate.Limiter
}

// Why a connection ends; 1006 is never sent, and means that the peer is not told.
var (
	errGoingAway = &websocket.CloseError{Code: websocket.CloseGoingAway, Text: "the server is going away"}
	errTooSlow   = &websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: "too slow"}
	errCut       = &websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: "cut off by the shutdown"}
	errPeerGone  = &websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: "the peer is gone"}
)

var (
	errNobody  = errors.New("nobody has this id")
	errPanic   = errors.New("panic")
	errNotUTF8 = errors.New("the text is not UTF-8")
)

// newChatHub starts a hub. It ends when shutdown was asked for and the last who
// was admitted is released.
func newChatHub(limits Limits) *chatHub {
	h := &chatHub{
		admit:      make(chan admission),
		release:    make(chan netip.Prefix),
		register:   make(chan *chatClient),
		unregister: make(chan *chatClient),
		broadcast:  make(chan chatMessage),
		sendTo:     make(chan chatLetter),
		count:      make(chan int),
		shutdown:   make(chan struct{}),
		ended:      make(chan struct{}),
	}
	go h.run(limits) // Shutdown waits for ended
	return h
}

func (h *chatHub) run(limits Limits) {
	defer close(h.ended)
	defer close(h.count) // from now on it is 0
	clients := make(map[string]*chatClient)
	hosts := make(map[netip.Prefix]*chatHost)
	inside, closing := 0, false
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()

	for !closing || inside > 0 {
		select {
		case a := <-h.admit:
			if closing {
				a.answer <- refusal{http.StatusServiceUnavailable, retryElsewhere}
				break
			}
			host := hosts[a.from]
			if host == nil {
				host = &chatHost{handshakes: limiterFor(limits.HandshakeRate, handshakesAtOnce)}
				hosts[a.from] = host
			}
			if wait := host.enter(time.Now(), limits.MaxPerIP); wait > 0 {
				a.answer <- refusal{http.StatusTooManyRequests, wait}
				break
			}
			inside++
			a.answer <- refusal{}
		case from := <-h.release:
			hosts[from].inside--
			inside--
		case c := <-h.register:
			clients[c.id] = c
			if closing {
				c.cancel(errGoingAway)
			}
		case c := <-h.unregister:
			delete(clients, c.id)
		case m := <-h.broadcast:
			for _, c := range clients {
				c.queue(m)
			}
		case l := <-h.sendTo:
			if c := clients[l.to]; c != nil {
				l.answer <- c.queue(l.m)
			} else {
				l.answer <- errNobody
			}
		case h.count <- len(clients):
		case <-h.shutdown:
			closing = true
			for _, c := range clients {
				c.cancel(errGoingAway)
			}
		case now := <-sweep.C:
			for from, host := range hosts {
				// With a token missing it would come back with all of them.
				if host.inside == 0 && host.handshakes.TokensAt(now) >= float64(host.handshakes.Burst()) {
					delete(hosts, from)
				}
			}
		}
	}
}

// enter takes a token and returns 0, or takes none and returns when to try again.
func (host *chatHost) enter(now time.Time, most int) time.Duration {
	if most > 0 && host.inside >= most {
		return retrySlot
	}
	token := host.handshakes.ReserveN(now, 1)
	wait := token.DelayFrom(now)
	if wait > 0 {
		token.CancelAt(now)
		return wait
	}
	host.inside++
	return 0
}

// tell sends m to the hub, and reports false if the hub has ended.
func tell[M any](h *chatHub, to chan<- M, m M) bool {
	select {
	case to <- m:
		return true
	case <-h.ended:
		return false
	}
}

// mayEnter returns zero if the handshake may go on: then release is owed.
func (h *chatHub) mayEnter(from netip.Prefix) refusal {
	a := admission{from, make(chan refusal, 1)}
	if !tell(h, h.admit, a) {
		return refusal{http.StatusServiceUnavailable, retryElsewhere}
	}
	return <-a.answer
}

func (h *chatHub) send(id string, m chatMessage) error {
	l := chatLetter{id, m, make(chan error, 1)}
	if !tell(h, h.sendTo, l) {
		return errNobody
	}
	return <-l.answer
}

// online returns the number of clients: 0 when the hub has ended.
func (h *chatHub) online() int { return <-h.count }
