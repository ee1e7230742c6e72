package memory

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// chunk is how many items are worked off between two looks at what else there is
// to do: it bounds the slices a Sink is given, and how long a refusal waits.
const chunk = 1024

// A queue's array with more than spareItems is let go once spareUses batches in a
// row needed less than a quarter of theirs, or none came for spareTime.
const (
	spareItems = 2 * chunk
	spareUses  = 64
	spareTime  = int64(time.Second)
)

// moment is the time of a chunk.
type moment struct {
	at    int64 // nanoseconds since the broker was made
	milli int64 // Unix milliseconds
}

func (b *Broker) tick() {
	t := b.cfg.Now()
	b.now = moment{at: int64(t.Sub(b.start)), milli: t.UnixMilli()}
}

// run is the broker's goroutine.
func (b *Broker) run() {
	defer close(b.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	armed := int64(never) // when the timer fires, by b.now.at
	timer.Stop()
	for {
		batch := b.take()
		if !b.work(batch) {
			return
		}
		b.recycle(batch)
		if len(batch) > 0 {
			continue
		}
		next := b.nextDue()
		if cap(b.spare) > spareItems || b.large {
			next = min(next, b.now.at+spareTime)
		}
		if next < armed {
			armed = next
			timer.Reset(time.Duration(max(0, next-b.now.at)))
		}
		select {
		case <-b.wake:
		case <-timer.C:
			armed = never
			b.slack = spareUses
		}
	}
}

// take swaps the queue for an empty one.
func (b *Broker) take() []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.queue
	b.queue = b.spare[:0]
	b.spare = nil
	b.large = cap(b.queue) > spareItems
	b.rebounding = false
	if len(b.controls) > chunk {
		b.controls = make(map[string]int) // a map never shrinks
	} else {
		clear(b.controls)
	}
	return batch
}

// recycle lets go of what a batch refers to and keeps its array for the next.
func (b *Broker) recycle(batch []item) {
	clear(batch)
	b.slack++
	if len(batch) >= cap(batch)/4 {
		b.slack = 0
	}
	if cap(batch) <= spareItems || b.slack < spareUses {
		b.spare = batch[:0]
	}
}

// work takes a batch in chunks and keeps house between them, once for an empty
// batch. It reports false when the broker was closed; all that waited is then
// answered.
func (b *Broker) work(batch []item) bool {
	for {
		if b.interrupted() {
			b.endAll(batch)
			b.endAll(b.take())
			return false
		}
		b.tick()
		n := min(len(batch), chunk)
		b.apply(batch[:n])
		b.leave(batch[:n])
		b.housekeep()
		batch = batch[n:]
		if len(batch) == 0 {
			return true
		}
	}
}

// interrupted answers refusals and reports whether the broker was closed.
func (b *Broker) interrupted() bool {
	b.mu.Lock()
	refused, closed := b.refused, b.closed
	b.refused = nil
	b.mu.Unlock()
	if len(refused) > 0 {
		b.sink.Published(refused)
	}
	return closed
}

// endAll answers the publications of a batch with broker.ErrClosed.
func (b *Broker) endAll(batch []item) {
	for i := range batch {
		if p := &batch[i].pub; batch[i].op == opPublish {
			b.answer(p, broker.Position{}, broker.ErrClosed)
		}
	}
	b.flush()
	b.leave(batch)
}

// leave takes items that were worked off out of the count of those that wait.
func (b *Broker) leave(items []item) {
	if len(items) == 0 {
		return
	}
	count, bytes := 0, int64(0)
	for i := range items {
		switch items[i].op {
		case opPublish:
			count++
			bytes += int64(len(items[i].pub.Data))
		case opForget:
			count++
		}
	}
	b.mu.Lock()
	b.waiting -= count
	b.waitingBytes -= bytes
	b.cfg.Depth.Set(int64(b.waiting))
	b.mu.Unlock()
}

// apply does what the items ask for, in their order.
//
// Subscribed is called before Deliver although a chunk may hold messages that were
// stored ahead of the subscription: those were delivered only if the room was
// subscribed to already, and then they only come late, not amiss.
func (b *Broker) apply(items []item) {
	for i := range items {
		it := &items[i]
		switch it.op {
		case opPublish:
			b.publish(&it.pub)
		case opSubscribe:
			b.subscribe(it.pub.Room)
		case opUnsubscribe:
			b.unsubscribe(it.pub.Room)
		case opForget:
			b.flush() // what was stored before goes out before Reset
			b.reset(it.pub.Room)
		case opRebound:
			b.rebound()
		}
	}
	b.flush()
}

