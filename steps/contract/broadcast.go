package contract

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"weak"

	"example.com/wsworkshop/steps/internal/wstest"
)

// broadcast is the contract of step 4: a message to everyone, which no slow peer
// can delay.
var broadcast = []Promise{
	{
		Task: "4.1", Name: "everyone gets every message once, whole, in each sender's order",
		cause: "a message is not sent to every client in the map, the sender too; or several messages are joined in one frame; or one is written by several goroutines.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				var peers []*wstest.Peer
				for _, name := range []string{"ann", "bob", "cat", "dan"} {
					peers = append(peers, s.Connect(name))
				}
				const each = 10
				s.Did("all four send %d messages in one go, at the same time", each)
				for _, p := range peers {
					p.SendRaw(inOneGo(texts(p.Name, each)))
				}
				for _, p := range peers {
					seen := make(map[string]int)
					for i := range each * len(peers) {
						f, ok := p.Next()
						if !ok {
							s.Fail("%s got %d of the %d messages that were sent.", p.Name, i, each*len(peers))
						}
						sender, number, _ := strings.Cut(string(f.Payload), " ")
						if f.Op != wstest.OpText || f.Parts > 0 || strings.Contains(number, " ") || strings.Contains(number, "\n") {
							s.Fail("%s got %s, in %d frames. Each message is one text frame.", p.Name, f, f.Parts+1)
						}
						seen[sender]++
						if number != fmt.Sprint(seen[sender]) {
							s.Fail("%s got %s, but %s's next message is number %d.", p.Name, f, sender, seen[sender])
						}
					}
					s.Settle()
					if extra := p.Messages(); len(extra) > 0 {
						s.Fail("%s got %s once too often.", p.Name, extra[0])
					}
				}
				big := wstest.Binary(long(20000))
				peers[0].SendFrame(big)
				for _, p := range peers {
					p.Want(big)
				}
				s.Call("Broadcast", 0, func() { s.Broadcast([]byte("from the server")) })
				for _, p := range peers {
					p.WantText("from the server")
				}
			})
		},
	},
	{
		Task: "4.2", Name: "Broadcast takes no time, even with a peer that has stopped reading",
		cause: "Broadcast writes to the connections, or waits for room in a queue, or waits for a lock that is held while something is written.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob, eve := s.Connect("ann"), s.Connect("bob"), s.Connect("eve")
				eve.StopReading()
				more, _ := s.HandshakeAll("another one who does not read", 9, wstest.Request{})
				for _, p := range more {
					p.Stall()
				}
				for i, text := range texts("news", 2*sendQueueSize) {
					if i < 3 {
						s.Did("Broadcast(%q)", text)
					} else if i == 3 {
						s.Did("and so on, up to 128 messages")
					}
					if !s.Start(func() { s.Broadcast([]byte(text)) }).Within(0) {
						s.Fail("Broadcast(%q) did not return at once: a peer who does not read delays it.", text)
					}
					s.Settle()
					for _, p := range []*wstest.Peer{ann, bob} {
						if got := p.Messages(); len(got) != 1 || string(got[0].Payload) != text {
							s.Fail("%s did not get %q at once: got %v.", p.Name, text, got)
						}
					}
				}
			})
			t.scene(func(s *scene) {
				eve, id := s.connectID("eve")
				eve.StopReading()
				s.Did("%d messages are sent to eve's id", 2*sendQueueSize)
				refused := false
				for i, text := range texts("for eve", 2*sendQueueSize) {
					var err error
					if !s.Start(func() { err = s.Send(id, text) }).Within(0) {
						s.FailBecause("Send still waits for room in the queue, as it did in step 3.",
							"message %d to eve, who does not read, was not queued or refused at once.", i+1)
					}
					refused = refused || err != nil
					s.Settle()
				}
				s.Pass(grace)
				if !refused && !eve.Gone() {
					s.FailBecause("Send drops a message when the queue is full, and says nothing.",
						"each Send returned nil and eve is still connected, although her queue holds %d messages.", sendQueueSize)
				}
			})
		},
	},
	{
		Task: "4.2", Name: "a peer that is too slow is cut off, and nobody else loses anything",
		cause: "a full send queue does not end its client, or ends it only when the write that is blocked has timed out; or others are ended with it.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, bob, eve := s.Connect("ann"), s.Connect("bob"), s.Connect("eve")
				s.talk(ann, "hello")
				bob.WantText("hello")
				eve.WantText("hello")
				bob.StopReading()
				eve.StopReading()
				send := func(text string) weak.Pointer[byte] {
					message := append(make([]byte, 0, 1024), text...)
					s.broadcastAtOnce(message)
					if got := ann.Messages(); len(got) != 1 || string(got[0].Payload) != text {
						s.Fail("ann, who reads, should have got %q, and got %v.", text, got)
					}
					return weak.Make(&message[0])
				}
				s.Did("%d messages are broadcast", sendQueueSize-2)
				var queued weak.Pointer[byte]
				for _, text := range texts("news", sendQueueSize-2) {
					queued = send(text)
				}
				room := fmt.Sprintf("there is room for %d messages in the queue of a peer", sendQueueSize)
				bob.WantOpen(room)
				eve.WantOpen(room)
				s.wantOnline(3)
				bob.ResumeReading()
				bob.WantText(texts("news", sendQueueSize-2)...)
				s.Did("and 10 more")
				for _, text := range texts("more", 10) {
					send(text)
				}
				s.Pass(grace)
				eve.WantGone("her queue has been full")
				bob.WantText(texts("more", 10)...)
				s.wantOnline(2)
				runtime.GC()
				runtime.GC() // what a pool holds survives the first
				if queued.Value() != nil {
					s.FailBecause("something still holds the client, or its queue, after its connection has ended.",
						"a message that was queued for eve is still in memory after she was cut off.")
				}
				send("goodbye")
			})
		},
	},
	{
		Task: "4.2", Name: "broadcasts, joins, leaves and evictions at once do no harm",
		cause: "the map is used without the lock, a channel is closed while others send on it, or two goroutines wait for each other.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				first := s.Connect("ann")
				s.Call("Broadcast", 0, func() { s.Broadcast([]byte("is anybody there?")) })
				first.WantText("is anybody there?")
				first.Leave()
				s.Did("60 peers join at once; a third of them stop reading, a third leave, while four goroutines broadcast")
				peers, _ := s.HandshakeAll("peer", 60, wstest.Request{})
				var all sync.WaitGroup
				for i, p := range peers {
					all.Go(func() {
						switch i % 3 {
						case 0:
							p.Stall()
						case 1:
							p.SendQuietly("bye")
							p.Leave()
						}
					})
				}
				for range 4 {
					all.Go(func() {
						for _, text := range texts("news", 100) {
							s.Broadcast([]byte(text))
						}
					})
				}
				done := s.Start(all.Wait)
				more, _ := s.HandshakeAll("late peer", 20, wstest.Request{})
				if !done.Within(0) {
					s.Fail("Broadcast did not return at once.")
				}
				s.Pass(grace)
				s.Did("the rest leaves")
				for _, p := range append(peers, more...) {
					p.Leave()
				}
				s.Pass(2 * writeWait)
				s.wantOnline(0)
				ann := s.Connect("ann")
				s.talk(ann, "hello")
			})
		},
	},
	{
		Task: "4.3", Name: "a peer that was cut off is neither heard nor sent to",
		cause: "after its connection has ended, a client's read pump still hands on what it sends; or Send still puts messages into its queue, which nobody will empty.",
		test: func(t *trial) {
			t.scene(func(s *scene) {
				ann, eve := s.Connect("ann"), s.Connect("eve")
				eve.StopReading()
				s.Did("%d messages are broadcast, more than eve's queue holds", 2*sendQueueSize)
				for _, text := range texts("news", 2*sendQueueSize) {
					s.broadcastAtOnce([]byte(text))
				}
				ann.Messages()
				eve.Send("can you hear me?")
				s.Pass(time.Second)
				if got := ann.Messages(); len(got) > 0 {
					s.Fail("ann got %s from eve, who had been cut off.", got[0])
				}
				s.Pass(grace)
				eve.WantGone("her queue has been full")
			})
			t.scene(func(s *scene) {
				eve, id := s.connectID("eve")
				eve.StopReading()
				s.Did("the server writes to eve, and this write takes long to fail")
				eve.HoldWrites()
				s.broadcastAtOnce([]byte("news"))
				eve.Reset()
				s.Settle()
				for range 20 { // a select with several ways out takes any of them
					s.FailUnless(s.Send(id, "hello") != nil, "Send to eve's id returned no error, although her connection has ended: the message is in a queue that nobody will empty.")
				}
				eve.ReleaseWrites()
			})
		},
	},
}

// broadcastAtOnce broadcasts a message and demands that this takes no time.
func (s *scene) broadcastAtOnce(message []byte) {
	if !s.Start(func() { s.Broadcast(message) }).Within(0) {
		s.FailBecause("Send waits for room in the queue of a peer that does not read.", "Broadcast(%.20q) did not return at once.", message)
	}
	s.Settle()
}
