//go:build unix

package runner

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// keyByKey lets a terminal hand over each key when it is pressed, and not show it.
// It reports false if f is no terminal. restore gives it back as it was.
func keyByKey(f *os.File) (restore func(), ok bool) {
	before, err := stty(f, "-g")
	if err != nil {
		return nil, false
	}
	// Ctrl-C stays a signal: -icanon leaves isig alone.
	if _, err := stty(f, "-icanon", "-echo", "min", "1"); err != nil {
		return nil, false
	}
	return func() { stty(f, strings.TrimSpace(before)) }, true
}

// stty changes a terminal, or with "-g" tells its state.
func stty(f *os.File, args ...string) (string, error) {
	cmd := exec.Command("stty", args...)
	cmd.Stdin = f
	output, err := cmd.Output()
	return string(output), err
}

// setGroup puts a server into a group of processes of its own. Ctrl-C goes to the
// group of the runner, which tells the server: twice would end it at once.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// interrupt tells a process that setGroup was called for what Ctrl-C would.
func interrupt(p *os.Process) error { return p.Signal(os.Interrupt) }
