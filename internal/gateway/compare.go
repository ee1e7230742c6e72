package gateway

import (
	"context"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// compareEvery is how long a room may be silent before its log is compared with
	// the broker's: the message that was lost may have been the last one.
	compareEvery = 5 * time.Second
	compareBatch = 256
)

// compareLoop compares the logs of silent rooms with the broker's, many in one
// round trip, and has those read that differ.
func (h *hub) compareLoop() {
	ticks := time.NewTicker(compareEvery / 5)
	defer ticks.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-ticks.C:
			silent := h.silent(now)
			for len(silent) > 0 {
				n := min(len(silent), compareBatch)
				h.compare(silent[:n])
				silent = silent[n:]
			}
		}
	}
}

// silent is the rooms from which nothing was heard for compareEvery.
func (h *hub) silent(now time.Time) (rooms []*hubRoom) {
	at := monotonicAt(now)
	for i := range h.stripes {
		s := &h.stripes[i]
		s.mu.Lock()
		for _, r := range s.rooms {
			if r.silent(at) {
				rooms = append(rooms, r)
			}
		}
		s.mu.Unlock()
	}
	return rooms
}

func (r *hubRoom) silent(now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.filling && now-max(r.heard, r.read) >= int64(compareEvery)
}

func (h *hub) compare(rooms []*hubRoom) {
	names := make([]string, len(rooms))
	for i, r := range rooms {
		names[i] = r.name
	}
	ctx, cancel := context.WithTimeout(h.ctx, rangeWait)
	defer cancel()
	tails, err := h.remote.Tails(ctx, names)
	if err != nil {
		h.log.Debug("rooms not compared", "rooms", len(rooms), "error", err)
		return
	}
	now := monotonic()
	for i, r := range rooms {
		if r.differs(&tails[i], now) {
			h.fills.add(r)
		}
	}
}

// differs holds the log against the broker's. Where they differ the log must be
// read, and is marked so.
func (r *hubRoom) differs(t *broker.Tail, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.filling || r.closed {
		return false
	}
	l := r.log.Load()
	if t.Epoch == l.Epoch() && t.Seq == l.Head() && (t.Stamp == 0 || r.stamp == 0 || t.Stamp == r.stamp) {
		r.read = now
		return false
	}
	r.filling = true
	return true
}
