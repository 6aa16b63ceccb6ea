package runner

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"time"

	"example.com/wsworkshop/steps/internal/starters"
)

// pollPeriod is how often watch and serve look whether a file has changed. They
// poll because network mounts, virtual machines and containers lose the events
// that a system sends.
const pollPeriod = 50 * time.Millisecond

// snapshot is what a folder's Go files look like from outside.
type snapshot map[string]fileStamp

type fileStamp struct {
	size     int64
	modified time.Time
}

// look returns the snapshot of the Go files in a folder.
func look(dir string) snapshot {
	all := make(snapshot)
	names, _ := starters.Names(dir) // a folder that is away for a moment is empty
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil { // else an editor has just replaced it
			all[name] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return all
}

// changed returns when the folder does not look as before any more, and is quiet
// again: an editor may write a file in several goes. It reports false if ctx ends,
// or a key comes, which it returns.
func changed(ctx context.Context, dir string, before snapshot, keys <-chan byte) (key byte, ok bool) {
	poll := time.NewTicker(pollPeriod)
	defer poll.Stop()
	last := before
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case key := <-keys:
			return key, false
		case <-poll.C:
		}
		now := look(dir)
		if maps.Equal(now, last) && !maps.Equal(now, before) {
			return 0, true
		}
		last = now
	}
}
