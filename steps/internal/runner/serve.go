package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// stopPatience is how long a server may take to end before it is killed.
const stopPatience = 20 * time.Second

// serve builds and runs the server of a step, and does so again on every save.
// What does not build leaves the old one running.
func (a *app) serve(ctx context.Context, args []string) error {
	solution := false
	var words []string
	for len(args) > 0 { // the rest are flags of the server
		if args[0] == "-solution" || args[0] == "--solution" {
			solution = true
		} else if _, err := strconv.Atoi(args[0]); err == nil && words == nil {
			words = args[:1]
		} else {
			break
		}
		args = args[1:]
	}
	s, err := a.step(ctx, words)
	if err != nil {
		return err
	}
	folder := s.Folder()
	if solution {
		folder = s.Solution()
	}
	temp, err := os.MkdirTemp("", "wsworkshop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	var server *process
	for n := 1; ; n++ {
		before := look(a.path(folder))
		program := filepath.Join(temp, fmt.Sprintf("server%d", n)) // Windows keeps the file of a running one
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./"+folder)
		build.Dir = a.root
		output, err := build.CombinedOutput()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			fmt.Fprintf(a.Err, "%s does not build:\n%s\n", folder, output)
		default:
			server.stop()
			fmt.Fprintf(a.Err, "%s runs; Ctrl-C ends it, and a save restarts it.\n", folder)
			if server, err = a.start(program, args); err != nil {
				return err
			}
		}
		if _, saved := changed(ctx, a.path(folder), before, nil); !saved {
			server.stop()
			return nil
		}
	}
}

// process is a server that runs.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

func (a *app) start(program string, args []string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = a.root
	p.cmd.Stdout, p.cmd.Stderr = a.Out, a.Err
	setGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // what it has to say stands on standard error
		close(p.ended)
	}()
	return p, nil
}

// stop asks the server to end, and waits until it has. Ctrl-C ends the wait. p may
// be nil.
func (p *process) stop() {
	if p == nil {
		return
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt)
	defer signal.Stop(again)
	if interrupt(p.cmd.Process) != nil { // as without a console on Windows
		p.cmd.Process.Kill()
	}
	select {
	case <-p.ended:
		return
	case <-again:
	case <-time.After(stopPatience):
		fmt.Fprintf(p.cmd.Stderr, "The server has not ended in %v, and is killed.\n", stopPatience)
	}
	p.cmd.Process.Kill()
	<-p.ended
}
