package system

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"
)

var (
	kernel32                   = syscall.NewLazyDLL("kernel32.dll")
	getConsoleScreenBufferInfo = kernel32.NewProc("GetConsoleScreenBufferInfo")
	setConsoleMode             = kernel32.NewProc("SetConsoleMode")
	generateConsoleCtrlEvent   = kernel32.NewProc("GenerateConsoleCtrlEvent")
)

// Modes of a console: of its input, and from Windows 10 on of its output.
const (
	enableLineInput                 = 0x2
	enableEchoInput                 = 0x4
	enableVirtualTerminalProcessing = 0x4
)

// Width returns the number of columns of a console, or 0 if f is none, or one that
// does not understand what paints and clears.
func Width(f *os.File) int {
	var info struct {
		size, cursor             struct{ x, y int16 }
		attributes               uint16
		left, top, right, bottom int16 // of the window
		largest                  struct{ x, y int16 }
	}
	if ok, _, _ := getConsoleScreenBufferInfo.Call(f.Fd(), uintptr(unsafe.Pointer(&info))); ok == 0 {
		return 0
	}
	var mode uint32
	if err := syscall.GetConsoleMode(syscall.Handle(f.Fd()), &mode); err != nil {
		return 0
	}
	if ok, _, _ := setConsoleMode.Call(f.Fd(), uintptr(mode|enableVirtualTerminalProcessing)); ok == 0 {
		return 0
	}
	return int(info.right-info.left) + 1
}

// KeyByKey lets a console hand over each key when it is pressed, and not show it.
// It reports false if f is no console. restore gives it back as it was.
func KeyByKey(f *os.File) (restore func(), ok bool) {
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

// WaitForParent returns when the process that has started this one is gone.
func WaitForParent() {
	if parent, err := os.FindProcess(os.Getppid()); err == nil {
		parent.Wait()
	}
}

// NewGroup lets cmd's program begin a group of processes. Ctrl-C goes to the group
// of the runner alone, which then tells the others, once.
func NewGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Signal sends Ctrl-Break to a process that began a group, and to all others in it,
// whatever s is: there is nothing else to send. A Go program takes it for
// os.Interrupt. Without a console it fails.
func Signal(p *os.Process, s syscall.Signal) error {
	if ok, _, err := generateConsoleCtrlEvent.Call(syscall.CTRL_BREAK_EVENT, uintptr(p.Pid)); ok == 0 {
		return err
	}
	return nil
}
