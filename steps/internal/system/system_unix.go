//go:build unix

package system

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// KeyByKey lets a terminal hand over each key when it is pressed, and not show it.
// It reports false if f is no terminal. restore gives it back as it was.
func KeyByKey(f *os.File) (restore func(), ok bool) {
	before, err := stty(f, "-g")
	if err != nil {
		return nil, false
	}
	single := func() error {
		// Ctrl-C stays a signal: -icanon leaves isig alone.
		_, err := stty(f, "-icanon", "-echo", "min", "1")
		return err
	}
	if single() != nil {
		return nil, false
	}
	goesOn := make(chan os.Signal, 1) // after Ctrl-Z: by then the shell has changed the terminal
	signal.Notify(goesOn, syscall.SIGCONT)
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-goesOn:
				single()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(goesOn)
		close(done)
		<-ended
		stty(f, strings.TrimSpace(before))
	}, true
}

// stty changes a terminal, or with "-g" tells its state.
func stty(f *os.File, args ...string) (string, error) {
	cmd := exec.Command("stty", args...)
	cmd.Stdin = f
	output, err := cmd.Output()
	return string(output), err
}

// WaitForParent returns when the process that has started this one is gone: another
// one is its parent then.
func WaitForParent() {
	parent := os.Getppid()
	for range time.Tick(time.Second / 5) {
		if os.Getppid() != parent {
			return
		}
	}
}

// NewGroup lets cmd's program begin a group of processes. Ctrl-C goes to the group
// of the runner alone, which then tells the others, once.
func NewGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Signal sends a signal to a process that began a group, and to all others in it.
func Signal(p *os.Process, s syscall.Signal) error { return syscall.Kill(-p.Pid, s) }
