// The workshop's runner: "go run ./steps" shows where you are and what is next.
package main

import (
	"context"
	"os"
	"os/signal"

	"example.com/wsworkshop/steps/internal/runner"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := runner.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
