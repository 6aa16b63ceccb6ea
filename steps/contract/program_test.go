package contract

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// rightServer is a server of another design, as far as its program is concerned.
type rightServer interface {
	web() *http.Server
	Shutdown(context.Context) error
}

// program returns the program of a right server: it serves until a signal, and
// drains.
func program[S rightServer](newServer func(Config) S) func() {
	return func() {
		flags := flag.NewFlagSet("server", flag.ExitOnError)
		addr := flags.String("addr", "127.0.0.1:8080", "listen on this `address`")
		flags.Parse(os.Args[1:])
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(signalled, stop) // a second signal ends the program

		listener, err := net.Listen("tcp", *addr)
		if err == nil {
			log.Info("open", "at", listener.Addr())
			err = serveUntil(signalled, newServer(Config{Log: log}), listener)
		}
		if err != nil {
			log.Error("failed", "err", err)
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
