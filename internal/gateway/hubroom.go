package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// heldMax and heldBytesMax bound what waits while a room's log is read from the
// broker. What more comes makes the older half go; the jump that this leaves is
// repaired like any other.
const (
	heldMax      = 4096
	heldBytesMax = 8 << 20
)

// hubRoom is a room as all loops share it. There are very many in which nothing
// happens: it has 208 bytes, exactly a size class of Go's allocator. Times are
// monotonic's, and what is of use only while something happens is made for that.
type hubRoom struct {
	// Immutable.
	name  string
	marks []mark // one for each loop

	inClass   atomic.Pointer[Class] // never nil; written under mu
	roster    roster
	crowd     crowd
	published sharedBucket
	log       atomic.Pointer[room.Log] // nil until it was first read
	members   atomic.Int32
	reads     atomic.Uint32 // the newest read of the log that is done; written under mu

	// Guarded by the stripe's mu.
	holders int32 // loops with members
	idle    int64 // since when there is none

	mu sync.Mutex
	// Guarded by mu, as is appending to the log.
	held       *heldBack // nil: nothing
	stamp      uint64    // of the log's newest message; 0: not known
	heard      int64     // when something was last delivered
	read       int64     // when the log was last read from the broker, or compared
	begun      uint32    // reads of the log, numbered from 1
	asked      uint32    // the read that someone waits for
	resets     uint32    // how often the log began anew
	filling    bool      // the log is being read, or waits for it
	subscribed bool      // the broker has said so; only then is the log read
	closed     bool
}

// heldBack is what waits while a room's log is read.
type heldBack struct {
	messages []broker.Message
	bytes    int // of data
	ever     int // messages that were
}

// mark is what a loop and the appenders tell each other.
type mark struct {
	held  atomic.Bool  // the loop has members, or joins that wait
	dirty atomic.Bool  // the room was posted and the loop has not looked yet
	since atomic.Int64 // when it was posted
}

// mark returns true if the loop has to be told.
func (m *mark) mark() bool {
	if m.dirty.Load() || m.dirty.Swap(true) {
		return false
	}
	m.since.Store(monotonic())
	return true
}

var started = time.Now()

// monotonic is a clock for latencies and for what there are many of, in nanoseconds.
func monotonic() int64 { return int64(time.Since(started)) }

// monotonicAt is what it says, or said, at t.
func monotonicAt(t time.Time) int64 { return int64(t.Sub(started)) }

func newHubRoom(name string, class *Class, loops int, unsaid *metrics.Gauge) *hubRoom {
	r := &hubRoom{name: name, marks: make([]mark, loops), roster: roster{depth: unsaid}}
	r.inClass.Store(class)
	r.filling = true // until the broker has subscribed the room and its log was read
	return r
}

// class is the room's class now, which Gateway.Apply may change.
func (r *hubRoom) class() *Class { return r.inClass.Load() }

// reclass puts the room into another class, or the same with other values. It
// reports whether its members have to be looked at: their window is another.
func (r *hubRoom) reclass(class *Class) (look bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.inClass.Swap(class)
	if l := r.log.Load(); l != nil && !r.closed && class.History != was.History {
		l.Bound(&class.History)
	}
	return class.Slow != was.Slow
}

// accept appends what follows on the log. Where something is missing it holds
// the messages and returns true: the log must be read.
func (r *hubRoom) accept(e *encoder, messages []broker.Message) (fill bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false // its memory was given back
	}
	now := monotonic()
	for i := range messages {
		m := &messages[i]
		if !r.filling && !r.follows(m, now) {
			r.filling, fill = true, true
		}
		if r.filling {
			r.keep(*m)
			continue
		}
		if m.Seq > r.log.Load().Head() {
			r.append(e, r.log.Load(), m)
		}
	}
	r.heard = now
	return fill
}

// echoTime is how long after the log was read a message that it has may still be
// delivered. One that comes later is another with the same number: the log was
// rewound.
const echoTime = 5 * time.Second

// follows says whether m is the next message of the log, or one that it has.
func (r *hubRoom) follows(m *broker.Message, now int64) bool {
	l := r.log.Load()
	if m.Epoch != l.Epoch() || m.Seq > l.Head()+1 {
		return false
	}
	if m.Seq == l.Head() && m.Stamp != 0 && r.stamp != 0 {
		return m.Stamp == r.stamp
	}
	return m.Seq > l.Head() || m.Stamp == 0 || now-r.read < int64(echoTime)
}

func (r *hubRoom) append(e *encoder, l *room.Log, m *broker.Message) {
	e.append(l, m)
	r.stamp = m.Stamp
	if m.Trace != nil {
		e.arrivals = append(e.arrivals, arrival{*m, l})
	}
}

func (r *hubRoom) keep(m broker.Message) {
	if r.held == nil {
		r.held = new(heldBack)
	}
	h := r.held
	if len(h.messages) == heldMax || h.bytes > heldBytesMax { // half, so that it is seldom moved
		newer := h.messages[(len(h.messages)+1)/2:]
		h.messages, h.bytes = h.messages[:0], 0
		h.add(newer...)
	}
	h.add(m)
	h.ever++
}

// add holds messages, which may lie further on in the same array.
func (h *heldBack) add(messages ...broker.Message) {
	for i := range messages {
		h.bytes += len(messages[i].Data)
	}
	h.messages = append(h.messages, messages...)
}

// refresh says that the log must be read, by a read that begins from now on. fill
// is true unless one is under way already, which is then followed by another.
func (r *hubRoom) refresh() (read uint32, fill bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = r.begun + 1
	if r.filling || r.closed {
		return r.asked, false
	}
	r.filling = true
	return r.asked, true
}

// reset begins the log anew behind p, unless a read was quicker and the log is of
// that epoch already; it reports whether it took the place of another.
func (r *hubRoom) reset(p broker.Position, memory *metrics.Gauge) (replaced bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.log.Load()
	if r.closed || l != nil && l.Epoch() == p.Epoch {
		return false
	}
	r.held = nil
	r.resets++
	if l == nil {
		return false
	}
	r.stamp = 0
	r.replace(room.NewLog(p.Epoch, p.Seq, &r.class().History, memory))
	return true
}

// replace puts a new log in the place of the old one.
func (r *hubRoom) replace(l *room.Log) {
	if old := r.log.Swap(l); old != nil {
		old.Close()
	}
}

// expire lets go of messages that are too old, and of what is only of use while
// users come and go.
func (r *hubRoom) expire(now time.Time) {
	r.roster.rest(monotonicAt(now))
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.log.Load(); l != nil {
		l.Expire(now)
	}
}

// close gives the memory of a room back that no one holds.
func (r *hubRoom) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.held = true, nil
	if l := r.log.Load(); l != nil {
		l.Close()
	}
}
