package runner

import (
	"context"
	"os/exec"
	"strings"

	"example.com/wsworkshop/steps/internal/screen"
)

// keys returns what is typed, a byte at a time. On a terminal that has stty that is
// each key; elsewhere it is what a line holds, when it is complete. restore gives
// the terminal back as it was.
func (a *app) keys(ctx context.Context) (keys <-chan byte, restore func()) {
	restore = func() {}
	if screen.IsTerminal(a.In) {
		if before, err := a.stty("-g"); err == nil {
			// Ctrl-C stays a signal: -icanon leaves isig alone.
			if _, err := a.stty("-icanon", "-echo", "min", "1"); err == nil {
				restore = func() { a.stty(strings.TrimSpace(before)) }
			}
		}
	}
	typed := make(chan byte)
	go func() { // ends with the program: nothing else ends a read of a terminal
		for b := make([]byte, 1); ; {
			if n, err := a.In.Read(b); n == 0 || err != nil {
				return
			}
			select {
			case typed <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	return typed, restore
}

// stty changes the terminal, or with "-g" tells its state.
func (a *app) stty(args ...string) (string, error) {
	cmd := exec.Command("stty", args...)
	cmd.Stdin = a.In
	output, err := cmd.Output()
	return string(output), err
}
