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
	"unicode"

	"example.com/wsworkshop/static"
)

// shutdownWait is how long connections may take to end after a signal.
const shutdownWait = 15 * time.Second

// errUsage marks an error in the command line.
var errUsage = errors.New("usage")

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to end

	stderr := newLogWriter(os.Stderr)
	err := run(ctx, os.Args[1:], stderr)
	code := 0
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err)
		code = 2
	default:
		fmt.Fprintln(stderr, err)
		code = 1
	}
	stderr.flush()
	os.Exit(code)
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
		return fmt.Errorf("%w (try -addr 127.0.0.1:0, which picks a free port)", err)
	}
	cfg.Log.Info("listening", "url", "http://"+listener.Addr().String())
	if cfg.AnyOrigin {
		cfg.Log.Warn("-dev: pages of any origin may connect")
	}

	server := NewServer(cfg)
	web := newHTTPServer(server, cfg.Log)
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(newListener(listener, cfg.Limits)) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	cfg.Log.Info("shutting down", "online", server.Online())
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
		return checkOriginFlag(s)
	})
	flags.IntVar(&cfg.Limits.MaxPerIP, "max-per-ip", cfg.Limits.MaxPerIP, "`connections` at a time from one address; 0: no limit")
	flags.Float64Var(&cfg.Limits.HandshakeRate, "handshake-rate", cfg.Limits.HandshakeRate, "handshakes a `second` from one address; 0: no limit")
	flags.Float64Var(&cfg.Limits.MessageRate, "message-rate", cfg.Limits.MessageRate, "messages a `second` on one connection; 0: no limit")
	flags.Float64Var(&cfg.Limits.ByteRate, "byte-rate", cfg.Limits.ByteRate, "bytes a `second` from one address; 0: no limit")
	flags.IntVar(&cfg.Limits.MaxConnections, "max-connections", cfg.Limits.MaxConnections, "`connections` at a time from all addresses; 0: no limit")
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
	for _, l := range []struct {
		flag  string
		value float64
	}{
		{"max-per-ip", float64(cfg.Limits.MaxPerIP)},
		{"max-connections", float64(cfg.Limits.MaxConnections)},
		{"handshake-rate", cfg.Limits.HandshakeRate},
		{"message-rate", cfg.Limits.MessageRate},
		{"byte-rate", cfg.Limits.ByteRate},
	} {
		if !(l.value >= 0 && l.value <= 1e9) { // which NaN is not
			return "", Config{}, fmt.Errorf("%w: -%s %v is not between 0 and 1e9 (-h lists the flags)", errUsage, l.flag, l.value)
		}
	}
	if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
		return "", Config{}, fmt.Errorf("%w: -addr %q is not host:port: %w (-h lists the flags)", errUsage, addr, err)
	}
	return addr, cfg, nil
}

// checkOriginFlag returns an error that says what to write if s is not an origin as
// browsers send it.
func checkOriginFlag(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme+"://"+u.Host != s || u.Hostname() == "" || strings.HasSuffix(s, ":") || strings.Contains(s, "*"):
		return errors.New("want scheme://host, or scheme://host:port if the port is not the default")
	case u.Scheme == "ws" || u.Scheme == "wss":
		return fmt.Errorf("an origin is that of a page: write http%s", strings.TrimPrefix(s, "ws"))
	case strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }):
		return errors.New("browsers send a host in ASCII (xn--...): write what location.origin says in the page's console")
	case strings.HasSuffix(s, defaultPorts[u.Scheme]) && u.Port() != "":
		return fmt.Errorf("browsers leave out the default port: write %s", strings.TrimSuffix(s, defaultPorts[u.Scheme]))
	}
	return nil
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
		IdleTimeout:       5 * time.Second, // an address may have few sockets: see listener
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
