package screen

import (
	"os"
	"syscall"
	"unsafe"
)

var (
	kernel32                   = syscall.NewLazyDLL("kernel32.dll")
	getConsoleScreenBufferInfo = kernel32.NewProc("GetConsoleScreenBufferInfo")
	setConsoleMode             = kernel32.NewProc("SetConsoleMode")
)

// enableVirtualTerminalProcessing lets a console understand what paints and
// clears, from Windows 10 on.
const enableVirtualTerminalProcessing = 0x4

// width returns the number of columns of a console, or 0 if f is none, or one that
// cannot be painted on.
func width(f *os.File) int {
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
