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
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.com/wsworkshop/static"
)

// shutdownWait is how long connections may take to end after a signal.
const shutdownWait = 15 * time.Second

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

// run serves until ctx is done and all connections have ended.
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
	case err = <-failed:
	case <-ctx.Done():
	}

	cfg.Log.Info("shutting down", "online", server.Online())
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	return errors.Join(err, server.Shutdown(ctx), web.Shutdown(ctx))
}

// parseFlags reads the command line. Its errors are one sentence each.
func parseFlags(args []string, stderr io.Writer) (addr string, cfg Config, err error) {
	cfg.Limits = DefaultLimits()
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&addr, "addr", "127.0.0.1:8080", "listen on this `address`; port 0 picks a free one")
	flags.BoolVar(&cfg.AnyOrigin, "dev", false, "let pages of any origin connect")
	flags.Func("origin", "let pages of this `origin` connect, such as https://chat.example.com; may be repeated", func(s string) error {
		cfg.Origins = append(cfg.Origins, s)
		return nil
	})
	flags.IntVar(&cfg.Limits.MaxPerIP, "max-per-ip", cfg.Limits.MaxPerIP, "`connections` at a time from one address; 0: no limit")
	flags.Float64Var(&cfg.Limits.HandshakeRate, "handshake-rate", cfg.Limits.HandshakeRate, "handshakes a `second` from one address; 0: no limit")
	flags.Float64Var(&cfg.Limits.MessageRate, "message-rate", cfg.Limits.MessageRate, "messages a `second` on one connection; 0: no limit")
	flags.Func("trusted-proxy", "believe X-Forwarded-For from this `network`, such as 10.0.0.0/8; may be repeated", func(s string) error {
		proxy, err := netip.ParsePrefix(s)
		if err == nil && proxy.Addr().Is4In6() {
			err = errors.New("write an IPv4 network as such")
		}
		cfg.Limits.TrustedProxies = append(cfg.Limits.TrustedProxies, proxy)
		return err
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
	isRate := func(r float64) bool { return r >= 0 && r <= 1e6 } // which NaN is not
	if l := cfg.Limits; l.MaxPerIP < 0 || !isRate(l.HandshakeRate) || !isRate(l.MessageRate) {
		return "", Config{}, fmt.Errorf("%w: a limit is 0 or more, a rate at most 1e6 (-h lists the flags)", errUsage)
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
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintf(w, "{\"online\":%d}\n", server.Online())
	})
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
