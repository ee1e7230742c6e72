package redis

import (
	"sync"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// itemKind says what a subscriber read.
type itemKind uint8

const (
	itemMessage   itemKind = iota // payload of a room's channel
	itemConfirmed                 // Redis confirmed a room's subscription
	itemControl                   // payload of the control channel
)

// item is one thing that a subscriber read. Payload is Redis's.
type item struct {
	kind    itemKind
	room    string
	payload string
}

// itemCost is what an item costs beside its payload.
const itemCost = 128

// inbox is between the goroutine that reads a connection and the one that hands
// over. What it has no room for is dropped, and the room is remembered: at most as
// many as are subscribed, as are the confirmations, which are never dropped.
type inbox struct {
	limit      int
	limitBytes int64
	dropped    *metrics.Counter
	wake       chan struct{} // capacity 1

	mu    sync.Mutex
	items []item
	bytes int64
	lost  map[string]struct{} // rooms of dropped messages
}

func (in *inbox) put(it item) {
	cost := int64(len(it.payload)) + itemCost
	in.mu.Lock()
	full := len(in.items) >= in.limit || in.bytes+cost > in.limitBytes
	switch {
	case full && it.kind == itemMessage:
		if in.lost == nil {
			in.lost = make(map[string]struct{})
		}
		in.lost[it.room] = struct{}{}
		in.dropped.Inc()
	case full && it.kind == itemControl:
		in.dropped.Inc()
	default:
		in.items = append(in.items, it)
		in.bytes += cost
	}
	in.mu.Unlock()
	signal(in.wake)
}

// take returns what there is, and the rooms that lost something; spare is the array
// of an earlier take.
func (in *inbox) take(spare []item) (items []item, lost map[string]struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	items, lost = in.items, in.lost
	in.items, in.bytes, in.lost = spare[:0], 0, nil
	return items, lost
}
