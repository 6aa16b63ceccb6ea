package system

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Neutral takes from the environment what would change what the tests see, and so
// whom they blame. GOFLAGS is not empty, or the go command would look for what "go env
// -w" has set. The race detector sleeps a second at exit if nobody tells it otherwise.
var Neutral = []string{"GOFLAGS=-buildvcs=false", "GODEBUG=", "GORACE=atexit_sleep_ms=0", "GOTRACEBACK=", "WSWORKSHOP_NATIVE="}

// Go returns a call of the go command in the repository at root, which the learner's
// settings for other work do not change. The end of ctx interrupts it: it tidies up.
func Go(ctx context.Context, root string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), Neutral...)
	if cache, err := Cache(); err == nil { // from the system's folder nothing may be executed, at times
		cmd.Env = append(cmd.Env, "GOTMPDIR="+cache)
	}
	Stoppable(cmd, syscall.SIGINT)
	return cmd
}

// Cache returns the runner's folder for programs that it builds.
func Cache() (string, error) {
	if cache, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(cache, "wsworkshop")
		if os.MkdirAll(dir, 0o777) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), "wsworkshop")
	return dir, os.MkdirAll(dir, 0o777)
}
