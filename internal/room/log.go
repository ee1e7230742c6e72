package room

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Log is one unbroken run of a room's messages, as frames. There is one for each
// room: it has 96 bytes, exactly a size class of Go's allocator.
type Log struct {
	// immutable
	epoch  string
	memory *metrics.Gauge

	plain    track
	deflated atomic.Pointer[deflated] // nil until a member wants it

	history atomic.Pointer[History] // written by the appender
	head    atomic.Uint64           // seq of the newest frame
	first   atomic.Uint64           // seq of the oldest frame within history's Messages and Bytes

	// the appender's
	kept   int64  // bytes of data from first to head
	oldest *chunk // holds first, or lies before it
}

// deflated is a log's compressed frames.
type deflated struct {
	track
	wanted atomic.Int32 // members who read them
}

// NewLog returns an empty log that stands at seq: the first frame to be appended
// is seq+1 or later. Many logs may have the same history, which is not written to
// any more. The memory of a log's chunks is added to the gauge.
func NewLog(epoch string, seq uint64, h *History, memory *metrics.Gauge) *Log {
	l := &Log{epoch: epoch, memory: memory}
	l.history.Store(h)
	l.head.Store(seq)
	l.first.Store(seq + 1)
	l.plain.end(seq)
	l.oldest = l.plain.newest
	return l
}

// Epoch names the run.
func (l *Log) Epoch() string { return l.epoch }

// Head is the seq of the newest message, kept or not.
func (l *Log) Head() uint64 { return l.head.Load() }

// Frame is a message to be appended. A seq that does not follow on the newest
// leaves a hole, which members are told of as lost.
type Frame struct {
	Seq      uint64
	Time     int64 // Unix milliseconds
	Data     int   // bytes of the message's data, for History.Bytes
	Header   []byte
	Payload  []byte
	Deflated []byte // the whole frame, compressed; nil where WantsDeflated is false
}

// Append adds a frame, which is copied. A seq that is not beyond the newest is
// a broken invariant of the caller.
func (l *Log) Append(f Frame) {
	head := l.head.Load()
	if f.Seq <= head {
		panic("room: appended seq is not beyond the newest")
	}
	p := place{data: uint32(f.Data), time: f.Time}
	grown := 0
	if f.Deflated != nil {
		d := l.compressed()
		grown += d.append(f.Seq, p, f.Deflated, nil)
		grown -= d.trim(f.Seq)
	}
	grown += l.plain.append(f.Seq, p, f.Header, f.Payload)
	l.head.Store(f.Seq)
	if f.Seq != head+1 {
		l.kept = 0 // what lies before a hole is no longer a history
		l.first.Store(f.Seq)
		l.oldest = l.plain.newest
	}
	l.kept += int64(f.Data)
	grown -= l.shrink()
	l.memory.Add(grown)
}

// Skip says that what comes after the newest message up to seq will never be
// had: members are told of it as lost. It is the appender's.
func (l *Log) Skip(seq uint64) {
	if seq <= l.head.Load() {
		return
	}
	l.plain.end(seq)
	memory := 0
	if d := l.deflated.Load(); d != nil && d.newest != nil {
		d.end(seq)
		memory = d.trim(seq + 1)
	}
	l.head.Store(seq)
	l.first.Store(seq + 1)
	l.kept, l.oldest = 0, l.plain.newest
	l.memory.Add(-l.plain.trim(seq+1) - memory)
}

// Bound changes what the log keeps: less at once, more from the next message on.
// It is the appender's. h is not written to any more.
func (l *Log) Bound(h *History) {
	l.history.Store(h)
	l.memory.Add(-l.shrink())
}

// shrink moves first over what History's Messages and Bytes no longer keep.
func (l *Log) shrink() (memory int) {
	head, first, h := l.head.Load(), l.first.Load(), l.history.Load()
	for first <= head && (head-first+1 > uint64(h.Messages) || h.Bytes > 0 && l.kept > h.Bytes) {
		l.kept -= int64(l.at(first).data)
		first++
	}
	l.first.Store(first)
	return l.plain.trim(first)
}

