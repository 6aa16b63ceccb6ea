package contract

import (
	"slices"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

// faithful reports whether a has done nothing that ends its connection.
func (p *play) faithful(a *actor) bool {
	return !a.lossy && len(p.downs) == 0 && read(a.stream).ends == nil
}

// listen keeps what ann has heard. Who does not read it is gone in time.
func (p *play) listen() {
	news := p.ann.Messages()
	for sender, messages := range bySender(news) {
		p.heard[sender] = append(p.heard[sender], messages...)
	}
	for _, a := range p.actors {
		if a.stalled && !a.off && a.blocked.IsZero() && len(news) > 0 {
			a.blocked = time.Now()
		}
		if !a.blocked.IsZero() && time.Since(a.blocked) > writeWait+2*grace {
			p.hold(gone, a.Gone(), "%s has not read for %v, and is still connected.", a.Name, time.Since(a.blocked))
		}
	}
}

// bySender sorts messages by the first word, which names the sender.
func bySender(messages []wstest.Frame) map[string][]wstest.Frame {
	by := make(map[string][]wstest.Frame)
	for _, f := range messages {
		sender, _, _ := strings.Cut(string(f.Payload), " ")
		by[sender] = append(by[sender], f)
	}
	return by
}

// curtain waits until all is over, and demands that all went right.
func (p *play) curtain() {
	p.Pass(grace + time.Duration(p.frames)*time.Second/messageRate)
	p.listen()
	p.Pass(writeWait + 3*grace)
	p.listen()
	p.Pass(2 * pongWait)
	p.listen()
	down := len(p.downs) > 0
	senders := []string{"operator"}
	p.wantSame(comesBack, "ann", p.heard["operator"], p.news, false)
	for _, a := range p.actors {
		senders = append(senders, a.Name)
		p.wantSame(comesBack, "ann", p.heard[a.Name], read(a.stream).messages, a.lossy || down)
	}
	for sender := range p.heard {
		p.hold(aloneIsAlone, slices.Contains(senders, sender), "ann heard what %q has sent, which is not for her.", sender)
	}
	p.wantHeard("bob", p.bob.Messages(), nil, nil, false)

	told := !slices.Contains(p.limits, 0) // else all may be cut before they are told
	online := 2
	for _, a := range p.actors {
		r := read(a.stream)
		ends := r.ends
		if down {
			ends = append(ends, 1001)
		}
		lost := a.lossy || ends != nil
		p.wantHeard(a.Name, a.Messages(), a.joined, a.alone, lost)
		p.wantPongs(a.Peer, r.pings, lost)
		p.wantGoodClose(a.Peer, ends, ends != nil && !a.lossy && told)
		switch {
		case a.off || a.stalled || a.mute || ends != nil:
			p.hold(gone, a.Gone(), "%s's connection is still open on the server's side.", a.Name)
		case !a.lossy:
			p.hold(staysOpen, !a.Gone(), "the server has closed %s's connection.", a.Name)
		}
		if !a.Gone() {
			online++
		}
	}
	if down {
		p.afterShutdown(told)
		return
	}
	p.hold(countIsRight, p.online() == online, "GET /online says %d, but %d peers are connected.", p.online(), online)
	p.Did("all but ann and bob leave")
	for _, a := range p.actors {
		a.Leave()
	}
	p.Pass(grace)
	p.wantUndisturbed(p.ann, p.bob)
}

// wantHeard demands that a peer has heard what ann has heard since it joined, each
// sender in order, and what was sent to it alone.
func (p *play) wantHeard(who string, messages []wstest.Frame, joined map[string]int, alone []wstest.Frame, mayLose bool) {
	got := bySender(messages)
	p.wantSame(aloneIsAlone, who, got["alone"], alone, mayLose)
	delete(got, "alone")
	for sender, heard := range p.heard {
		p.wantSame(comesBack, who, got[sender], heard[joined[sender]:], mayLose)
		delete(got, sender)
	}
	for sender := range got {
		p.breaks(comesBack, "%s heard %s from %s, and ann did not.", who, got[sender][0], sender)
	}
}

// afterShutdown demands that each Shutdown has done its work.
func (p *play) afterShutdown(told bool) {
	for _, peer := range []*wstest.Peer{p.ann, p.bob} {
		p.wantGoodClose(peer, []int{1001}, told)
		p.hold(shutdownTells, peer.Gone(), "after Shutdown %s's connection is still open on the server's side.", peer.Name)
	}
	for i, d := range p.downs {
		p.hold(shutdownEnds, d.Within(p.limits[i]+time.Second/2), "Shutdown has not returned half a second after its context of %v was done.", p.limits[i])
		p.wantNobody(d)
	}
}
