package runner

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"example.com/wsworkshop/steps/internal/system"
)

// check is one thing that a machine needs. look returns what it has found; an
// error says what to do.
type check struct {
	what  string
	does  string // while it looks
	must  bool   // without it the workshop does not work
	looks func(*app, context.Context) (found string, err error)
}

var checks = []check{
	{"Go", "asking for its version", true, (*app).checkGo},
	{"modules", "listing all packages", true, (*app).checkModules},
	{"race detector", "compiling with it (a minute the first time)", false, (*app).checkRace},
	{"temp folder", "running a program there", false, (*app).checkTemp},
	{"environment", "looking for settings", false, (*app).checkEnvironment},
	{"git", "looking for it", false, (*app).checkGit},
	{"port 8080", "listening there", false, (*app).checkPort},
	{"browser", "looking for one", false, (*app).checkBrowser},
}

// doctor looks whether this machine has what the workshop needs.
func (a *app) doctor(ctx context.Context, args []string) error {
	if _, err := parse(flag.NewFlagSet("doctor", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	missing, wanting := false, false
	for _, c := range checks {
		done := a.working(fmt.Sprintf("     %-14s %s", c.what, c.does))
		found, err := c.looks(a, ctx)
		done()
		mark := "ok"
		switch {
		case err != nil && c.must:
			missing, mark, found = true, "!!", err.Error()
		case err != nil:
			wanting, mark, found = true, "--", err.Error()
		}
		line := fmt.Sprintf(" %s  %-14s %s\n", mark, c.what, strings.ReplaceAll(found, "\n", "\n                    "))
		fmt.Fprint(a.Out, a.screen.Wrap(line))
	}
	switch {
	case missing:
		fmt.Fprint(a.Out, a.screen.Wrap("\nWhat is marked with !! must be there before you begin.\n"))
		return errBroken
	case wanting:
		fmt.Fprint(a.Out, a.screen.Wrap("\nAll that must be there is there. What is marked with -- makes the workshop nicer.\n"))
	default:
		fmt.Fprintln(a.Out, "\nAll is there.")
	}
	return nil
}

// goCommand runs the go command in the root of the repository.
func (a *app) goCommand(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := system.Go(ctx, a.root, args...)
	cmd.Env = append(cmd.Env, env...)
	output, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// checkGo finds the version. One that is too old does not get as far as here: the
// go command says so itself.
func (a *app) checkGo(ctx context.Context) (string, error) {
	version, err := a.goCommand(ctx, nil, "env", "GOVERSION")
	if err != nil {
		return "", errors.New("the go command does not work: install Go anew, from https://go.dev/dl/")
	}
	return fmt.Sprintf("%s for %s/%s", version, runtime.GOOS, runtime.GOARCH), nil
}

func (a *app) checkModules(ctx context.Context) (string, error) {
	// Without a network, as in a room that has none.
	said, err := a.goCommand(ctx, []string{"GOPROXY=off"}, "list", "-deps", "-test", "./...")
	switch {
	case err == nil:
	case strings.Contains(said, "GOPROXY=off"):
		return "", fmt.Errorf("not all are downloaded: run \"go mod download\" while there is a network\n%s", firstLine(said))
	default:
		return "", fmt.Errorf("the go command cannot list the packages\n%s", firstLine(said))
	}
	return "all are downloaded", nil
}

func (a *app) checkRace(ctx context.Context) (string, error) {
	said, err := a.goCommand(ctx, []string{"CGO_ENABLED=1"}, "build", "-race", "./static")
	if err != nil {
		return "", fmt.Errorf("go test -race needs a C compiler, such as gcc or clang: install one; or do without\n%s", firstLine(said))
	}
	return "go test -race works", nil
}

// checkTemp runs a program in the folder for temporary files, as "go test" does. The
// runner itself has another one.
func (a *app) checkTemp(ctx context.Context) (string, error) {
	if runtime.GOOS == "windows" {
		return "comes with the system", nil
	}
	dir := cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir())
	f, err := os.CreateTemp(dir, "wsworkshop")
	if err != nil {
		return "", fmt.Errorf("%w: set TMPDIR, or GOTMPDIR, to a folder that is yours", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString("#!/bin/sh\n")
	if err := cmp.Or(err, f.Chmod(0o700), f.Close()); err != nil {
		return "", err
	}
	if err := exec.CommandContext(ctx, f.Name()).Run(); err != nil {
		cache, _ := system.Cache()
		return "", fmt.Errorf("nothing may be executed in %s, where go test builds its programs. The runner does without; for a plain go test: export GOTMPDIR=%s", dir, cache)
	}
	return "programs run in " + dir, nil
}

// checkEnvironment names what is set for other work, and gets in the way where the
// runner does not go without it.
func (a *app) checkEnvironment(ctx context.Context) (string, error) {
	var odd []string
	asks := exec.CommandContext(ctx, "go", "env", "GOFLAGS")
	asks.Dir = a.root
	if said, err := asks.Output(); err == nil {
		if flags := strings.TrimSpace(string(said)); strings.Contains(flags, "-") && !strings.HasPrefix(flags, "-buildvcs=") {
			odd = append(odd, "GOFLAGS is "+flags+": go run ./steps does without, a plain go test does not")
		}
	}
	if os.Getenv("WSWORKSHOP_NATIVE") != "" {
		odd = append(odd, "WSWORKSHOP_NATIVE is set: in a plain go test a panic ends all promises, not one")
	}
	proxy := cmp.Or(os.Getenv("http_proxy"), os.Getenv("all_proxy"), os.Getenv("ALL_PROXY"))
	if direct := cmp.Or(os.Getenv("no_proxy"), os.Getenv("NO_PROXY")); proxy != "" && direct != "*" && !strings.Contains(direct, "127.0.0.1") {
		odd = append(odd, "curl asks the proxy "+proxy+" even for 127.0.0.1: export no_proxy=127.0.0.1,localhost")
	}
	if len(odd) > 0 {
		return "", errors.New(strings.Join(odd, "\n"))
	}
	return "no setting gets in the way", nil
}

func (a *app) checkGit(context.Context) (string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return "", errors.New("diff, what-changed and carry need git: https://git-scm.com")
	}
	return "installed", nil
}

func (a *app) checkPort(context.Context) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return "", fmt.Errorf("something else listens there: end it, or start the servers with -addr 127.0.0.1:0")
	}
	l.Close()
	return "free", nil
}

// browsers are the commands by which browsers are known on Linux. macOS and
// Windows come with one.
var browsers = []string{"xdg-open", "firefox", "chromium", "chromium-browser", "google-chrome", "brave-browser", "microsoft-edge"}

func (a *app) checkBrowser(context.Context) (string, error) {
	if os.Getenv("BROWSER") != "" { // also that of a container which an editor is connected to
		return os.Getenv("BROWSER"), nil
	}
	if runtime.GOOS != "linux" {
		return "comes with the system", nil
	}
	for _, name := range browsers {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return "", errors.New("none was found: install one to see the page, or open it from another machine")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
