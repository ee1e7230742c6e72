package client

import "github.com/fanfare-ws/fanfare/internal/protocol"

// What is held back behind a gap that is being filled is bounded. A gateway
// answers a history in a round trip; a room that brings more than that meanwhile
// is better told with its gap.
const (
	heldMessages = 1024
	heldBytes    = 4 << 20
)

// filling is a gap whose messages the history is asked for.
type filling struct {
	gap   protocol.Gap // what is left of it
	asked bool         // the history was asked for all that is left
	held  []protocol.Server
	bytes int
}

// hold keeps what came behind the gap; false: it was the last that there is room
// for.
func (f *filling) hold(s protocol.Server) bool {
	f.held = append(f.held, s)
	f.bytes += len(s.Message.Data)
	return len(f.held) < heldMessages && f.bytes < heldBytes
}

// wanted returns the history to ask for, once; nil: none.
func (p *place) wanted() *protocol.HistoryRequest {
	f := p.fill
	if f == nil || f.asked {
		return nil
	}
	f.asked = true
	after, before := f.gap.From-1, f.gap.To+1
	return &protocol.HistoryRequest{Room: f.gap.Room, After: &after, Before: &before, Limit: protocol.MaxHistory}
}

// filled takes a page of the history that receive or filled asked for; nil: it was
// refused.
func (l *ledger) filled(room string, h *protocol.History) (events []Event, ask *protocol.HistoryRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[room]
	if p == nil || p.fill == nil || !p.fill.asked {
		return nil, nil // left, or given up
	}
	if h == nil || h.Epoch != p.fill.gap.Epoch {
		return p.abandon(), p.wanted()
	}
	events, done := p.page(h)
	switch {
	case done:
		events = append(events, p.release()...)
	case len(events) == 0: // the gateway has no more of it, and does not say so
		events = p.abandon()
	default:
		p.fill.asked = false
	}
	return events, p.wanted()
}

// page tells what a page has of the gap, and what the log keeps no more; done:
// that is all of it.
func (p *place) page(h *protocol.History) (events []Event, done bool) {
	g := &p.fill.gap
	lost := func(to uint64) {
		if to = min(to, g.To); to >= g.From {
			events = append(events, Gap{protocol.Gap{Room: g.Room, Epoch: g.Epoch, From: g.From, To: to, Reason: protocol.GapHistoryLost}})
			p.at.Seq, g.From = to, to+1
		}
	}
	if h.First > 0 {
		lost(h.First - 1)
	}
	for _, m := range h.Messages {
		if m.Seq < g.From || m.Seq > g.To {
			continue
		}
		lost(m.Seq - 1)
		events = append(events, Message{m})
		p.at.Seq, g.From = m.Seq, m.Seq+1
	}
	return events, g.From > g.To
}

// abandon tells the rest of the gap, and what was held back.
func (p *place) abandon() []Event {
	g := p.fill.gap
	p.at.Seq = g.To
	return append([]Event{Gap{g}}, p.release()...)
}

// release ends the filling and takes what was held back, in which there may be
// the next gap.
func (p *place) release() []Event {
	held := p.fill.held
	p.fill = nil
	var events []Event
	for i, s := range held {
		events = append(events, p.take(s)...)
		if p.fill != nil {
			for _, s := range held[i+1:] {
				p.fill.hold(s)
			}
			break
		}
	}
	return events
}
