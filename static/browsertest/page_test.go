package browsertest

import (
	"fmt"
	"slices"
	"testing"
)

// chatFrom is the step that sends a message to everyone, onlineFrom the one that
// counts who is there.
const (
	onlineFrom = 3
	chatFrom   = 4
)

func TestChatBetweenTwoPages(t *testing.T) {
	for step := 1; step < len(programs); step++ {
		t.Run(programs[step], func(t *testing.T) {
			server := serve(t, step)
			var mayLog []string
			if step < onlineFrom {
				mayLog = []string{notFound}
			}
			a, b := open(t, server.url, mayLog...), open(t, server.url, mayLog...)

			a.write("from a")
			a.waitMessage("received", "from a")
			if step >= chatFrom {
				b.waitMessage("received", "from a")
			}
			b.write("from b")
			b.waitMessage("received", "from b")
			if step >= chatFrom {
				a.waitMessage("received", "from b")
			}
			want := []string{"from b"}
			if step >= chatFrom {
				want = []string{"from a", "from b"}
			}
			if got := b.messages("received"); !slices.Equal(got, want) {
				t.Errorf("b has received %q, want %q", got, want)
			}
			if step >= onlineFrom {
				b.waitText("online", "2")
			} else {
				b.waitText("online", "from step 3 on")
			}
			b.waitText("sent", "1 message, 6 bytes")
			b.waitText("received", fmt.Sprintf(" %d bytes", 6*len(want)))
			b.waitText("roundtrip", " ms")
		})
	}
}
