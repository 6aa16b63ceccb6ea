package contract

import "testing"

// TestHubGoroutineProtocol holds the server of another design to RFC 6455.
func TestHubGoroutineProtocol(t *testing.T) {
	RunProtocol(t, func(cfg Config) Server {
		s := newChatServer(cfg)
		return Server{
			HTTP: s.web(),
			Broadcast: func(text []byte) error {
				tell(s.hub, s.hub.broadcast, chatMessage{1, text})
				return nil
			},
			Shutdown: s.Shutdown,
		}
	})
}