// flush hands over what has been gathered for the Sink.
func (b *Broker) flush() {
	if len(b.subscribed) > 0 {
		b.sink.Subscribed(b.subscribed)
		clear(b.subscribed)
		b.subscribed = b.subscribed[:0]
	}
	if len(b.deliveries) > 0 {
		b.sink.Deliver(b.deliveries)
		clear(b.deliveries)
		b.deliveries = b.deliveries[:0]
	}
	if len(b.results) > 0 {
		b.sink.Published(b.results)
		clear(b.results)
		b.results = b.results[:0]
	}
}

func (b *Broker) publish(p *broker.Publication) {
	s, at := b.shardOf(p.Room)
	r := s.rooms[p.Room]
	if r != nil && p.ID != "" {
		if first, ok := b.ids.find(r, p.ID, b.now.at); ok {
			b.answer(p, first, nil)
			b.results[len(b.results)-1].Duplicate = true
			return
		}
	}
	if r != nil {
		b.recent.moveToBack(r) // the last to give back memory for its own message
	}
	if !b.admit(r, p) {
		b.cfg.Refused.Inc()
		b.answer(p, broker.Position{}, errStoreFull)
		if r != nil {
			b.settle(r)
		}
		return
	}
	if r == nil {
		r = b.create(s, at, p.Room)
	}
	r.used = b.now.at
	position := b.store(r, p)
	if p.ID != "" && b.ids.window > 0 {
		b.open(r)
		b.ids.add(r, p, position, b.now.at)
	}
	if r.subscribed {
		b.deliveries = append(b.deliveries, broker.Message{
			Room: r.name, Position: position, Time: r.time, From: p.From, Event: p.Event, Data: p.Data,
			Trace: b.traced(p.Trace),
		})
	}
	b.answer(p, position, nil)
	b.settle(r)
}

// traced is the trace of a message that is delivered now.
func (b *Broker) traced(t *broker.Trace) *broker.Trace {
	if t == nil {
		return nil
	}
	return &broker.Trace{ID: t.ID, Span: t.Span, Arrived: b.cfg.Now()}
}

func (b *Broker) answer(p *broker.Publication, position broker.Position, err error) {
	b.results = append(b.results, broker.Result{Room: p.Room, Position: position, Err: err, Ticket: p.Ticket})
}

// store numbers p and keeps it within the room's bounds.
func (b *Broker) store(r *room, p *broker.Publication) broker.Position {
	before := r.cost()
	if r.bounds.Messages > 0 {
		b.open(r)
	}
	s := b.home(r.place)
	s.mu.Lock()
	r.time = max(r.time, b.now.milli)
	r.last++
	r.keep(entry{at: b.now.at, time: r.time, from: p.From, event: p.Event, data: p.Data})
	s.mu.Unlock()
	b.kept += r.cost() - before
	return broker.Position{Epoch: r.epoch, Seq: r.last}
}

func (b *Broker) subscribe(name string) {
	s, at := b.shardOf(name)
	r := s.rooms[name]
	if r == nil {
		r = b.create(s, at, name)
	}
	r.subscribed = true
	b.subscribed = append(b.subscribed, r.name)
	b.settle(r)
}

func (b *Broker) unsubscribe(name string) {
	s, _ := b.shardOf(name)
	r := s.rooms[name]
	if r == nil || !r.subscribed {
		return
	}
	r.subscribed = false
	r.used = b.now.at
	b.settle(r)
}

// reset begins a room's log anew.
func (b *Broker) reset(name string) {
	s, at := b.shardOf(name)
	r := s.rooms[name]
	if r == nil {
		s.mu.Lock()
		s.generations[at.slot]++
		s.mu.Unlock()
		return
	}
	before := r.cost()
	s.mu.Lock()
	s.generations[at.slot]++
	r.epoch = b.epoch(name, s.generations[at.slot])
	r.last = 0
	r.drop(r.log.n)
	r.log.fit()
	s.mu.Unlock()
	b.kept += r.cost() - before
	if r.subscribed {
		b.sink.Reset(r.name, broker.Position{Epoch: r.epoch})
	}
	b.settle(r)
}
