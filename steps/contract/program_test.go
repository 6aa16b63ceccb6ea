package contract

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// This file has what the right servers share: their program, and what they make of
// the limits.

// rightServer is a server of another design, as far as its program is concerned.
type rightServer interface {
	web() *http.Server
	Shutdown(context.Context) error
}

// program returns the program of a right server: it serves until a signal, and
// drains.
func program[S rightServer](newServer func(Config) S) func() {
	return func() {
		limits := defaultLimits()
		cfg := Config{Limits: &limits}
		flags := flag.NewFlagSet("server", flag.ExitOnError)
		addr := flags.String("addr", "127.0.0.1:8080", "listen on this `address`")
		flags.BoolVar(&cfg.AnyOrigin, "dev", false, "let pages of any origin connect")
		flags.Func("origin", "let pages of this `origin` connect; may be repeated", func(s string) error {
			cfg.Origins = append(cfg.Origins, s)
			return nil
		})
		flags.IntVar(&limits.MaxPerIP, "max-per-ip", limits.MaxPerIP, "`connections` at a time from one address; 0: no limit")
		flags.Float64Var(&limits.HandshakeRate, "handshake-rate", limits.HandshakeRate, "handshakes a `second` from one address; 0: no limit")
		flags.Float64Var(&limits.MessageRate, "message-rate", limits.MessageRate, "messages a `second` on one connection; 0: no limit")
		flags.Func("trusted-proxy", "believe X-Forwarded-For from this `network`; may be repeated", func(s string) error {
			proxy, err := netip.ParsePrefix(s)
			cfg.TrustedProxies = append(cfg.TrustedProxies, proxy)
			return err
		})
		flags.Parse(os.Args[1:])
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(signalled, stop) // a second signal ends the program

		listener, err := net.Listen("tcp", *addr)
		if err == nil {
			cfg.Log.Info("open", "at", listener.Addr())
			err = serveUntil(signalled, newServer(cfg), listener)
		}
		if err != nil {
			cfg.Log.Error("failed", "err", err)
			os.Exit(1)
		}
	}
}

func serveUntil(signalled context.Context, s rightServer, listener net.Listener) (err error) {
	web := s.web()
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err = <-failed:
	case <-signalled.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return errors.Join(err, s.Shutdown(ctx), web.Shutdown(ctx))
}

// limitsOf returns the limits that a server keeps. No promise of step 8 is about
// those of all bytes and of all connections.
func limitsOf(cfg Config) Limits {
	if cfg.Limits == nil {
		return defaultLimits()
	}
	return *cfg.Limits
}

// Of the handshakes as many seconds' worth may come at once, and of the messages.
const (
	handshakesAtOnce = 4 * time.Second
	messagesAtOnce   = 2 * time.Second
)

// burstOf returns how many events may come at once.
func burstOf(perSecond float64, atOnce time.Duration) int {
	return int(math.Ceil(perSecond * atOnce.Seconds()))
}

// limiterFor returns a limiter for perSecond events a second, and no limit for 0.
func limiterFor(perSecond float64, atOnce time.Duration) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burstOf(perSecond, atOnce))
}

// cutWait is how long a Shutdown waits for what it has cut off. Nothing takes that
// long but a hook, or a handshake.
const cutWait = time.Second

// drained waits until empty is closed, and returns nil. If ctx is done first, cut
// is called, and returns how many were left.
func drained(ctx context.Context, empty <-chan struct{}, cut func() (left int)) error {
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	left := cut()
	select {
	case <-empty:
		if left == 0 {
			return nil
		}
	case <-time.After(cutWait):
	}
	return fmt.Errorf("%d connections were cut off: %w", left, ctx.Err())
}

// inWriteWait closes conn if what is still to be written when ctx ends takes longer
// than writeWait. Call what it returns when nothing more will be written.
func inWriteWait(ctx context.Context, conn io.Closer) (written func()) {
	done := make(chan struct{})
	context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(writeWait):
			conn.Close()
		}
	})
	return func() { close(done) }
}
