package contract

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeIDs = `the client gets no id of its own (uuid.NewString), or its logger does not add it (log.With("id", id)), or a record goes through the server's logger instead of the client's.`

// unknownID is an id that nobody has.
const unknownID = "00000000-0000-4000-8000-000000000000"

// hub is the contract of step 3: the map of the connected clients.
var hub = []Promise{
	{
		Task: "3.1", Name: "the count is exact after joins and leaves",
		cause: "a client is not put into the map when it is connected, or not taken out again on each way that a connection can end.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				s.wantOnline(0)
				ann, bob, cat, dan := s.Connect("ann"), s.Connect("bob"), s.Connect("cat"), s.Connect("dan")
				s.wantOnline(4)
				s.Handshake("fay", wstest.Request{Plain: true})
				s.Handshake("gus", from("", "https://evil.example"))
				s.wantOnline(4) // they are not connected
				ann.Close(1000, "")
				s.Pass(grace)
				s.wantOnline(3)
				bob.Reset()
				s.Pass(grace)
				s.wantOnline(2)
				eve := s.Connect("eve")
				s.wantOnline(3)
				cat.HangUp()
				eve.SendFrame(wstest.Text(long(maxMessageSize + 1)))
				s.Pass(grace)
				s.wantOnline(1)
				dan.Vanish()
				s.Pass(2*pongWait + grace)
				s.wantOnline(0)
			})
		},
	},
	{
		Task: "3.1", Name: "a hundred peers that come and go at once leave an exact count",
		cause: "the map is used without holding the mutex, or a client is counted twice or not at all, or an unknown id makes Hub.Send panic.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				for round := range 2 {
					var all, busy sync.WaitGroup
					var done atomic.Bool
					busy.Go(func() {
						for !done.Load() {
							for range 100 { // enough to meet a join or a leave
								s.Send(unknownID, "is anybody there?")
							}
							runtime.Gosched()
						}
					})
					busy.Go(func() {
						for !done.Load() {
							s.Get("/online")
						}
					})
					peers, _ := s.HandshakeAll(fmt.Sprintf("round %d, peer", round+1), 100, wstest.Request{})
					if len(peers) != 100 {
						s.Fail("%d of 100 peers could connect.", len(peers))
					}
					s.Did("every other of them leaves, all at once")
					for i, peer := range peers {
						if i%2 == 0 {
							all.Go(peer.Leave)
						}
					}
					all.Wait()
					done.Store(true)
					busy.Wait()
					s.Settle()
				}
				s.Pass(grace)
				s.wantOnline(100)
			})
		},
	},
	{
		Task: "3.1", Name: "GET /online tells the count as JSON",
		cause: "Server.Online does not return the number of clients in the map.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				for range 3 {
					s.Connect("a peer")
				}
				s.Settle()
				answer := s.Get("/online")
				if kind := answer.Header.Get("Content-Type"); answer.Status != http.StatusOK || !strings.HasPrefix(kind, "application/json") {
					s.Fail("GET /online: %s, Content-Type %q, and not 200 and application/json.", answer, kind)
				}
				s.wantOnline(3)
			})
		},
	},
	{
		Task: "3.2", Name: "ids are unique UUIDs and every log record of a connection has its id",
		cause: causeIDs,
		test: func(t *trial) {
			t.scene(func(s *scene) {
				before := len(s.Log.Records())
				ids := make(map[string]bool)
				var peers []*wstest.Peer
				var idOf []string
				for i := range 10 {
					peer, id := s.connectID(fmt.Sprint("peer ", i+1))
					peers, idOf = append(peers, peer), append(idOf, id)
					if ids[id] {
						s.Fail("two connections have the same id %s.", id)
					}
					ids[id] = true
				}
				for i := range 2 {
					before := len(s.Log.Records())
					s.ConnectFrom(fmt.Sprintf("tab %d of one browser", i+1), wstest.Request{IP: "10.9.8.7"})
					fresh := false
					for _, r := range s.Log.Records()[before:] {
						for _, id := range idsOf(r) {
							fresh = fresh || !ids[id]
							ids[id] = true
						}
					}
					if !fresh {
						s.Fail("tab %d has connected, but no log record since then has an id that no connection had before.", i+1)
					}
				}
				s.talk(peers[0], "hello")
				for _, r := range s.Log.Records()[before:] {
					if !slices.ContainsFunc(idsOf(r), func(id string) bool { return ids[id] }) {
						s.Fail("this log record does not say which connection it is about: %s", r)
					}
				}
				for i, ends := range []func(*wstest.Peer){
					func(p *wstest.Peer) { p.Close(1000, "") },
					(*wstest.Peer).Reset,
					func(p *wstest.Peer) {
						s.Did("%s sends bytes that are no frame", p.Name)
						p.SendRaw([]byte{0xff, 0xff})
					},
				} {
					before := len(s.Log.Records())
					ends(peers[i])
					s.Pass(grace)
					for _, r := range s.Log.Records()[before:] {
						if !slices.Contains(idsOf(r), idOf[i]) {
							s.Fail("%s's id is %s, but this log record about the end of its connection does not say so: %s", peers[i].Name, idOf[i], r)
						}
					}
				}
			})
		},
	},
	{
		Task: "3.3", Name: "a message to one id reaches that peer and no other",
		cause: "Hub.Send does not look up the id in the map, or does not return an error when it is not there, or still holds the lock while Client.Send waits.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, annID := s.connectID("ann")
				bob, bobID := s.connectID("bob")
				send := func(id, text string) (err error) {
					s.Call(fmt.Sprintf("Send(%.8s..., %q)", id, text), 0, func() { err = s.Send(id, text) })
					s.Settle()
					return err
				}
				for _, to := range []struct {
					id, name  string
					is, other *wstest.Peer
				}{{annID, "ann", ann, bob}, {bobID, "bob", bob, ann}} {
					if err := send(to.id, "for "+to.name); err != nil {
						s.Fail("Send to %s's id returned the error %v.", to.name, err)
					}
					to.is.WantText("for " + to.name)
					if got := to.other.Messages(); len(got) > 0 {
						s.Fail("%s got %s, which was for %s alone.", to.other.Name, got[0], to.name)
					}
				}
				if send(unknownID, "for nobody") == nil {
					s.Fail("Send to an id that nobody has returned no error.")
				}
				ann.Close(1000, "")
				s.Pass(grace)
				if send(annID, "too late") == nil {
					s.Fail("Send to ann's id returned no error after she had left.")
				}
				if got := bob.Messages(); len(got) > 0 {
					s.Fail("bob got %s, which was not for him.", got[0])
				}
			})
			t.scene(sendToStalled)
		},
	},
}

