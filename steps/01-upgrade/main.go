// This program is a real-time WebSocket server. It serves the WebSocket at /ws
// and a page to try it with at /.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.com/wsworkshop/static"
)

// errUsage marks an error in the command line.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	addr, cfg, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	cfg.Log.Info("listening", "url", "http://"+listener.Addr().String())
	if cfg.AnyOrigin {
		cfg.Log.Warn("-dev: pages of any origin may connect")
	}

	server := NewServer(cfg)
	web := newHTTPServer(server, cfg.Log)
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return web.Close()
	}
}

// parseFlags reads the command line. Its errors are one sentence each.
func parseFlags(args []string, stderr io.Writer) (addr string, cfg Config, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&addr, "addr", "127.0.0.1:8080", "listen on this `address`; port 0 picks a free one")
	flags.BoolVar(&cfg.AnyOrigin, "dev", false, "let pages of any origin connect")
	flags.Func("origin", "let pages of this `origin` connect, such as https://chat.example.com; may be repeated", func(s string) error {
		cfg.Origins = append(cfg.Origins, s)
		return nil
	})

	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return "", Config{}, err
	case err != nil:
		return "", Config{}, fmt.Errorf("%w: %w (-h lists the flags)", errUsage, err)
	case flags.NArg() > 0:
		return "", Config{}, fmt.Errorf("%w: unexpected argument %q (-h lists the flags)", errUsage, flags.Arg(0))
	}
	for _, origin := range cfg.Origins {
		if !isOrigin(origin) {
			return "", Config{}, fmt.Errorf("-origin %q is not an origin as browsers send it: want scheme://host, or scheme://host:port if the port is not the default", origin)
		}
	}
	return addr, cfg, nil
}

// isOrigin reports whether s is an origin as browsers send it: without a path and
// without the default port of its scheme.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme+"://"+u.Host != s || u.Hostname() == "" || strings.HasSuffix(s, ":") || strings.Contains(s, "*") {
		return false
	}
	return !(u.Scheme == "http" && u.Port() == "80") && !(u.Scheme == "https" && u.Port() == "443")
}

// newHTTPServer returns the server for all of the program's routes. Its timeouts
// end requests that trickle in and answers that nobody takes; a WebSocket is
// out of their reach once it is upgraded.
func newHTTPServer(server *Server, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", static.Handler())
	mux.Handle("/ws", server)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeTimeout,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
