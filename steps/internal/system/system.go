// Package system is what the runner does otherwise on each operating system: with
// the terminal, and with the programs that it starts.
package system

import (
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a program may take to end after a signal.
const patience = 3 * time.Second

// Stoppable lets the end of cmd's context send its program, and all that this has
// started, a signal, instead of killing it alone.
func Stoppable(cmd *exec.Cmd, s syscall.Signal) {
	NewGroup(cmd)
	cmd.Cancel = func() error {
		if Signal(cmd.Process, s) != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = patience
}
