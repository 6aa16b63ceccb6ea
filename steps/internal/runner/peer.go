package runner

import (
	"context"
	"flag"

	"example.com/wsworkshop/steps/internal/peer"
)

// peer connects to a server as a client that behaves badly.
func (a *app) peer(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	stall := flags.Bool("stall", false, "")
	vanish := flags.Bool("vanish", false, "")
	flood := flags.Bool("flood", false, "")
	rate := flags.Int("rate", 100, "")
	url := flags.String("url", "ws://127.0.0.1:8080/ws", "")
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	p := &peer.Peer{URL: *url, Out: a.Out}
	switch {
	case *stall && !*vanish && !*flood:
		return p.Stall(ctx)
	case *vanish && !*stall && !*flood:
		return p.Vanish(ctx)
	case *flood && !*stall && !*vanish:
		return p.Flood(ctx, *rate)
	}
	return usageError("peer: what is it to do? One of -stall, -vanish and -flood.")
}
