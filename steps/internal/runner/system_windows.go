package runner

import (
	"os"
	"os/exec"
	"syscall"
)

var (
	kernel32                 = syscall.NewLazyDLL("kernel32.dll")
	setConsoleMode           = kernel32.NewProc("SetConsoleMode")
	generateConsoleCtrlEvent = kernel32.NewProc("GenerateConsoleCtrlEvent")
)

// Modes of a console's input.
const (
	enableLineInput = 0x2
	enableEchoInput = 0x4
)

// keyByKey lets a console hand over each key when it is pressed, and not show it.
// It reports false if f is no console. restore gives it back as it was.
func keyByKey(f *os.File) (restore func(), ok bool) {
	var before uint32
	if err := syscall.GetConsoleMode(syscall.Handle(f.Fd()), &before); err != nil {
		return nil, false
	}
	// Ctrl-C stays a signal: the mode that makes it one is left alone.
	if ok, _, _ := setConsoleMode.Call(f.Fd(), uintptr(before&^(enableLineInput|enableEchoInput))); ok == 0 {
		return nil, false
	}
	return func() { setConsoleMode.Call(f.Fd(), uintptr(before)) }, true
}

// setGroup puts a server into a group of processes of its own. Ctrl-C goes to all
// groups but such a one; the runner tells the server.
func setGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// interrupt tells a process that setGroup was called for what Ctrl-C would. A group
// can only be sent Ctrl-Break, which a Go program takes for the same signal.
func interrupt(p *os.Process) error {
	if ok, _, err := generateConsoleCtrlEvent.Call(syscall.CTRL_BREAK_EVENT, uintptr(p.Pid)); ok == 0 {
		return err
	}
	return nil
}
