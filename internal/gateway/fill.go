package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// fillRetry is the pause after a read that the broker did not answer.
const fillRetry = 250 * time.Millisecond

// refill has a room's log read that was just subscribed. While it is being read
// another read follows, and not beside it.
func (h *hub) refill(r *hubRoom) {
	r.mu.Lock()
	r.asked = r.begun + 1
	fill := !r.filling || !r.subscribed
	r.filling, r.subscribed = true, true
	r.mu.Unlock()
	r.crowd.stale()
	if fill {
		h.fills.add(r)
	}
}

// check has a room's log compared with the broker's, for a member that knows
// more of it than the log does. One read serves all who ask meanwhile.
// The read that answers has the returned number, and is done when r.reads is that.
func (h *hub) check(r *hubRoom) (read uint32) {
	read, fill := r.refresh()
	if fill {
		h.fills.add(r)
	}
	return read
}

func (h *hub) fillLoop() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.fills.wake:
			for r := h.fills.take(); r != nil; r = h.fills.take() {
				h.fill(r)
			}
		}
	}
}

// fill reads what the room's log lacks and appends it, then what was held
// meanwhile. Where the broker does not answer, the room waits and is tried again.
func (h *hub) fill(r *hubRoom) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.begun++
	was := reading{log: r.log.Load(), stamp: r.stamp, number: r.begun, resets: r.resets}
	if r.held != nil {
		was.held = r.held.ever
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(h.ctx, rangeWait)
	defer cancel()
	page, goesOn, err := h.read(ctx, r, was.log, was.stamp)
	if err != nil {
		h.log.Debug("room log not read", "error", err)
		h.retry(r)
		return
	}
	h.count(ctx, r)
	again, grown := h.splice(r, &was, goesOn, page)
	h.tell(r)
	switch {
	case again && grown:
		h.fills.add(r)
	case again:
		h.retry(r) // the broker's reads are behind what it delivers
	}
}

// read asks the broker for what log l lacks, whose newest message has the stamp;
// goesOn is false where the page is the beginning of another log. A log that was
// rewound is renewed first, so that no message of it is taken for one of l's.
func (h *hub) read(ctx context.Context, r *hubRoom, l *room.Log, stamp uint64) (page broker.Page, goesOn bool, err error) {
	if l != nil {
		// The newest message is read too, to be compared.
		page, err = h.broker.Range(ctx, broker.Query{Room: r.name, After: max(l.Head(), 1) - 1})
		if err != nil {
			return page, false, err
		}
		if page.Epoch == l.Epoch() {
			if !rewound(page, l.Head(), stamp) {
				return page, true, nil
			}
			if err := h.renew(ctx, r.name, l.Epoch()); err != nil {
				return page, false, err
			}
		}
	}
	page, err = h.broker.Range(ctx, broker.Query{Room: r.name, Limit: r.class().History.Messages, Newest: true})
	if err == nil && l != nil && page.Epoch == l.Epoch() {
		err = errNotRenewed
	}
	return page, false, err
}

var errNotRenewed = errors.New("a rewound log has not got a new epoch")

// rewound says whether a page that begins at head is not of the log that had a
// message of that stamp there.
func rewound(p broker.Page, head, stamp uint64) bool {
	if p.Last < head {
		return true
	}
	if len(p.Messages) == 0 || p.Messages[0].Seq != head || stamp == 0 {
		return false
	}
	return p.Messages[0].Stamp != stamp
}

func (h *hub) renew(ctx context.Context, room, epoch string) error {
	if h.remote == nil {
		return errNotRenewed
	}
	h.log.Warn("a room's log was rewound: it begins a new epoch")
	return h.remote.Renew(ctx, room, epoch)
}

// retry puts the room back into the queue after a pause.
func (h *hub) retry(r *hubRoom) { h.later(func() { h.fills.add(r) }) }

