package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// quietFor is how many looks in a row must find next to nothing allocated before
	// the heap is collected and what is free given back.
	quietFor  = 5
	tidyEvery = time.Second
	// quietPart of the live heap, and at least quietBytes, is next to nothing.
	quietPart  = 64
	quietBytes = 256 << 10
	// tidyPart of the live heap must have been allocated since the last time, or as much,
	// and at least freeBytes, must be free and not given back: else there is nothing to
	// be had.
	tidyPart  = 16
	freeBytes = 1 << 20
)

// tidier gives the memory back that a burst has left: of handshakes, of rooms, of
// slow clients. Collections follow what is allocated, so that a gateway with
// nothing but idle connections has none, and keeps half as much again as it needs
// (gcPercent), garbage of the last handshakes included. It waits until it is quiet:
// under load the next burst would want the memory anyway.
type tidier struct {
	allocated uint64 // when it was looked last
	tidied    uint64 // allocated, when it was tidied last
	quiet     int    // looks in a row
}

// look takes in how much was ever allocated, what of it was live after the last
// collection, and what is free of the system's memory. It returns true if it is time
// to tidy.
func (t *tidier) look(allocated, live, free uint64) bool {
	new := allocated - t.allocated
	t.allocated = allocated
	if new > max(live/quietPart, quietBytes) {
		t.quiet = 0
		return false
	}
	t.quiet++
	if t.quiet < quietFor || allocated-t.tidied < max(live/tidyPart, quietBytes) && free < max(live/tidyPart, freeBytes) {
		return false
	}
	t.tidied, t.quiet = allocated, 0
	return true
}

// tidy runs until ctx ends.
func tidy(ctx context.Context) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	ticks := time.NewTicker(tidyEvery)
	defer ticks.Stop()
	for t := new(tidier); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		metrics.Read(samples)
		if t.look(samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}
