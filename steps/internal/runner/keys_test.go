package runner

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Where keys do not come one by one, as in the console of an editor, the enter
// behind a key is no key of its own: it would run the tests again, and clear away
// what the key has shown.
func TestWithoutATerminalEachLineIsAKey(t *testing.T) {
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := io.WriteString(typed, "h\nlist\r\n\n\r\nq"); err != nil {
		t.Fatal(err)
	}
	typed.Close()

	a := &app{Streams: Streams{In: in}}
	keys, restore := a.keys(t.Context())
	defer restore()
	for _, want := range []byte("hl\n\rq") {
		if got := <-keys; got != want {
			t.Errorf("got the key %q, want %q", got, want)
		}
	}
}

func TestTheEndOfTheProgramAnswersAQuestion(t *testing.T) {
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer typed.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{Streams: Streams{In: in, Out: out}}
	answer := make(chan bool, 1)
	go func() { answer <- a.ask(ctx, "Is anybody there?") }()
	select {
	case yes := <-answer:
		if yes {
			t.Error("nobody has said yes")
		}
	case <-time.After(10 * time.Second):
		t.Error("the question waits on, although the program is to end")
	}
}
