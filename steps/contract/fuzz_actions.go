package contract

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

const (
	maxActions = 32  // of an input
	maxFrames  = 256 // that the actors of an input send
	maxBig     = 6   // messages of 32 KiB among them
	maxAtOnce  = 8   // actions: with a flood, what they send fits into a send queue
)

// FuzzActions lets peers and the operator act. Two bytes of the input are one
// action: who does what, and how. Between two actions all that can happen happens,
// unless the first says that both come at once.
func FuzzActions(f *testing.F, start func(Config) Server) {
	f.Fuzz(func(t *testing.T, script []byte) {
		fuzzScene(t, start, "whatever peers and the operator do, and in whatever order, all goes right for those who do no wrong", Config{}, func(s *scene) {
			p := &play{scene: s, ann: s.Connect("ann"), bob: s.Connect("bob"), heard: make(map[string][]wstest.Frame)}
			for n := 0; n < maxActions && len(script) >= 2; n++ {
				p.act(int(script[0])%8, int(script[0])/8, int(script[1]))
				p.listen()
				script = script[2:]
			}
			p.curtain()
		})
	})
}

// play is a scenario of FuzzActions. Ann and bob only listen: what ann hears is what
// everybody should hear.
type play struct {
	*scene
	ann, bob *wstest.Peer
	actors   []*actor  // all that ever connected
	seats    [8]*actor // those that act now
	frames   int       // that the actors have sent
	big      int       // messages of 32 KiB among them
	atOnce   int       // actions since all was settled
	apart    bool      // nothing may happen at the same moment as the last action

	heard  map[string][]wstest.Frame // by ann, from each sender, while all was settled
	news   []wstest.Frame            // what the operator has broadcast
	downs  []*down
	limits []time.Duration // of their contexts
}

// actor is a peer that may do anything.
type actor struct {
	*wstest.Peer
	id      string
	stream  []byte         // all that it has sent
	sent    int            // messages in it
	joined  map[string]int // how much ann had heard from each sender when it came
	alone   []wstest.Frame // what the operator has sent to it alone
	off     bool           // has vanished or hung up
	stalled bool           // does not read
	mute    bool           // answers no pings
	blocked time.Time      // since when a message has waited for it to read
	lossy   bool           // may have lost something
}

// act lets the operator or the actor in a seat do something.
func (p *play) act(seat, what, how int) {
	switch what % 16 {
	case 12:
		p.broadcast(how%16 + 1)
	case 13:
		err := p.Send("00000000-0000-0000-0000-000000000000", "nobody")
		p.hold(aloneIsAlone, err != nil, "Send to an unknown id returns nil.")
	case 14:
		p.shutDownIn(shutdownLimits[how%len(shutdownLimits)])
	case 15:
		p.Pass(passes[how%len(passes)])
	default:
		p.perform(seat, what%16, how)
	}
	if p.atOnce++; what >= 16 && !p.apart && p.atOnce < maxAtOnce {
		p.Did("and at the same moment")
		return
	}
	p.atOnce, p.apart = 0, false
	p.Settle()
}

// perform lets the actor in a seat do something. Who is not there connects first.
func (p *play) perform(seat, what, how int) {
	a := p.seats[seat]
	if a == nil || a.off || a.Gone() {
		if a = p.connect(); a == nil {
			return
		}
		p.seats[seat] = a
	}
	switch what {
	case 0: // it only connects
	case 1:
		p.say(a, wstest.OpText, messageSizes[how%len(messageSizes)])
	case 2:
		p.say(a, wstest.OpBinary, messageSizes[how%len(messageSizes)])
	case 3:
		p.flood(a, how%messageBurst+1, how >= 128)
	case 4:
		p.fragments(a, how)
	case 5:
		wrong := oddFrames[how%len(oddFrames)]
		p.send(a, wrong.name, []byte(wrong.bytes))
	case 6:
		f := wstest.Close(closeCodes[how%len(closeCodes)], closeReasons[how/len(closeCodes)%len(closeReasons)])
		p.send(a, "a "+f.String(), f.Bytes())
	case 7:
		p.Settle()
		p.listen() // what ann hears from now on waits for a
		a.StopReading()
		a.stalled, a.lossy = true, true
	case 8:
		p.apart = true // its pings may have held back messages
		a.ResumeReading()
		a.stalled, a.blocked = false, time.Time{}
	case 9:
		p.end(a, how)
	case 10:
		p.Did("%s answers no pings from now on", a.Name)
		p.silence(a)
	case 11:
		p.sendAlone(a)
	}
}

var (
	passes         = []time.Duration{time.Second / 20, time.Second, closeWait, writeWait - time.Second, writeWait, pingPeriod, pongWait}
	shutdownLimits = []time.Duration{0, time.Second, time.Minute}
)

// connect lets one more actor connect. After Shutdown it is refused.
func (p *play) connect() *actor {
	if len(p.actors) == len(p.seats) {
		return nil
	}
	name := fmt.Sprintf("p%d", len(p.actors)+1)
	p.Settle()
	p.listen()
	if len(p.downs) > 0 {
		_, answer := p.Handshake(name, wstest.Request{})
		p.hold(shutdownEnds, answer.Status == http.StatusServiceUnavailable, "after Shutdown was called %s.", answer)
		return nil
	}
	a := &actor{joined: make(map[string]int)}
	a.Peer, a.id = p.connectID(name)
	for sender, messages := range p.heard {
		a.joined[sender] = len(messages)
	}
	p.actors = append(p.actors, a)
	return a
}

// silence lets an actor answer no pings.
func (p *play) silence(a *actor) {
	a.NoPongs()
	a.mute, a.lossy = true, true
}

// end lets an actor leave in one of the ways without a close frame.
func (p *play) end(a *actor, how int) {
	a.off, a.lossy, a.blocked = true, true, time.Time{}
	switch how % 3 {
	case 0:
		a.Vanish()
	case 1:
		a.Reset()
	case 2:
		a.HangUp()
	}
}

// shutDownIn calls Shutdown. If its context is done at once nothing may be under
// way: who gets it and who is cut off before would be luck.
func (p *play) shutDownIn(limit time.Duration) {
	if len(p.downs) == 3 {
		return
	}
	if limit == 0 {
		p.apart = true
		p.Settle()
	}
	p.downs = append(p.downs, p.shutDown(limit))
	p.limits = append(p.limits, limit)
}

func (p *play) broadcast(n int) {
	if p.frames += n; p.frames > maxFrames {
		return
	}
	p.apart = true
	p.Settle() // a Shutdown at the same moment might come before or after
	first := len(p.news)
	for range n {
		p.news = append(p.news, wstest.Text(fmt.Sprint("operator ", len(p.news)+1)))
	}
	p.Call(fmt.Sprintf("Broadcast (%d times)", n), 0, func() {
		for _, f := range p.news[first:] {
			p.Broadcast(f.Payload)
		}
	})
	if len(p.downs) > 0 {
		p.news = p.news[:first] // too late for everybody
	}
}

func (p *play) sendAlone(a *actor) {
	text := fmt.Sprintf("alone %s %d", a.Name, len(a.alone)+1)
	var err error
	p.Call("Send to "+a.Name, 0, func() { err = p.Send(a.id, text) })
	if err == nil {
		a.alone = append(a.alone, wstest.Text(text))
	}
	p.hold(staysOpen, err == nil || !p.faithful(a), "Send to %s returns %v.", a.Name, err)
}