// count reads how many users are in the room, where that is not known. Nobody waits
// for a count that cannot be read.
func (h *hub) count(ctx context.Context, r *hubRoom) {
	if h.people.count(ctx, r) {
		return
	}
	h.later(func() {
		ctx, cancel := context.WithTimeout(h.ctx, rangeWait)
		defer cancel()
		h.count(ctx, r)
	})
}

// later does something after a pause, unless the hub ends.
func (h *hub) later(do func()) {
	h.done.Go(func() {
		t := time.NewTimer(fillRetry)
		defer t.Stop()
		select {
		case <-t.C:
			do()
		case <-h.ctx.Done():
		}
	})
}

// reading is how a room was when a read of its log began.
type reading struct {
	log            *room.Log
	stamp          uint64
	number, resets uint32
	held           int // messages that were ever held
}

// splice appends a page, and behind it the held messages. was is the room when the
// page was asked for. again: there is still something missing that the page could
// not have had, or the page was for naught. grown: the log went on.
func (h *hub) splice(r *hubRoom, was *reading, goesOn bool, page broker.Page) (again, grown bool) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, false
	}
	if r.log.Load() != was.log || r.resets != was.resets {
		return true, true // it was reset, or read by another, meanwhile
	}
	l := was.log
	if !goesOn {
		r.stamp = 0
		l = room.NewLog(page.Epoch, before(page), &r.class().History, &h.set.LogBytes)
	}
	head, lost := l.Head(), false
	for i := range page.Messages {
		if m := &page.Messages[i]; m.Seq > l.Head() {
			lost = lost || m.Seq > l.Head()+1
			r.append(e, l, m)
		}
	}
	if !goesOn {
		r.replace(l)
	}
	again = r.spliceHeld(e, l, was, page.Last)
	h.fanOut(r, e)
	grown = l.Head() > head || !goesOn
	if again {
		return again, grown
	}
	repaired := l.Head() > head
	if l.Head() < page.Last {
		l.Skip(page.Last) // what was not in the page is not to be had
		r.stamp, lost = 0, true
	}
	h.countGap(was.log != nil, goesOn, repaired, lost)
	r.read = monotonic()
	if r.reads.Load() < was.number {
		r.reads.Store(was.number)
	}
	r.filling = r.asked > was.number // who asked meanwhile may know more than this read
	return r.filling, true
}

// countGap counts how a gap in the deliveries of a room that had a log ended.
func (h *hub) countGap(had, goesOn, repaired, lost bool) {
	gaps := &h.relay.Gaps
	switch {
	case !had:
	case !goesOn:
		gaps[metrics.GapReset].Inc()
	case lost:
		gaps[metrics.GapLost].Inc()
	case repaired:
		gaps[metrics.GapRepaired].Inc()
	}
}

// spliceHeld appends to log l what was held while a page was read whose newest
// message is last. It returns true where it must keep some of it for another
// read.
func (r *hubRoom) spliceHeld(e *encoder, l *room.Log, was *reading, last uint64) (again bool) {
	if r.held == nil {
		return false
	}
	held := r.held.messages
	unseen := len(held) - (r.held.ever - was.held) // from here on the page may know less
	r.held = nil
	for i := range held {
		m := &held[i]
		if m.Epoch != l.Epoch() && i >= unseen {
			r.hold(held[i:])
			return true
		}
		if m.Epoch != l.Epoch() || m.Seq <= l.Head() {
			continue
		}
		// Beyond a jump within what the page covers the messages are gone, and the
		// log says so; beyond one after it they may be had.
		if m.Seq > max(l.Head(), last)+1 {
			r.hold(held[i:])
			return true
		}
		r.append(e, l, m)
	}
	return false
}

// hold keeps the rest of what was held for another read.
func (r *hubRoom) hold(rest []broker.Message) {
	r.held = new(heldBack)
	r.held.add(rest...)
}

// before is the seq that a log of this page stands at first.
func before(p broker.Page) uint64 {
	if len(p.Messages) > 0 {
		return p.Messages[0].Seq - 1
	}
	return p.Last
}
