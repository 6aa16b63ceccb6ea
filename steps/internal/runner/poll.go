package runner

import (
	"context"
	"io/fs"
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

// snapshot is what the files of folders look like from outside.
type snapshot map[string]fileStamp

type fileStamp struct {
	size     int64
	modified time.Time
}

// look returns the snapshot of the Go files in the folders, and of what a page is made
// of.
func look(dirs ...string) snapshot {
	all := make(snapshot)
	for _, dir := range dirs {
		names, _ := starters.Names(dir) // a folder that is away for a moment is empty
		for _, kind := range []string{"js", "html", "css"} {
			pages, _ := fs.Glob(os.DirFS(dir), "*."+kind)
			names = append(names, pages...)
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil { // else an editor has just replaced it
				all[path] = fileStamp{info.Size(), info.ModTime()}
			}
		}
	}
	return all
}

// changed returns when the folders do not look as before any more, and are quiet
// again: an editor may write a file in several goes. It reports false if ctx ends,
// or a key comes, which it returns.
func changed(ctx context.Context, before snapshot, keys <-chan byte, dirs ...string) (key byte, ok bool) {
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
		now := look(dirs...)
		if maps.Equal(now, last) && !maps.Equal(now, before) {
			return 0, true
		}
		last = now
	}
}
