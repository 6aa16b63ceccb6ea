// The workshop's runner: "go run ./steps" shows where you are and what is next,
// and "go run ./steps help" lists what else it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.com/wsworkshop/steps/internal/runner"
	"example.com/wsworkshop/steps/internal/system"
)

func main() {
	// However it ends, no server of serve may outlive it, and the terminal must be
	// as it was.
	ctx, stop := signal.NotifyContext(context.Background(),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	// A signal to "go run" alone ends that, and does not get here.
	ctx, end := context.WithCancel(ctx)
	go func() { // ends with the program
		system.WaitForParent()
		end()
	}()
	code := runner.Run(ctx, os.Args[1:], runner.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	end()
	stop()
	os.Exit(code)
}
