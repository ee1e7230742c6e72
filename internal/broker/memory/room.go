package memory

import (
	"sort"
	"unsafe"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// entry is a message kept. Its room, epoch and seq follow from where it lies.
type entry struct {
	at          int64 // nanoseconds since the broker was made: its age
	time        int64 // Unix milliseconds
	from, event string
	data        []byte
}

const entryCost = int64(unsafe.Sizeof(entry{}))

// roomCost is what a room takes without its name and messages: itself, its stock, its
// epoch and its places in the shard's map and in dues.
const roomCost = int64(unsafe.Sizeof(room{})+unsafe.Sizeof(stock{})) + 96

// ring is a queue of entries. The array's length is a power of two or zero.
type ring struct {
	array []entry
	head  int
	n     int
}

// at returns the entry i places behind the oldest.
func (q *ring) at(i int) *entry { return &q.array[(q.head+i)&(len(q.array)-1)] }

func (q *ring) push(e entry) {
	if q.n == len(q.array) {
		q.resize(max(1, 2*len(q.array)))
	}
	q.n++
	*q.at(q.n - 1) = e
}

func (q *ring) pop() {
	*q.at(0) = entry{}
	q.head = (q.head + 1) & (len(q.array) - 1)
	q.n--
}

// fit gives back the part of the array that is not needed.
func (q *ring) fit() {
	if q.n == 0 {
		if q.array != nil {
			*q = ring{}
		}
		return
	}
	size := len(q.array)
	for size/2 >= q.n {
		size /= 2
	}
	if size < len(q.array) {
		q.resize(size)
	}
}

func (q *ring) resize(size int) {
	array := make([]entry, size)
	for i := range q.n {
		array[i] = *q.at(i)
	}
	q.array, q.head = array, 0
}

// room is the state of one room. There are very many in which nothing happens: it
// has 80 bytes, exactly a size class of Go's allocator.
type room struct {
	name string // immutable

	// written by the goroutine under the shard's mu; read by Range under it
	bounds *broker.Bounds // what they are is never changed
	epoch  string
	last   uint64 // the newest seq there has been
	*stock

	// owned by the goroutine
	time       int64 // Unix milliseconds of the newest message
	used       int64 // when it was last published to or unsubscribed
	place            // immutable
	subscribed bool
}

// stock is what a room has while it keeps something, or is to be looked at: 96 bytes.
type stock struct {
	// written by the goroutine under the shard's mu; read by Range under it
	log ring

	// owned by the goroutine
	dataBytes  int64 // of Data in log
	nameBytes  int64 // of From and Event in log
	idsUntil   int64 // when the last of the room's publish IDs leaves the window
	due        int64 // when housekeeping looks at the room
	prev, next *room // in recent
	duePlace   int32 // 1 + index in the heap; 0: not in it
	listed     bool  // is in recent
}

// nothing is the stock of all rooms that have none. It is never written to.
var nothing = new(stock)

// open gives the room a stock that can be written to.
func (b *Broker) open(r *room) {
	if r.stock != nothing {
		return
	}
	s := b.home(r.place)
	s.mu.Lock()
	r.stock = new(stock)
	s.mu.Unlock()
}

// tidy takes away the stock of a room that has nothing in it.
func (b *Broker) tidy(r *room) {
	if r.stock == nothing || len(r.log.array) > 0 || r.listed || r.duePlace > 0 || b.now.at < r.idsUntil {
		return
	}
	s := b.home(r.place)
	s.mu.Lock()
	r.stock = nothing
	s.mu.Unlock()
}

// cost is the memory the room takes.
func (r *room) cost() int64 {
	return roomCost + int64(len(r.name)) + int64(len(r.log.array))*entryCost + r.dataBytes + r.nameBytes
}

// keep adds e to the log within the bounds. The caller holds the shard's mu.
func (r *room) keep(e entry) {
	if r.bounds.Messages <= 0 {
		return
	}
	r.dropAged(e.at)
	size := int64(len(e.data))
	for r.log.n > 0 && (r.log.n >= r.bounds.Messages || r.overBytes(size)) {
		r.drop(1)
	}
	if r.overBytes(size) {
		return // larger than the bound alone: it is the oldest, and goes
	}
	r.log.push(e)
	r.dataBytes += size
	r.nameBytes += int64(len(e.from) + len(e.event))
}

// fit takes out what the bounds do not keep. The caller holds the shard's mu.
func (r *room) fit(now int64) {
	r.dropAged(now)
	for r.log.n > 0 && (r.log.n > r.bounds.Messages || r.overBytes(0)) {
		r.drop(1)
	}
}

func (r *room) overBytes(more int64) bool {
	return r.bounds.Bytes > 0 && r.dataBytes+more > r.bounds.Bytes
}

// drop takes the n oldest out of the log. The caller holds the shard's mu.
func (r *room) drop(n int) {
	for range n {
		e := r.log.at(0)
		r.dataBytes -= int64(len(e.data))
		r.nameBytes -= int64(len(e.from) + len(e.event))
		r.log.pop()
	}
}

// dropAged takes out what is too old. The caller holds the shard's mu.
func (r *room) dropAged(now int64) {
	for r.log.n > 0 && r.aged(r.log.at(0), now) {
		r.drop(1)
	}
}

func (r *room) aged(e *entry, now int64) bool {
	return r.bounds.Age > 0 && now-e.at >= int64(r.bounds.Age)
}

// page answers q as of now. The caller holds the shard's mu.
func (r *room) page(q broker.Query, now int64) broker.Page {
	// Housekeeping comes late by up to a second: what has aged since is not shown.
	fresh := 0
	if r.log.n > 0 && r.aged(r.log.at(0), now) {
		fresh = sort.Search(r.log.n, func(i int) bool { return !r.aged(r.log.at(i), now) })
	}
	base := r.last - uint64(r.log.n) // seq of entry i is base + 1 + i
	p := broker.Page{Epoch: r.epoch, First: base + 1 + uint64(fresh), Last: r.last}

	from, to := fresh, r.log.n // entries of the range
	if q.After > base {
		from = max(from, int(min(q.After-base, uint64(r.log.n))))
	}
	if q.Before > 0 {
		end := max(q.Before, base+1) - base - 1
		to = int(min(end, uint64(r.log.n)))
	}
	if from >= to {
		return p
	}
	from, to = r.cut(q, from, to)
	p.Messages = make([]broker.Message, 0, to-from)
	for i := from; i < to; i++ {
		e := r.log.at(i)
		p.Messages = append(p.Messages, broker.Message{
			Room:     r.name,
			Position: broker.Position{Epoch: r.epoch, Seq: base + 1 + uint64(i)},
			Time:     e.time, From: e.from, Event: e.event, Data: e.data,
		})
	}
	return p
}

// cut shortens the entries [from, to) to q's Limit and Bytes. It keeps the end at
// which the reading begins, the newest for Newest, so that the next page, asked for
// with After or with Before, joins on without a hole.
func (r *room) cut(q broker.Query, from, to int) (int, int) {
	limit := to - from
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	n, sum := 0, int64(0)
	for ; n < limit; n++ {
		i := from + n
		if q.Newest {
			i = to - 1 - n
		}
		sum += int64(len(r.log.at(i).data))
		if q.Bytes > 0 && sum > q.Bytes && n > 0 {
			break
		}
	}
	if q.Newest {
		return to - n, to
	}
	return from, from + n
}
