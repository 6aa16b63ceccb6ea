//go:build linux || darwin

package system

import (
	"os"
	"syscall"
	"unsafe"
)

// Width returns the number of columns of a terminal, or 0 if f is none.
func Width(f *os.File) int {
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	switch {
	case errno != 0:
		return 0
	case size.columns == 0:
		return 80
	}
	return int(size.columns)
}
