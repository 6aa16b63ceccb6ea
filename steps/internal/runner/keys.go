package runner

import (
	"bufio"
	"context"

	"example.com/wsworkshop/steps/internal/system"
)

// keys returns what is typed: on a terminal each key when it is pressed, elsewhere
// the first letter of each line. restore gives the terminal back as it was.
func (a *app) keys(ctx context.Context) (keys <-chan byte, restore func()) {
	restore, single := system.KeyByKey(a.In)
	if !single {
		restore = func() {}
	}
	typed := make(chan byte)
	go func() { // ends with the program: nothing else ends a read of a terminal
		for in := bufio.NewReader(a.In); ; {
			key, err := in.ReadByte()
			if err != nil {
				return
			}
			if !single && key != '\n' {
				in.ReadString('\n') // at the end of all the next read says so
			}
			select {
			case typed <- key:
			case <-ctx.Done():
				return
			}
		}
	}()
	return typed, restore
}
