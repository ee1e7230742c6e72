package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// traced begins a publication's trace, if it is recorded.
func (ses *session) traced(p *broker.Publication, lr *localRoom) *tracing.Publication {
	via := tracing.ViaWebSocket
	if ses.conn.Inner() {
		via = tracing.ViaPost
	}
	g := ses.shard.gw
	return g.cfg.Tracer.Publish(context.Background(), via, func() tracing.Message {
		if lr != nil {
			return tracedMessage(p.Room, lr.shared.class(), len(p.Data))
		}
		return tracedMessage(p.Room, g.live().Classes.Of(p.Room), len(p.Data))
	})
}

func tracedMessage(room string, class *Class, bytes int) tracing.Message {
	return tracing.Message{Room: room, Class: class.Match, Bytes: bytes}
}

// traced begins the trace of a publication of a call.
func (g *Gateway) traced(ctx context.Context, p *broker.Publication) *tracing.Publication {
	return g.cfg.Tracer.Publish(ctx, tracing.ViaAPI, func() tracing.Message {
		return tracedMessage(p.Room, g.live().Classes.Of(p.Room), len(p.Data))
	})
}

// toBroker is the trace of a publication that the broker is given now; nil where it
// is not recorded.
func toBroker(t *tracing.Publication) *broker.Trace {
	if t == nil {
		return nil
	}
	at := t.Relay()
	return &broker.Trace{ID: at.Trace, Span: at.Span}
}

// tracedOutcome is what became of a publication, for its trace.
func tracedOutcome(r *broker.Result) (tracing.Outcome, tracing.Position) {
	at := tracing.Position(r.Position)
	var refusal *protocol.Error
	switch {
	case errors.As(r.Err, &refusal) && refusal.Code == protocol.RateLimited:
		return tracing.RateLimited, at
	case r.Err != nil:
		return tracing.Unavailable, at
	case r.Duplicate:
		return tracing.Duplicate, at
	}
	return tracing.Stored, at
}

// arrival is a traced message that has its place in a log.
type arrival struct {
	message broker.Message
	log     *room.Log
}

// fanOut records the arrival of the traced messages that e has appended, and has the
// loops with members say when they have written them. It comes before the loops are
// told of the room.
func (h *hub) fanOut(r *hubRoom, e *encoder) {
	if len(e.arrivals) == 0 {
		return
	}
	arrivals := e.arrivals
	e.arrivals = nil
	if h.tracer == nil {
		return // another gateway traces
	}
	for i := range arrivals {
		m := &arrivals[i].message
		f := &fanOut{receipt: h.tracer.Receive(tracing.Arrival{
			Message:   tracedMessage(r.name, r.class(), len(m.Data)),
			Position:  tracing.Position(m.Position),
			Place:     tracing.Place{Trace: m.Trace.ID, Span: m.Trace.Span},
			Published: time.UnixMilli(m.Time),
			Arrived:   m.Trace.Arrived,
		})}
		for at := range r.marks {
			if r.marks[at].held.Load() {
				f.parts = append(f.parts, fanOutPart{of: f, room: r, log: arrivals[i].log, seq: m.Seq, loop: at})
			}
		}
		f.left = len(f.parts)
		for at := range f.parts {
			h.shards[f.parts[at].loop].loop.Post(&f.parts[at])
		}
	}
}

// fanOut is one traced message on its way to the members.
type fanOut struct {
	receipt *tracing.Receipt
	parts   []fanOutPart // immutable, but for what is a part's loop's

	mu   sync.Mutex
	left int // parts that are not done
	sum  tracing.Delivery
}

// fanOutPart is a fan-out's part of one loop, which it is posted to. before is that
// loop's.
type fanOutPart struct {
	of   *fanOut
	loop int
	room *hubRoom
	log  *room.Log
	seq  uint64

	before tracing.Delivery // of the room there, when it came to the loop
}

// done adds what the loop has done since the part came; the last one ends the span.
func (p *fanOutPart) done(members int, total *tracing.Delivery) {
	f := p.of
	f.mu.Lock()
	defer f.mu.Unlock()
	if members > 0 {
		f.sum.Loops++
	}
	f.sum.Members += members
	f.sum.Behind += total.Behind - p.before.Behind
	f.sum.Dropped += total.Dropped - p.before.Dropped
	f.sum.Bytes += total.Bytes - p.before.Bytes
	if f.left--; f.left == 0 && f.sum.Members > 0 {
		f.receipt.FanOut(f.sum)
	}
}

// pending is the fan-outs that a loop's part of a room has not done, and what was
// done since the first of them came.
type pending struct {
	parts []*fanOutPart
	total tracing.Delivery
}

// follow takes a part in, whose room is told of behind it at the latest.
func (s *shard) follow(p *fanOutPart) {
	lr := s.rooms[p.room.name]
	if lr == nil || lr.shared != p.room || len(lr.members) == 0 {
		p.done(0, &p.before)
		return
	}
	switch {
	case lr.log == p.log && !lr.queued && lr.head >= p.seq, // a pass was quicker
		lr.log != p.log && lr.shared.log.Load() != p.log: // another log has taken its place already
		p.done(len(lr.members), &p.before)
		return
	}
	lr.open()
	if lr.pending == nil {
		lr.pending = new(pending)
	}
	p.before = lr.pending.total
	lr.pending.parts = append(lr.pending.parts, p)
}

// written ends the fan-outs that ok says so of.
func (lr *localRoom) written(ok func(*fanOutPart) bool) {
	if lr.aside == nil || lr.pending == nil {
		return
	}
	d := lr.pending
	rest := d.parts[:0]
	for _, p := range d.parts {
		if ok(p) {
			p.done(len(lr.members), &d.total)
		} else {
			rest = append(rest, p)
		}
	}
	clear(d.parts[len(rest):])
	if d.parts = rest; len(rest) == 0 {
		lr.pending = nil
		lr.tidy()
	}
}
