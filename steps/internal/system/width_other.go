//go:build !linux && !darwin && !windows

package system

import "os"

// Width returns 80 for a terminal, and 0 if f is none.
func Width(f *os.File) int {
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return 0
	}
	return 80
}
