package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/wsworkshop/steps/internal/wstest"
)

const causeIDs = `the client gets no id of its own (uuid.NewString), or its logger does not add it (keep what log.With("id", id) returns), or a record goes through the server's logger instead of the client's.`

// unknownID is an id that nobody has.
const unknownID = "00000000-0000-4000-8000-000000000000"

// hub is the contract of step 3: the map of the connected clients.
var hub = []Promise{
	{
		Task: "3.1", Name: "ids are unique UUIDs and every log record of a connection has its id",
		cause: causeIDs,
		test: func(t *trial) {
			t.scene(logsIDs)
			t.scene(reachableWhenConnected)
			idsOfTwoProcesses(t)
		},
	},
	{
		Task: "3.2", Name: "the count is exact after joins and leaves",
		cause: "a client is not put into the map when it is connected, or not taken out again on each way that a connection can end.",
		test: func(t *trial) {
			t.scene(joinAndLeave)
			t.scene(leaveInAllWays)
			if t.step == 3 { // from then on a full queue ends the connection
				t.scene(joinMeanwhile)
			}
			t.scene(func(s *scene) {
				one := s.ConnectFrom("a tab of ann's browser", wstest.Request{IP: "10.9.8.7"})
				s.ConnectFrom("another tab of it", wstest.Request{IP: "10.9.8.7"})
				s.wantCount(2, causeAddress, causeTwiceIn)
				one.Close(1000, "")
				s.Pass(grace)
				s.wantCount(1, causeAddress, causeStays)
			})
			t.scene(t.twoServers)
		},
	},
	{
		Task: "3.2", Name: "a hundred peers that come and go at once leave an exact count",
		cause: "the map is used without holding the mutex, or the mutex is not given back on each way out of a method; or a client is counted twice or not at all.",
		test: func(t *trial) {
			t.scene(oneByOne)
			if !t.Failed() { // by the race detector
				t.scene(comeAndGo)
				t.scene(joinAndLookUpAtOnce)
			}
		},
		meets: true,
	},
	{
		Task: "3.2", Name: "GET /online tells the count as JSON",
		cause: "Server.Online does not return the number of clients in the map.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				for range 3 {
					s.Connect("a peer")
				}
				s.wantCount(3, causeNotIn, causeTwiceIn)
				answer := s.Get("/online")
				if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
					s.FailBecause("the header is not set, or only after the body was begun: then net/http has sent it already, with a type that it guessed.",
						"GET /online has the Content-Type %q, and not application/json.", kind)
				}
				var keys map[string]json.RawMessage
				if err := json.Unmarshal([]byte(answer.Body), &keys); err != nil || keys["online"] == nil {
					s.FailBecause("a struct is encoded whose field has no tag `json:\"online\"`: JavaScript does not find another spelling.",
						`GET /online: %s, which has no "online".`, answer)
				}
			})
		},
	},
	{
		Task: "3.3", Name: "a message to one id reaches that peer and no other",
		cause: "Hub.Send does not look up the id in the map, or does not return an error when it is not there, or still holds the lock while Client.Send waits; or the queue of a client that leaves is closed, although somebody may still send.",
		test: func(t *trial) {
			t.scene(sendToOne)
			t.scene(sendToStalled)
			t.scene(sendAndReset)
			t.scene(sendToUnknown)
			if t.step < 4 { // from then on Send refuses what has no room, which 4.2 is about
				t.scene(sendTooMuch)
				t.scene(sendToSlow)
			}
		},
	},
}

const (
	causeForm    = `the route GET /online does not write {"online":N}, where N is what Server.Online returns.`
	causeNotIn   = "no client is put into the map, or only when it was served already, or is taken out at once: Remove stands before c.run() without defer; or the map that is counted is not that one."
	causeOneKey  = "all clients have the same key in the map: each needs an ID of its own (task 3.1)."
	causeAddress = "the key in the map, or the ID, is made from the peer's IP address, which several connections can have."
	causeTwiceIn = "a client is counted twice."
	causeTooSoon = "a request is counted, and not a connection: there is one only when Upgrade has succeeded."
	causeStays   = "the client is not taken out of the map, or under another key than it was put in. defer s.hub.Remove(c) at the top of serve takes it out on each way that a connection can end."
	causeGone    = "a client is taken out twice, which a map forgives, but not a count beside it."
)

