package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A peer is a server program.
type peer struct {
	name    string
	folder  string // where go build is called
	target  string // what it builds
	flags   []string
	dialect dialect
}

const chat = "gorilla's chat" // what the others are compared with

var unlimited = []string{"-max-per-ip=0", "-handshake-rate=0", "-message-rate=0", "-byte-rate=0", "-max-connections=0"}

var peers = []peer{
	{name: "08-limits", folder: "../..", target: "./solutions/08-limits", flags: unlimited},
	{name: "09-log", folder: "../..", target: "./solutions/09-log", flags: unlimited},
	{name: "10-resume", folder: "../..", target: "./solutions/10-resume", flags: unlimited},
	{name: "10-resume, counting", folder: "../..", target: "./solutions/10-resume", flags: unlimited, dialect: counting},
	{name: "bare gorilla", folder: ".", target: "./peers/bare"},
	{name: "bare, with deadline", folder: ".", target: "./peers/bare", flags: []string{"-deadline"}},
	{name: chat, folder: ".", target: "github.com/gorilla/websocket/examples/chat"},
	{name: "melody", folder: ".", target: "./peers/melody"},
	{name: "coder/websocket", folder: ".", target: "./peers/coder"},
	{name: "gws", folder: ".", target: "./peers/gws"},
	{name: "centrifuge", folder: ".", target: "./peers/centrifuge", dialect: centrifugeJSON},
	{name: "raw TCP", folder: ".", target: "./peers/raw"},
	{name: "raw TCP, batched", folder: ".", target: "./peers/raw", flags: []string{"-batch"}},
}

// build builds p into folder.
func (p peer) build(folder string) error {
	cmd := exec.Command("go", "build", "-o", p.binary(folder), p.target)
	cmd.Dir = p.folder
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	return nil
}

func (p peer) binary(folder string) string {
	return filepath.Join(folder, filepath.Base(p.target))
}

// A server is a peer's process.
type server struct {
	port  int
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// start starts p and waits until it listens.
func (p peer) start(folder string) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := listener.Addr().String()
	listener.Close()

	s := &server{port: listener.Addr().(*net.TCPAddr).Port, ended: make(chan struct{})}
	s.cmd = exec.Command(p.binary(folder), append([]string{"-addr=" + addr}, p.flags...)...)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return s, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.kill()
	return nil, fmt.Errorf("%s does not listen", s.cmd)
}

// terminate asks the process to end.
func (s *server) terminate() { s.cmd.Process.Signal(syscall.SIGTERM) }

// kill ends the process.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// cpu is the processor time that the process has used, in user mode and in the
// kernel, as the kernel counts it, to the nanosecond.
func (s *server) cpu() (time.Duration, error) {
	const schedulerClock = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^s.cmd.Process.Pid<<3|schedulerClock), &t); err != nil {
		return 0, fmt.Errorf("the server's processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // no such clock: not Linux
	}
	return time.Duration(t.Nano())
}

// memory is the process's resident memory in bytes: now, with the name VmRSS, or
// at its highest, with VmHWM.
func (s *server) memory(name string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name+":" {
			kB, err := strconv.Atoi(fields[1])
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc", name)
}
