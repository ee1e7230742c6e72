package gateway

import (
	"context"
	"time"
)

const (
	// recountEvery is how long nothing may be heard of the users of a room of whom
	// somebody is told, before they are counted: the event that was lost may have been
	// the last one.
	recountEvery = 5 * time.Second
	recountBatch = 256
)

// recountLoop counts the users of quiet rooms, many in one round trip, as long as
// ctx lasts. What it costs grows with the rooms, whoever is in them, and not at all
// with those where nobody is told.
func (p *people) recountLoop() {
	ticks := time.NewTicker(recountEvery / 5)
	defer ticks.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-ticks.C:
			p.recount(now)
		}
	}
}

// quietRoom is a room to be counted, and how many events were heard before.
type quietRoom struct {
	room  *hubRoom
	heard uint32
}

// recount counts the users of the rooms that were quiet for recountEvery. Each of
// the broker's parts is asked by itself: one that is away holds up no other for
// longer than it may take.
func (p *people) recount(now time.Time) {
	parts := make(map[int][]quietRoom)
	for _, r := range p.gw.hub.all() {
		if !r.class().Presence {
			continue
		}
		if heard, ok := r.crowd.quiet(now, recountEvery); ok {
			at := p.Part(r.name)
			parts[at] = append(parts[at], quietRoom{r, heard})
		}
	}
	for _, rooms := range parts {
		for len(rooms) > 0 {
			n := min(len(rooms), recountBatch)
			if !p.recountSome(rooms[:n]) {
				break
			}
			rooms = rooms[n:]
		}
	}
}

// recountSome tells the members of rooms whose count is not the one that was heard.
// It returns false where the broker did not answer.
func (p *people) recountSome(rooms []quietRoom) bool {
	names := make([]string, len(rooms))
	for i, q := range rooms {
		names[i] = q.room.name
	}
	ctx, cancel := context.WithTimeout(p.ctx, rangeWait)
	defer cancel()
	counts, err := p.OnlineCounts(ctx, names)
	if err != nil {
		p.gw.cfg.Log.Debug("users not counted again", "rooms", len(rooms), "error", err)
		return false
	}
	for i, q := range rooms {
		if q.room.crowd.counted(counts[i], q.heard) {
			p.gw.cfg.Metrics.PresenceRepaired.Inc()
			p.tell(q.room, time.Now())
		}
	}
	return true
}
