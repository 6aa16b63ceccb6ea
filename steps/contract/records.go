package contract

import (
	"runtime"
	"strings"
	"sync/atomic"

	"example.com/wsworkshop/steps/internal/wstest"
)

// This file has the scenes about what an operator reads in the log.

// endIsLogged demands that the record of an end says how the peer has ended it.
func endIsLogged(s *scene) {
	ann := s.Connect("ann")
	s.talk(ann, "hello")
	before := len(s.Log.Records())
	ann.Close(4321, "so long")
	s.Pass(grace)
	for _, r := range s.Log.Records()[before:] {
		if contains(r, "4321") && contains(r, "so long") {
			return
		}
	}
	if s.step >= 3 && len(s.Log.Records()) == 0 {
		return // which is the matter of 3.1
	}
	s.FailBecause("nothing is logged when run has returned, or not code and reason; or what is logged is the error, in which the reason is not.",
		"ann has closed her connection with 4321 and the reason \"so long\", and no log record since then has both.%s", s.recordsSince(before))
}

// recordsSince shows the log records from a number on.
func (s *scene) recordsSince(before int) string {
	records := s.Log.Records()[before:]
	if len(records) == 0 {
		return " There is no record at all."
	}
	var b strings.Builder
	for _, r := range records {
		b.WriteString("\n" + r.String())
	}
	return b.String()
}

// reachableWhenConnected sends to a peer in the moment when the log says that it is
// connected.
func reachableWhenConnected(s *scene) {
	var failed, id atomic.Value
	s.Log.OnRecord(func(r wstest.Record) {
		ids := idsOf(r)
		if len(ids) == 0 || !strings.Contains(r.Message, "connected") || strings.Contains(r.Message, "disconnected") {
			return
		}
		id.Store(ids[0])
		sent := s.Start(func() {
			if err := s.Send(ids[0], "welcome"); err != nil {
				failed.Store(err.Error())
			}
		})
		for range 1000 { // who logs under a lock would wait for ever
			if sent.Returned() {
				return
			}
			runtime.Gosched()
		}
	})
	s.Connect("ann")
	s.Settle()
	if err := failed.Load(); err != nil {
		if s.Send(id.Load().(string), "hello") != nil {
			return // the id in the log is not the one in the map, which is the matter of 3.3
		}
		s.FailBecause("the record is written before the client is in the map. Who reads \"connected\" may send to that id.",
			"the log said that ann is connected, and at that moment Send to her id returned the error %q.", err)
	}
}

// evictionIsLogged demands that the record of an end says that the peer was too slow.
func evictionIsLogged(s *scene) {
	if s.TooSlow == nil {
		return
	}
	eve, id := s.connectID("eve")
	eve.StopReading()
	before := len(s.Log.Records())
	s.Did("more is sent to eve's id than may wait for her")
	for _, text := range texts("for eve", 2*sendQueueSize) {
		s.Send(id, text)
	}
	s.evicted()
	for _, r := range s.Log.Records()[before:] {
		if contains(r, s.TooSlow.Error()) {
			return
		}
	}
	s.FailBecause("finish gets no reason, or another one, where the queue is full. An operator should see why peers are cut off.",
		"eve was cut off, because her queue was full, and no log record since then has the words %q.%s", s.TooSlow, s.recordsSince(before))
}
