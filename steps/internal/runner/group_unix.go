//go:build unix

package runner

import (
	"os/exec"
	"syscall"
)

// setGroup puts a server into a group of processes of its own. Ctrl-C goes to the
// group of the runner, which tells the server: twice would end it at once.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