// wantCount is wantOnline with causes of its own: why the count may be too small,
// and why too large.
func (s *scene) wantCount(n int, less, more string) {
	s.Settle()
	answer := s.Get("/online")
	var count struct{ Online *int }
	if err := json.Unmarshal([]byte(answer.Body), &count); answer.Status != http.StatusOK || err != nil || count.Online == nil {
		s.FailBecause(causeForm, `GET /online: %s, and not 200 and {"online":N}.`, answer)
	}
	got, cause := *count.Online, less
	switch {
	case got == n:
		return
	case got > n:
		cause = more
	case got == 1 && less == causeNotIn:
		cause = causeOneKey
	}
	s.FailBecause(cause, "GET /online says %d, but %d peers are connected.", got, n)
}

func joinAndLeave(s *scene) {
	s.wantCount(0, causeGone, causeTooSoon)
	ann, bob, cat, dan := s.Connect("ann"), s.Connect("bob"), s.Connect("cat"), s.Connect("dan")
	s.wantCount(4, causeNotIn, causeTwiceIn)
	s.Handshake("fay", wstest.Request{Plain: true})
	s.Handshake("gus", from("", "https://evil.example"))
	s.wantCount(4, causeGone, causeTooSoon)
	hal := s.Dial("hal")
	s.Did("hal sends his handshake and does not read the answer")
	hal.Write(wstest.Request{}.Bytes("/ws"))
	s.wantCount(4, causeGone, causeTooSoon)
	s.Did("hal hangs up")
	hal.Close()
	s.wantCount(4, causeGone, causeTooSoon)
	ann.Close(1000, "")
	s.Pass(grace)
	s.wantCount(3, causeGone, causeStays)
	bob.Reset()
	s.Pass(grace)
	s.wantCount(2, causeGone, causeStays)
	eve := s.Connect("eve")
	s.wantCount(3, causeNotIn, causeTwiceIn)
	cat.HangUp()
	eve.SendFrame(wstest.Text(long(maxMessageSize + 1)))
	s.Pass(grace)
	s.wantCount(1, causeGone, causeStays)
	dan.Vanish()
	s.Pass(2*pongWait + grace)
	s.wantCount(0, causeGone, causeStays)
}

// oneByOne lets everybody use the map, each in a goroutine of its own, and one
// after the other. Nothing but the hub's lock tells one of them of another, so
// that the race detector sees each use without it, wherever the goroutines run.
func oneByOne(s *scene) {
	ann := s.Connect("ann")
	s.Did("two peers connect, GET /online and Send look at the map, ann leaves, and GET /online and Send look again")
	var all sync.WaitGroup
	for i, does := range []func(){
		func() { s.HandshakeQuietly(wstest.Request{}) },
		func() { s.HandshakeQuietly(wstest.Request{}) },
		func() { s.Get("/online") },
		func() { s.sendToNobody(unknownID) },
		ann.Leave,
		func() { s.Get("/online") },
		func() { s.sendToNobody(unknownID) },
	} {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Second)
			does()
		})
	}
	all.Wait()
}

