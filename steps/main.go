// The workshop's runner: "go run ./steps" shows where you are and what is next,
// and "go run ./steps help" lists what else it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.com/wsworkshop/steps/internal/runner"
)

func main() {
	// A hangup, because a server of serve would outlive its terminal.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := runner.Run(ctx, os.Args[1:], runner.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
