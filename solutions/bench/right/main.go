// This program is a chat server that keeps the promises of steps 1 to 8, as its test
// shows, on another library than the workshop's: github.com/coder/websocket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until a signal, and drains.
func run() error {
	cfg := config{log: slog.New(slog.NewTextHandler(os.Stderr, nil)), limits: defaultLimits}
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "listen on this `address`")
	flags.BoolVar(&cfg.anyOrigin, "dev", false, "let pages of any origin connect")
	flags.Func("origin", "let pages of this `origin` connect; may be repeated", func(s string) error {
		cfg.origins = append(cfg.origins, s)
		return nil
	})
	flags.IntVar(&cfg.limits.perIP, "max-per-ip", cfg.limits.perIP, "`connections` at a time from one address; 0: no limit")
	flags.Float64Var(&cfg.limits.handshakes, "handshake-rate", cfg.limits.handshakes, "handshakes a `second` from one address; 0: no limit")
	flags.Float64Var(&cfg.limits.messages, "message-rate", cfg.limits.messages, "messages a `second` on one connection; 0: no limit")
	flags.Func("trusted-proxy", "believe X-Forwarded-For from this `network`; may be repeated", func(s string) error {
		proxy, err := netip.ParsePrefix(s)
		cfg.trusted = append(cfg.trusted, proxy)
		return err
	})
	flags.Parse(os.Args[1:])

	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(signalled, stop) // a second signal ends the program
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	cfg.log.Info("listening", "url", "http://"+listener.Addr().String())
	s := newServer(cfg)
	web := s.web()
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err = <-failed:
	case <-signalled.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return errors.Join(err, s.Shutdown(ctx), web.Shutdown(ctx))
}

// web returns the program's HTTP server.
func (s *server) web() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/ws", s)
	mux.HandleFunc("GET /online", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"online":%d}`, s.online())
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: handshakeTimeout,
		WriteTimeout:      handshakeTimeout,
		ErrorLog:          slog.NewLogLogger(s.cfg.log.Handler(), slog.LevelWarn),
	}
}
