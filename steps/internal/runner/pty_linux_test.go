package runner

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// newTerminal returns both ends of a pseudo-terminal of 100 columns: that which a
// person sits at, and that which a program is given (see pts(4)).
func newTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	var unlock, number int32
	size := struct{ rows, columns, x, y uint16 }{40, 100, 0, 0}
	control(t, person, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	control(t, person, syscall.TIOCGPTN, unsafe.Pointer(&number))
	control(t, person, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func control(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		t.Fatal(errno)
	}
}

// modes returns how a terminal is set.
func modes(t *testing.T, f *os.File) syscall.Termios {
	t.Helper()
	var m syscall.Termios
	control(t, f, syscall.TCGETS, unsafe.Pointer(&m))
	return m
}
