package runner

import (
	"bufio"
	"context"
	"fmt"
	"strings"

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

// ask asks a question and reports whether the answer is yes. Without an answer it
// is no, and if ctx ends.
func (a *app) ask(ctx context.Context, question string) bool {
	fmt.Fprintf(a.Out, "%s [y/N] ", a.screen.Wrap(question))
	if a.typed != nil {
		key := byte(' ')
		select {
		case key = <-a.typed:
		case <-ctx.Done():
		}
		fmt.Fprintf(a.Out, "%c\n", key)
		return key == 'y' || key == 'Y'
	}
	answer := make(chan string, 1)
	go func() { answer <- a.readLine() }() // after the end of ctx it ends with the program
	select {
	case line := <-answer:
		word := strings.ToLower(strings.TrimSpace(line))
		return word == "y" || word == "yes"
	case <-ctx.Done():
		fmt.Fprintln(a.Out)
		return false
	}
}

// readLine returns the next line, and no more than that: what follows may be for
// somebody else.
func (a *app) readLine() string {
	var line []byte
	for b := make([]byte, 1); ; {
		if n, err := a.In.Read(b); n == 0 || err != nil {
			fmt.Fprintln(a.Out)
			return string(line)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}
