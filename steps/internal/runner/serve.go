package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/wsworkshop/steps/internal/system"
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
		} else if words == nil && !strings.HasPrefix(args[0], "-") {
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
	cache, err := system.Cache() // where what is built may be executed
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(cache, "serve")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	ctx, over := context.WithCancel(ctx)
	defer over()
	var server *process
	for n := 1; ; n++ {
		before := look(a.path(folder), a.path("static"))
		program := filepath.Join(temp, fmt.Sprintf("server%d", n)) // Windows keeps the file of a running one
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		done := a.working("Compiling " + folder)
		output, err := system.Go(ctx, a.root, "build", "-o", program, "./"+folder).CombinedOutput()
		done()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			fmt.Fprintf(a.Err, "%s does not build:\n%s", folder, output)
			if server.runs() {
				fmt.Fprintln(a.Err, "The server from before goes on.")
			}
		default:
			server.stop()
			fmt.Fprintf(a.Err, "Starting %s. Ctrl-C ends it, and a save restarts it.\n", folder)
			if server, err = a.start(program, args, over); err != nil {
				return err
			}
		}
		if _, saved := changed(ctx, before, nil, a.path(folder), a.path("static")); !saved {
			server.stop()
			return nil
		}
	}
}

// process is a server that runs, or has ended by itself.
type process struct {
	cmd   *exec.Cmd
	asked atomic.Bool   // to end
	ended chan struct{} // closed when it has ended
}

// start starts a server. One that ends by itself, and with success, has nothing
// more to do, as after -h: then it calls over.
func (a *app) start(program string, args []string, over func()) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = a.root
	p.cmd.Stdout, p.cmd.Stderr = a.Out, a.Err
	system.NewGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		switch err := p.cmd.Wait(); {
		case p.asked.Load(): // what it has to say stands on standard error
		case err == nil:
			over()
		default:
			fmt.Fprintf(a.Err, "The server has ended (%v). A save starts it again, Ctrl-C ends this.\n", err)
		}
	}()
	return p, nil
}

// runs reports whether the server still runs. p may be nil.
func (p *process) runs() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop asks the server to end, and waits until it has. Ctrl-C ends the wait. p may
// be nil.
func (p *process) stop() {
	if p == nil {
		return
	}
	p.asked.Store(true)
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt)
	defer signal.Stop(again)
	if system.Signal(p.cmd.Process, syscall.SIGINT) != nil { // as without a console on Windows
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
