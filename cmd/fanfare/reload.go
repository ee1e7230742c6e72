package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const (
	// lookEvery is between two looks at the files: content is compared and not what a
	// file system says of it, as a Kubernetes volume swaps a link two levels above the
	// file, and network file systems tell nobody.
	lookEvery = 2 * time.Second
	// settleTime is how long files that have changed must hold still: who writes them
	// in place is then through.
	settleTime = 200 * time.Millisecond
	// awayLooks is after how many looks it is said that a file is gone. For less it is
	// being replaced.
	awayLooks = 5
)

// reloader puts another configuration into force while the gateway runs: on
// SIGHUP, and when the content of the files changes that it was read from. All of
// it is read, judged and built before any of it is put into force; what fails
// leaves everything as it was. run is its goroutine, and ends with its context.
type reloader struct {
	// Immutable.
	load    func() (*config.Config, error) // by the same flags and environment
	on      *service
	start   *config.Config // what of it needs a restart is in force for good
	hangups <-chan os.Signal

	// run's goroutine's.
	now      *settings
	files    prints // that now was made of
	seen     prints // at the last attempt, whether or not it succeeded
	settling prints // seen once, and other than at the last attempt
	away     int    // looks in a row at which a file was gone
}

// newReloader makes a reloader of what runs with these settings. files are those
// that they were made of, as they were before that.
func newReloader(on *service, now *settings, files prints, load func() (*config.Config, error), hangups <-chan os.Signal) *reloader {
	on.set.ConfigLoaded(time.Now())
	return &reloader{load: load, on: on, start: now.config, hangups: hangups, now: now, files: files, seen: files}
}

// run reloads until ctx ends.
func (r *reloader) run(ctx context.Context) {
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			r.reload()
		case <-look.C:
			look.Reset(r.look())
		}
	}
}

// look reloads where the files have changed and hold still, and says when to look
// again. A file that is gone is waited for: SIGHUP tells what is wrong with it.
func (r *reloader) look() time.Duration {
	now := printsOf(slices.Collect(maps.Keys(r.seen)))
	if gone := r.seen.without(now); gone != "" {
		if r.away++; r.away == awayLooks {
			r.on.log.Warn("a file of the configuration is gone: what was read from it stays in force", "file", gone)
		}
		return lookEvery
	}
	r.away = 0
	switch {
	case maps.Equal(now, r.seen):
		r.settling = nil
		return lookEvery
	case !maps.Equal(now, r.settling):
		r.settling = now
		return settleTime
	}
	r.reload()
	return lookEvery
}

// reload tries what the files say now, and tells how it went.
func (r *reloader) reload() {
	r.settling, r.away = nil, 0
	result, err := r.try()
	r.on.set.ConfigReloaded(result)
	if result != metrics.ReloadFailed {
		r.on.set.ConfigLoaded(time.Now())
		return
	}
	for _, problem := range problems(err) {
		r.on.log.Error("configuration not applied: the one before stays in force", "problem", problem)
	}
}

func (r *reloader) try() (metrics.ConfigReload, error) {
	r.seen = printsOf(slices.Collect(maps.Keys(r.seen)))
	switch file := r.now.config.File; {
	case r.seen[file] == unreadable:
		return metrics.ReloadFailed, fmt.Errorf("%s: it is no regular file, and cannot be read a second time", file)
	case r.seen[file] == nothing && r.files[file] != nothing:
		// Rather a full disk or a slip than the wish for a gateway without tokens, keys
		// and origins.
		return metrics.ReloadFailed, fmt.Errorf("%s: it is empty now; for the defaults let it have {}", file)
	}
	c, err := r.load()
	if err != nil {
		return metrics.ReloadFailed, err
	}
	r.seen = r.seen.of(c.Files())
	keys, files := r.changes(c)
	if len(keys) == 0 && len(files) == 0 {
		r.on.log.Info("configuration unchanged")
		return metrics.ReloadUnchanged, nil
	}
	next, err := newSettings(c, r.now, r.on.set, r.on.log)
	if err != nil {
		return metrics.ReloadFailed, err
	}
	r.on.put(next)
	r.now.retire()
	r.now, r.files = next, r.seen
	r.on.log.Info("configuration applied", "keys", strings.Join(keys, " "), "files", strings.Join(files, " "))
	return metrics.ReloadApplied, nil
}

// changes are the live keys of c that are other than in force, and the files, but
// for the configuration's own, whose content is. Keys that need a restart are
// warned of.
func (r *reloader) changes(c *config.Config) (keys, files []string) {
	if _, restart := config.Changes(r.start, c); len(restart) > 0 {
		r.on.log.Warn("these keys change with a restart, and not before", "keys", strings.Join(restart, " "))
	}
	keys, _ = config.Changes(r.now.config, c)
	for _, file := range c.Files() {
		if file != c.File && r.seen[file] != r.files[file] {
			files = append(files, file)
		}
	}
	return keys, files
}

// problems are all that is wrong, a line each.
func problems(err error) (lines []string) {
	var all config.Error
	if !errors.As(err, &all) {
		return []string{err.Error()}
	}
	for _, p := range all {
		lines = append(lines, p.Error())
	}
	return lines
}
