package gateway

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// presenceEvery is the least time between two presence events of a room, and
	// mostly between two times that the broker is told of its users: see spurts.
	presenceEvery = 250 * time.Millisecond
	// presencePerWatcher makes that longer where many are told: at most 20,000 frames
	// a second for each room.
	presencePerWatcher = 50 * time.Microsecond
	// presenceNames bounds each list of an event. Its count is exact all the same.
	presenceNames = 1000
)

// crowd is what is known of a room's users on all gateways, and what the members
// who asked for it are to be told. Every room has one: it has 40 bytes.
type crowd struct {
	known    atomic.Int32 // users, by what was last heard or read
	watchers atomic.Int32 // members who are told, on all loops

	mu       sync.Mutex
	heard    uint32 // events, so that a read knows whether it is older than one
	read     bool   // the count was read since it was stale
	lost     bool   // who was told may lack some, which is to be told once it was read
	looked   int64  // when an event was heard, or the count read, by monotonic
	*telling        // nil while nobody is told anything, nor was a moment ago
}

// telling is what is to be told, guarded by the crowd's mu.
type telling struct {
	joined, left map[string]struct{}
	incomplete   bool         // others than these may have come or left
	changed      bool         // something is to be told
	cooling      bool         // an event is told, or was a moment ago
	until        time.Time    // not before that is the next one
	passes       atomic.Int32 // loops that are still telling the last event
}

// hear takes an event in. It reports whether it is to be told now, and how many
// names had no place.
func (c *crowd) hear(e *broker.PresenceEvent) (tell bool, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard++
	c.looked = monotonic()
	c.known.Store(int32(e.Count))
	if c.watchers.Load() == 0 {
		if c.telling != nil {
			c.joined, c.left, c.changed, c.incomplete = nil, nil, false, false
		}
		return false, 0
	}
	c.open()
	for _, user := range e.Joined {
		dropped += move(user, &c.left, &c.joined)
	}
	for _, user := range e.Left {
		dropped += move(user, &c.joined, &c.left)
	}
	c.changed, c.incomplete = true, c.incomplete || dropped > 0
	return c.begin(), dropped
}

// open makes place for what is to be told.
func (c *crowd) open() {
	if c.telling == nil {
		c.telling = new(telling)
	}
}

// begin reports whether an event may be told now, which whoever asked then does.
func (c *crowd) begin() bool {
	if c.cooling {
		return false
	}
	c.cooling = true
	return true
}

// move adds a user to one list, unless it stands in the other: then both are as if
// nothing had been.
func move(user string, from, to *map[string]struct{}) (dropped int) {
	if _, ok := (*from)[user]; ok {
		delete(*from, user)
		return 0
	}
	if len(*to) >= presenceNames {
		return 1
	}
	if *to == nil {
		*to = make(map[string]struct{})
	}
	(*to)[user] = struct{}{}
	return 0
}

// stale says that the count has to be read: an event may have been lost, and with
// it who came or left.
func (c *crowd) stale() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.lost = false, c.lost || c.watchers.Load() > 0
}

// wants says whether the count has to be read, and how many events were heard
// before that.
func (c *crowd) wants() (heard uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard, !c.read
}

// counted takes in what was read after so many events. An event that came
// meanwhile knows better. It reports whether the members are to be told: of a count
// that is another than was heard, or that may be the same by chance.
func (c *crowd) counted(count int, heard uint32) (tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.lost
	c.read, c.lost, c.looked = true, false, monotonic()
	if c.heard == heard {
		lost = c.known.Swap(int32(count)) != int32(count) || lost
	}
	if !lost || c.watchers.Load() == 0 {
		return false
	}
	c.open()
	c.changed, c.incomplete = true, true
	return c.begin()
}

// quiet says whether somebody is told of the room's users, and nothing was heard of
// them nor read for so long; and how many events were heard before.
func (c *crowd) quiet(now time.Time, least time.Duration) (heard uint32, ok bool) {
	if c.watchers.Load() == 0 {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard, c.read && monotonicAt(now)-c.looked >= int64(least)
}

// cooled reports whether there is something to be told, or it is too early and
// whether there is has to be asked again.
func (c *crowd) cooled(now time.Time) (tell, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case now.Before(c.until) || c.passes.Load() > 0:
		return false, true
	case !c.changed:
		c.telling = nil
		return false, false
	}
	c.cooling = true
	return true, false
}

// event returns what is to be told, framed, and lets it cool from now on; passes
// counts the loops that tell it.
func (c *crowd) event(room string, now time.Time) (frame []byte, passes *atomic.Int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := protocol.Presence{
		Room: room, Joined: slices.Sorted(maps.Keys(c.joined)), Left: slices.Sorted(maps.Keys(c.left)), Count: int(c.known.Load()),
		Incomplete: c.incomplete,
	}
	c.joined, c.left, c.changed, c.incomplete = nil, nil, false, false
	c.until = now.Add(max(presenceEvery, time.Duration(c.watchers.Load())*presencePerWatcher))
	return framePresence(&e), &c.passes
}

func framePresence(e *protocol.Presence) []byte {
	return frame.AppendFrame(nil, frame.OpText, protocol.AppendPresence(nil, *e))
}
