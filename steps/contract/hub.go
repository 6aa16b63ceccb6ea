package contract

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeIDs = `the client gets no id of its own (uuid.NewString), or its logger does not add it: log.With("id", id).`

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
		cause: "the map is used without holding the mutex, or a client is counted twice or not at all.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				var all sync.WaitGroup
				for round := range 2 {
					peers, _ := s.HandshakeAll(fmt.Sprintf("peer %d of", round+1), 100, wstest.Request{})
					if len(peers) != 100 {
						s.Fail("%d of 100 peers could connect.", len(peers))
					}
					s.Did("every other of them leaves, all at once")
					for i, peer := range peers {
						if i%2 == 0 {
							all.Go(func() { peer.SendQuietly("bye"); peer.Leave() })
						}
					}
					all.Wait()
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
				ids := make(map[string]bool)
				var peers []*wstest.Peer
				for i := range 10 {
					peer, id := s.connectID(fmt.Sprint("peer ", i+1))
					peers = append(peers, peer)
					if ids[id] {
						s.Fail("two connections have the same id %s.", id)
					}
					ids[id] = true
				}
				s.talk(peers[0], "hello")
				peers[1].Close(1000, "")
				peers[2].Reset()
				peers[3].SendRaw([]byte{0xff, 0xff})
				s.Pass(grace)
				for _, r := range s.Log.Records() {
					known := false
					for _, id := range idsOf(r) {
						known = known || ids[id]
					}
					if !known {
						s.Fail("this log record does not say which connection it is about: %s", r)
					}
				}
			})
		},
	},
	{
		Task: "3.3", Name: "a message to one id reaches that peer and no other",
		cause: "Hub.Send does not look up the id in the map, or does not return an error when it is not there.",
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
				if send("00000000-0000-4000-8000-000000000000", "for nobody") == nil {
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
		},
	},
}
