package runner

import (
	"context"
	"flag"
	"fmt"
	"net/url"

	"example.com/wsworkshop/steps/internal/peer"
)

// peer connects to a server as a client that behaves badly.
func (a *app) peer(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	stall := flags.Bool("stall", false, "")
	vanish := flags.Bool("vanish", false, "")
	flood := flags.Bool("flood", false, "")
	rate := flags.Int("rate", 100, "")
	address := flags.String("url", "ws://127.0.0.1:8080/ws", "")
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	p := &peer.Peer{URL: *address, Out: a.Out}
	switch u, err := url.Parse(*address); {
	case err != nil || u.Scheme != "ws" || u.Host == "":
		return usageError(fmt.Sprintf("peer: %q is not the address of a WebSocket, such as ws://127.0.0.1:8080/ws.", *address))
	case *rate < 1 || *rate > 1e6:
		return usageError(fmt.Sprintf("peer: a rate of %d messages a second is not one of 1 to 1000000.", *rate))
	case *stall && !*vanish && !*flood:
		return p.Stall(ctx)
	case *vanish && !*stall && !*flood:
		return p.Vanish(ctx)
	case *flood && !*stall && !*vanish:
		return p.Flood(ctx, *rate)
	}
	return usageError("peer: what is it to do? One of -stall, -vanish and -flood.")
}