// at is the place of a kept seq; l.oldest moves along with it.
func (l *Log) at(seq uint64) *place {
	for seq > l.oldest.last() {
		l.oldest = l.oldest.next.Load()
	}
	return &l.oldest.places[seq-l.oldest.base-1]
}

// Expire lets go of what is older than History.Age. It is the appender's.
func (l *Log) Expire(now time.Time) {
	first := l.First(now)
	for seq := l.first.Load(); seq < first; seq++ {
		l.kept -= int64(l.at(seq).data)
	}
	l.first.Store(first)
	memory := l.plain.trim(first)
	if first > l.Head() {
		memory += l.plain.rest(now)
		l.oldest = l.plain.newest
	}
	if d := l.deflated.Load(); d != nil {
		memory += d.rest(now)
	}
	l.memory.Add(-memory)
}

// Close gives the log's memory back to the gauge; cursors may still finish.
func (l *Log) Close() {
	memory := l.plain.clear()
	if d := l.deflated.Load(); d != nil {
		memory += d.clear()
	}
	l.memory.Add(-memory)
}

// idleAfter is how long the newest chunk of a log without history stays, so that
// a room that is used gets no new chunk for each message.
const idleAfter = 10 * time.Second

// rest clears a track that nothing was appended to for idleAfter.
func (t *track) rest(now time.Time) (memory int) {
	if t.newest == nil {
		return 0
	}
	n := t.newest.n.Load()
	if n == 0 || now.UnixMilli()-t.newest.places[n-1].time <= idleAfter.Milliseconds() {
		return 0
	}
	return t.clear()
}

// First is the seq of the oldest message that History keeps; Head+1 where it
// keeps none.
func (l *Log) First(now time.Time) uint64 {
	first, head := l.first.Load(), l.head.Load()
	age := l.history.Load().Age
	if age <= 0 {
		return first
	}
	old := now.Add(-age).UnixMilli()
	c := l.plain.find(first)
	for first <= head && c != nil {
		if first > c.last() {
			c = c.next.Load()
			continue
		}
		if first <= c.base || c.places[first-c.base-1].time >= old {
			return first
		}
		first++
	}
	return first
}

// WantsDeflated says whether any member reads compressed frames.
func (l *Log) WantsDeflated() bool {
	d := l.deflated.Load()
	return d != nil && d.wanted.Load() > 0
}

// compressed is the compressed frames, for which there is room from then on.
func (l *Log) compressed() *deflated {
	if l.deflated.Load() == nil {
		l.deflated.CompareAndSwap(nil, new(deflated))
	}
	return l.deflated.Load()
}

// Newest is a seq to Join at that is past all there is.
const Newest = math.MaxUint64

// Join returns a cursor for a member that has all up to seq: what is kept after
// that is its backlog, and from is the seq before the backlog's first frame. A
// deflate cursor reads compressed frames once it has caught up.
func (l *Log) Join(seq uint64, now time.Time, deflate bool) (c Cursor, from uint64) {
	to, first := l.Head(), max(l.First(now), 1)
	k := l.plain.oldest.Load()
	for k.base > to { // so much has come since that to is no longer there
		to, k = l.Head(), l.plain.oldest.Load()
	}
	c = Cursor{seq: to, deflate: deflate}
	from = min(max(first-1, seq, k.base), to)
	var b Backlog
	for {
		next := k.next.Load()
		b.add(k, from, to)
		if next == nil || next.base > to {
			break
		}
		k = next
	}
	c.place(k)
	if b.frames > 0 {
		c.backlog = &b
	}
	if deflate {
		l.compressed().wanted.Add(1)
	}
	return c, from
}

// add takes what chunk k has of the frames behind from up to to.
func (b *Backlog) add(k *chunk, from, to uint64) {
	n := uint32(min(k.last(), to) - k.base)
	i := uint32(0)
	if from > k.base {
		i = uint32(min(from-k.base, uint64(n)))
	}
	if i == n {
		return
	}
	b.runs = append(b.runs, run{k.buf, k.places[i:n], k.end(i)})
	b.frames += int(n - i)
	b.bytes += int(k.end(n) - k.end(i))
}