const (
	causeSendWrites = "Send writes to the connection itself. It must put the message into the client's queue: the write pump alone writes."
	causeSendLocked = "Hub.Send holds the lock while it waits for room in a queue: unlock it as soon as the client is found."
)

// sendToStalled tries messages to a peer that does not read: they may wait for
// it, but nobody else may wait with them.
func sendToStalled(s *scene) {
	bob, bobID := s.connectID("bob")
	eve, eveID := s.connectID("eve")
	eve.StopReading()
	eve.Send("is this thing on?") // the write pump is busy from now on
	s.Settle()
	bob.Messages()
	if !s.Start(func() { s.Send(eveID, "first") }).Within(0) {
		s.FailBecause(causeSendWrites, "Send to eve, who does not read, did not return at once.")
	}
	s.Did("and 128 more messages are sent to eve, by one goroutine")
	sent := s.Start(func() {
		for _, text := range texts("for eve", 2*sendQueueSize) {
			s.Send(eveID, text)
		}
	})
	s.Settle()
	s.Connect("cat")
	toBob := s.Start(func() { s.Send(bobID, "for bob") })
	if !toBob.Within(0) {
		s.FailBecause(causeSendLocked, "Send to bob, who reads, did not return at once: it waits together with Send to eve, who does not.")
	}
	bob.WantText("for bob")
	s.Pass(writeWait + grace)
	eve.WantGone("a write to her may take 10 s")
	if !sent.Returned() {
		s.FailBecause("Client.Send waits for room in the queue, but not for the end of the connection: select over both.",
			"Send to eve has not returned, although her connection has ended.")
	}
}
