package runner

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// check is one thing that a machine needs. look returns what it has found; an
// error says what to do.
type check struct {
	what string
	must bool // without it the workshop does not work
	look func(*app, context.Context) (found string, err error)
}

var checks = []check{
	{"Go", true, (*app).checkGo},
	{"modules", true, (*app).checkModules},
	{"race detector", false, (*app).checkRace},
	{"git", false, (*app).checkGit},
	{"port 8080", false, (*app).checkPort},
	{"browser", false, (*app).checkBrowser},
}

// doctor looks whether this machine has what the workshop needs.
func (a *app) doctor(ctx context.Context, args []string) error {
	if _, err := parse(flag.NewFlagSet("doctor", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	missing, wanting := false, false
	for _, c := range checks {
		found, err := c.look(a, ctx)
		mark := "ok"
		switch {
		case err != nil && c.must:
			missing, mark, found = true, "!!", err.Error()
		case err != nil:
			wanting, mark, found = true, "--", err.Error()
		}
		fmt.Fprintf(a.Out, " %s  %-14s %s\n", mark, c.what, strings.ReplaceAll(found, "\n", "\n                    "))
	}
	switch {
	case missing:
		fmt.Fprintln(a.Out, "\nWhat is marked with !! must be there before you begin.")
		return errBroken
	case wanting:
		fmt.Fprintln(a.Out, "\nAll that must be there is there. What is marked with -- makes the workshop nicer.")
	default:
		fmt.Fprintln(a.Out, "\nAll is there.")
	}
	return nil
}

// goCommand runs the go command in the root of the repository.
func (a *app) goCommand(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = a.root
	cmd.Env = append(os.Environ(), env...)
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
	said, err := a.goCommand(ctx, []string{"GOPROXY=off"}, "list", "-buildvcs=false", "-deps", "-test", "./...")
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
	said, err := a.goCommand(ctx, []string{"CGO_ENABLED=1"}, "build", "-buildvcs=false", "-race", "./static")
	if err != nil {
		return "", fmt.Errorf("go test -race needs a C compiler, such as gcc or clang: install one; or do without\n%s", firstLine(said))
	}
	return "go test -race works", nil
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
