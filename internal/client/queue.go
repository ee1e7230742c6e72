package client

import (
	"sync"
	"sync/atomic"
)

const (
	// queueEvents is how many events a Room keeps for an application that is slow to
	// take them. Behind that nothing is read any more, so that the gateway's policy
	// for slow clients takes effect.
	queueEvents = 256
	// queueMost is the bound while the application waits for a reply, which comes
	// behind the events: were nothing read then, who publishes from inside a loop over
	// events would wait for itself.
	queueMost = 64 << 10
)

// queue hands a room's events from the reader to the application.
type queue struct {
	asking *atomic.Int32 // requests of the application that wait for their reply

	mu      sync.Mutex
	events  []Event
	over    bool          // nothing is pushed any more
	changed chan struct{} // closed and replaced when any of these changes
}

func newQueue(asking *atomic.Int32) *queue {
	return &queue{asking: asking, changed: make(chan struct{})}
}

// wake lets all look again; the caller holds mu.
func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// poke says that asking has changed.
func (q *queue) poke() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake()
}

func (q *queue) full() bool {
	return len(q.events) >= queueMost || len(q.events) >= queueEvents && q.asking.Load() == 0
}

// push gives an event to the application, and waits for room until end is closed.
func (q *queue) push(e Event, end <-chan struct{}) {
	for {
		q.mu.Lock()
		if q.over || !q.full() {
			if !q.over {
				q.events = append(q.events, e)
				q.wake()
			}
			q.mu.Unlock()
			return
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-end:
			return
		}
	}
}

// close lets the application take what there is, and then end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	q.wake()
}

// pop takes the next event, and waits for it until end is closed; false: there is
// no more.
func (q *queue) pop(end <-chan struct{}) (Event, bool) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 {
			e := q.events[0]
			q.events[0] = nil
			if q.events = q.events[1:]; len(q.events) == 0 {
				q.events = nil
			}
			q.wake()
			q.mu.Unlock()
			return e, true
		}
		over, changed := q.over, q.changed
		q.mu.Unlock()
		if over {
			return nil, false
		}
		select {
		case <-changed:
		case <-end:
			return nil, false
		}
	}
}