func comeAndGo(s *scene) {
	for round := range 2 {
		var all, busy sync.WaitGroup
		var done atomic.Bool
		busy.Go(func() {
			for !done.Load() {
				for range 100 { // enough to meet a join or a leave
					s.sendToNobody(unknownID)
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
	s.wantCount(100, "no client is put into the map; or all have the same key, so that the first to leave deletes the only entry (task 3.1); or the map is used without the lock.", causeStays)
}

// ends are the ways that a connection can end.
var ends = []func(*scene, *wstest.Peer){
	func(_ *scene, p *wstest.Peer) { p.Close(1000, "") },
	func(_ *scene, p *wstest.Peer) { p.Close(1001, "a tab is closed") },
	func(_ *scene, p *wstest.Peer) { p.Close(1001, "another tab is closed") },
	func(_ *scene, p *wstest.Peer) { p.Reset() },
	func(_ *scene, p *wstest.Peer) { p.HangUp() },
	func(s *scene, p *wstest.Peer) {
		s.Did("%s sends bytes that are no frame", p.Name)
		p.SendRaw([]byte{0xff, 0xff})
	},
	func(_ *scene, p *wstest.Peer) { p.SendFrame(wstest.Text(long(maxMessageSize + 1))) },
	func(_ *scene, p *wstest.Peer) { p.SendFrame(wstest.Text("caf\xe9")) },
	func(s *scene, p *wstest.Peer) {
		s.Did("%s sends a close frame without a code", p.Name)
		p.SendRaw([]byte{0x88, 0x80, 0, 0, 0, 0})
	},
	func(s *scene, p *wstest.Peer) {
		p.FailNextWrite()
		p.Send("hello")
		s.Did("the server's write to %s fails", p.Name)
	},
	func(s *scene, p *wstest.Peer) {
		p.StopReading()
		p.Send("hello")
		s.Pass(writeWait)
	},
	func(s *scene, p *wstest.Peer) {
		p.Vanish()
		s.Pass(2 * pongWait)
	},
}

// leaveInAllWays tries that the count is exact after each way that a connection can
// end.
func leaveInAllWays(s *scene) {
	for i, end := range ends {
		p := s.Connect(fmt.Sprint("peer ", i+1))
		end(s, p)
		s.Pass(grace)
		if !p.Gone() {
			return // which is the matter of step 2
		}
		s.wantCount(0, causeGone, causeStays)
	}
}

// joinMeanwhile lets a peer join while the read pump of another one waits for room in
// its queue.
func joinMeanwhile(s *scene) {
	ann := s.Connect("ann")
	s.fillQueue(ann)
	bob := s.Connect("bob")
	bob.Send("hello")
	if !bob.HasText("hello") {
		s.FailBecause("the hub's lock is held while Send waits for room in a queue: then nobody can join or leave, or be counted. Hold it for the map alone.",
			"bob has connected, and got no answer: he waits together with ann, who does not read.")
	}
	s.wantCount(2, causeNotIn, causeTwiceIn)
	ann.ResumeReading()
	s.Settle()
}

func logsIDs(s *scene) {
	owner := make(map[string]string) // of an id
	// What is logged about a request that becomes no connection is about no connection.
	s.Handshake("gus", from("", "https://evil.example"))
	s.Settle()
	requests := make(map[string]bool)
	for _, r := range s.Log.Records() {
		requests[r.Message] = true
	}
	connect := func(name string, r wstest.Request) *wstest.Peer {
		before := len(s.Log.Records())
		peer := s.ConnectFrom(name, r)
		records := s.Log.Records()[before:]
		if len(records) == 0 {
			s.FailBecause("the records go to another logger than the server's, such as slog's default logger.",
				"%s has connected, but the server has logged nothing since then.", name)
		}
		for _, r := range records {
			if requests[r.Message] {
				continue
			}
			ids := idsOf(r)
			if len(ids) == 0 {
				s.Fail("%s has connected, and this log record about it has no id (a UUID as the value of an attribute): %s", name, r)
			}
			for _, id := range ids {
				if other := owner[id]; other != "" && other != name {
					s.FailBecause("an id is made once, or from the address, and not anew for each connection; or With is applied to the server's logger, which all share, and not to one of the client's own.",
						"this log record about %s has the id of %s: %s", name, other, r)
				}
				owner[id] = name
			}
		}
		return peer
	}
	var peers []*wstest.Peer
	for i := range ends {
		if i == 1 || i == 2 {
			peers = append(peers, connect(fmt.Sprintf("tab %d of one browser", i), wstest.Request{IP: "10.9.8.7"}))
		} else {
			peers = append(peers, connect(fmt.Sprint("peer ", i+1), wstest.Request{}))
		}
	}
	before := len(s.Log.Records())
	peers[0].SendFrame(wstest.Ping("are you there?"))
	s.talk(peers[0], "hello")
	for _, r := range s.Log.Records()[before:] {
		if !slices.ContainsFunc(idsOf(r), func(id string) bool { return owner[id] != "" }) {
			s.Fail("this log record, of peer 1's connection, does not have its id: %s", r)
		}
	}
	for i, p := range peers {
		before := len(s.Log.Records())
		ends[i](s, p)
		s.Pass(grace)
		if !p.Gone() {
			return // which is the matter of step 2
		}
		for _, r := range s.Log.Records()[before:] {
			if !slices.ContainsFunc(idsOf(r), func(id string) bool { return owner[id] == p.Name }) {
				s.Fail("this log record about the end of %s's connection does not have its id: %s", p.Name, r)
			}
		}
	}
	again := wstest.Request{IP: "10.9.8.7:50000"}
	first := connect("a peer", again)
	first.Close(1000, "")
	s.Pass(grace)
	connect("a later peer, with the same address and port,", again)
}

func sendToOne(s *scene) {
	ann, annID := s.connectID("ann")
	bob, bobID := s.connectID("bob")
	for _, to := range []struct {
		id, name  string
		is, other *wstest.Peer
	}{{annID, "ann", ann, bob}, {bobID, "bob", bob, ann}} {
		var err error
		text := "for " + to.name
		s.Call(fmt.Sprintf("Send(%s's id, %q)", to.name, text), 0, func() { err = s.Send(to.id, text) })
		s.Settle()
		if err != nil {
			s.FailBecause("the key in the map is not the id that the log tells, but the address, or another id: uuid.NewString makes a new one with each call.",
				"Send to the id that %s has in the log returned an error: %v.", to.name, err)
		}
		to.is.WantText(text)
		if got := to.other.Messages(); len(got) > 0 {
			s.Fail("%s got %s, which was for %s alone.", to.other.Name, got[0], to.name)
		}
	}
	burst := s.direct() - 4
	s.Call(fmt.Sprintf("%d times Send(bob's id, ...)", burst), 0, func() {
		for _, text := range texts("for bob", burst) {
			s.Send(bobID, text)
		}
	})
	s.Settle()
	got := bob.Messages()
	if len(got) != burst && bob.Gone() {
		s.FailBecause(fmt.Sprintf("the queue has less room: make it with sendQueueSize, which is %d.", sendQueueSize),
			"bob was cut off, although there is room for %d messages in his queue.", burst)
	}
	if len(got) != burst {
		s.Fail("bob, who reads, got %d of the %d messages.", len(got), burst)
	}
	for i, text := range texts("for bob", burst) {
		if string(got[i].Payload) != text {
			s.FailBecause("each message is queued by a goroutine of its own, and those run in any order.",
				"bob got the messages in another order than they were sent.")
		}
	}
	s.Did("Send(an id that nobody has, ...) is called")
	if s.sendToNobody(unknownID) == nil {
		s.Fail("Send to an id that nobody has returned no error.")
	}
	ann.Close(1000, "")
	s.Pass(grace)
	s.Did("Send(ann's id, ...) is called")
	for range 20 { // a queue that nobody empties takes some of them
		if s.sendToNobody(annID) == nil {
			s.FailBecause("something beside the map still knows the client; or the client is not taken out of the map.", "Send to ann's id returned no error after she had left.")
		}
	}
	s.Settle()
	if got := bob.Messages(); len(got) > 0 {
		s.Fail("bob got %s, which was not for him.", got[0])
	}
}

// sendToUnknown asks what the error of Send is.
func sendToUnknown(s *scene) {
	if s.Unknown == nil {
		return
	}
	s.Did("Send(an id that nobody has, ...) is called")
	if err := s.sendToNobody(unknownID); !errors.Is(err, s.Unknown) {
		s.FailBecause("the error is wrapped with %v, which only takes its text, or is another one. %w keeps it.",
			"Send to an id that nobody has returned the error %q, and errors.Is(err, ErrUnknownClient) is false: no caller can tell it from others.", err)
	}
}

// twoServers looks whether a second server in the same program has clients of its own.
func (t *trial) twoServers(s *scene) {
	other := t.start(Config{Log: slog.New(slog.DiscardHandler)})
	defer other.end()
	ann := s.Connect("ann")
	s.talk(ann, "hello")
	s.Did("a second server is made in the same program; nobody connects to it")
	w := httptest.NewRecorder()
	other.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/online", nil))
	const cause = "the hub, or its map, is a variable of the package, which all servers share. Each server makes its own, in NewServer."
	var count struct{ Online int }
	if err := json.Unmarshal(w.Body.Bytes(), &count); err != nil || count.Online != 0 {
		s.FailBecause(cause, "GET /online of the second server says %s.", strings.TrimSpace(w.Body.String()))
	}
	if other.Broadcast != nil {
		other.Broadcast([]byte("from the second server"))
		s.Settle()
		if got := ann.Messages(); len(got) > 0 {
			s.FailBecause(cause, "ann, who is connected to the first server, got %s.", got[0])
		}
	}
}

// sendToNobody calls Send with the id of nobody who is connected.
func (s *scene) sendToNobody(id string) error {
	defer func() {
		if v := recover(); v != nil {
			s.FailBecause("Hub.Send goes on with what it has got from the map, which is nil if there is no such client (task 3.3).",
				"Send to an id that nobody has panicked: %v.", v)
		}
	}()
	return s.Send(id, "is anybody there?")
}

const (
	causeSendWrites = "Send writes to the connection itself, or waits until that is done. It must put the message into the client's queue: the write pump alone writes."
	causeSendLocked = "Hub.Send holds the lock while it waits for room in a queue (unlock it as soon as the client is found), or a goroutine that all need waits there."
)

// sendToStalled tries messages to a peer that does not read: they may wait for
// it, but nobody else may wait with them.
func sendToStalled(s *scene) {
	bob, bobID := s.connectID("bob")
	eve, eveID := s.connectID("eve")
	eve.StopReading()
	s.Did("Send(eve's id, \"first\") is called")
	if !s.Start(func() { s.Send(eveID, "first") }).Within(0) {
		s.FailBecause(causeSendWrites, "Send to eve, who does not read, did not return at once.")
	}
	s.Did("and %d more messages are sent to eve, by one goroutine", 2*sendQueueSize)
	sent := s.Start(func() {
		for _, text := range texts("for eve", 2*sendQueueSize) {
			s.Send(eveID, text)
		}
	})
	s.Settle()
	s.HandshakeAll("a peer", 100, wstest.Request{}) // enough to meet a lock of one part of the map
	s.Did("Send(bob's id, \"for bob\") is called")
	if !s.Start(func() { s.Send(bobID, "for bob") }).Within(0) {
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

// sendAndReset lets a message wait in the queue of a peer whose connection ends then.
// Nothing but time says which comes first, so that the race detector sees it if the
// queue is closed in the end: a later Send could find it closed, and panic.
func sendAndReset(s *scene) {
	eve, id := s.connectID("eve")
	eve.StopReading()
	s.Send(id, "first")
	s.Settle()
	s.Did("Send(eve's id, \"second\") is called")
	var all sync.WaitGroup
	all.Go(func() {
		s.Send(id, "second")
		time.Sleep(2 * grace) // the detector forgets goroutines that have ended
	})
	all.Go(func() {
		time.Sleep(time.Second)
		eve.Reset()
	})
	all.Wait()
	s.Pass(grace)
	s.wantCount(0, causeGone, causeStays)
}

// sendTooMuch tries more messages than a queue holds, to a peer whose connection
// ends, and which stays in the map until its write pump has ended, too.
func sendTooMuch(s *scene) {
	eve, id := s.connectID("eve")
	eve.StopReading()
	eve.HoldWrites()
	s.Did("%d messages are sent to eve, by one goroutine", 2*sendQueueSize)
	refused := false
	sent := s.Start(func() {
		for _, text := range texts("for eve", 2*sendQueueSize) {
			refused = s.Send(id, text) != nil || refused
		}
	})
	s.Settle()
	eve.Reset()
	s.Settle()
	if sent.Returned() && !refused {
		s.FailBecause("Hub.Send does not return the error of Client.Send.",
			"each Send returned nil, although eve has read nothing, and her queue holds %d messages.", s.direct())
	}
	eve.ReleaseWrites()
}

// sendToSlow tries more messages than a queue holds, to a peer that reads again before
// a write to it has failed: it is slow, and loses nothing.
func sendToSlow(s *scene) {
	eve, id := s.connectID("eve")
	eve.StopReading()
	all := texts("for eve", 2*sendQueueSize)
	s.Did("%d messages are sent to eve, by one goroutine", len(all))
	var refused error
	s.Start(func() {
		for _, text := range all {
			if err := s.Send(id, text); refused == nil {
				refused = err
			}
		}
	})
	wantNil := func() {
		s.Settle()
		if refused != nil {
			s.FailBecause("Send gives up when the queue is full, at once or after some time. At this step it waits until there is room, or until the connection has ended.",
				"Send to eve returned an error (%v), although no write to her has taken 10 s.", refused)
		}
	}
	s.Pass(writeWait - time.Second/2)
	wantNil()
	eve.ResumeReading()
	s.wantInOrder(eve, all)
	wantNil()
}
