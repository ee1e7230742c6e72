package client

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// ledger knows where the client stands in each room. It outlives connections;
// the reader of the one at hand moves the positions.
type ledger struct {
	mu    sync.Mutex
	rooms map[string]*place
}

type place struct {
	first Subscription
	at    protocol.Position
	known bool // at is set: the room was joined once

	// Of the connection at hand.
	asked bool     // a join is on its way, or was answered
	live  bool     // the room was joined
	fill  *filling // a gap that the history is asked for; nil: none
}

func newLedger(rooms []Subscription) *ledger {
	l := &ledger{rooms: make(map[string]*place, len(rooms))}
	for _, s := range rooms {
		l.rooms[s.Room] = &place{first: s}
	}
	return l
}

// begin is called before a new connection's first frame. What was held back
// behind a gap is forgotten: the position is before it, and comes again.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.rooms {
		p.asked, p.live, p.fill = false, false, nil
	}
}

// joins returns a join for every room that was not asked for on this connection,
// from where the client stands.
func (l *ledger) joins() []protocol.Join {
	l.mu.Lock()
	defer l.mu.Unlock()
	joins := make([]protocol.Join, 0, len(l.rooms))
	for _, p := range l.rooms {
		if !p.asked {
			p.asked = true
			joins = append(joins, p.join())
		}
	}
	slices.SortFunc(joins, func(a, b protocol.Join) int { return strings.Compare(a.Room, b.Room) })
	return joins
}

func (p *place) join() protocol.Join {
	j := protocol.Join{Room: p.first.Room, Since: p.first.Since, Last: p.first.Last, Presence: p.first.Presence}
	if p.known {
		at := p.at
		j.Since, j.Last = &at, 0
	}
	return j
}

// add enters a room; false: it is there already, and only its Presence changes.
// Who adds it joins it, too, if asked is set.
func (l *ledger) add(s Subscription, asked bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.rooms[s.Room]; p != nil {
		p.first.Presence = s.Presence
		return false
	}
	l.rooms[s.Room] = &place{first: s, asked: asked}
	return true
}

func (l *ledger) remove(room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.rooms, room)
}

func (l *ledger) has(room string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[room] != nil
}

// position returns where the client stands in a room; false: that is not known
// yet.
func (l *ledger) position(room string) (protocol.Position, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[room]
	if p == nil {
		return protocol.Position{}, false
	}
	return p.at, p.known
}

// joined moves to where the gateway says that the connection stands. A room
// that is not known was joined through the URL.
func (l *ledger) joined(j protocol.Joined) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[j.Room]
	if p == nil {
		p = &place{first: Subscription{Room: j.Room}}
		l.rooms[j.Room] = p
	}
	if p.live {
		// Joined again: nothing moves, and what is on its way still counts.
		return []Event{Joined{Joined: j}}
	}
	since := p.join().Since
	var events []Event
	if since != nil && j.Epoch == since.Epoch && j.Seq > since.Seq {
		events = append(events, Fault{Room: j.Room, Have: *since, Err: fmt.Errorf("joined at seq %d", j.Seq)})
	}
	p.at, p.known, p.live = j.Position, true, true
	events = append(events, Joined{Joined: j, Since: since})
	if since != nil && (j.Epoch != since.Epoch || j.Seq < since.Seq) {
		events = append(events, Reset{protocol.Reset{Room: j.Room, Position: j.Position, Previous: *since}})
	}
	return events
}

// presence returns the event of a presence: none if its room has been left.
func (l *ledger) presence(p protocol.Presence) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if in := l.rooms[p.Room]; in == nil || !in.live {
		return nil
	}
	return []Event{Presence{p}}
}

// receive returns the events that a message, a gap or a reset is: none if it was
// seen before, it is of a membership that has ended, or a gap before it is being
// filled. ask is
// the history that is wanted for that; nil: none.
func (l *ledger) receive(s protocol.Server) (events []Event, ask *protocol.HistoryRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[roomOf(s)]
	if p == nil || !p.live { // left, and perhaps asked for anew
		return nil, nil
	}
	if p.fill == nil {
		return p.take(s), p.wanted()
	}
	if p.fill.hold(s) {
		return nil, nil
	}
	return p.abandon(), p.wanted()
}

func roomOf(s protocol.Server) string {
	switch s.Type {
	case protocol.ServerMessage:
		return s.Message.Room
	case protocol.ServerGap:
		return s.Gap.Room
	default:
		return s.Reset.Room
	}
}

// take moves the position over what came, and returns what it is to the
// application.
func (p *place) take(s protocol.Server) []Event {
	switch s.Type {
	case protocol.ServerMessage:
		return p.message(s)
	case protocol.ServerGap:
		return p.gap(s.Gap)
	default:
		return p.reset(s.Reset)
	}
}

func (p *place) message(s protocol.Server) []Event {
	m := s.Message
	if p.saw(m.Epoch, m.Seq) {
		return nil
	}
	events := p.jump("message", m.Room, m.Epoch, m.Seq)
	if p.fill != nil {
		p.fill.hold(s)
		return events
	}
	p.at, p.known = protocol.Position{Epoch: m.Epoch, Seq: m.Seq}, true
	return append(events, Message{m})
}

// gap moves behind the messages that will not come.
func (p *place) gap(g protocol.Gap) []Event {
	if p.saw(g.Epoch, g.To) {
		return nil
	}
	if p.saw(g.Epoch, g.From) {
		g.From = p.at.Seq + 1
	}
	events := p.jump("gap", g.Room, g.Epoch, g.From)
	if p.fill != nil {
		p.fill.hold(protocol.Server{Type: protocol.ServerGap, Gap: g})
		return events
	}
	return append(events, p.skip(g)...)
}

// skip tells a gap, or begins to fill it.
func (p *place) skip(g protocol.Gap) []Event {
	if p.first.Fill && (g.Reason == protocol.GapSlowConsumer || g.Reason == GapUnannounced) && g.Epoch == p.at.Epoch {
		p.fill = &filling{gap: g}
		return nil
	}
	p.at, p.known = protocol.Position{Epoch: g.Epoch, Seq: g.To}, true
	return []Event{Gap{g}}
}

// reset moves to the new log.
func (p *place) reset(r protocol.Reset) []Event {
	var events []Event
	if p.known && r.Previous != p.at {
		events = append(events, Fault{Room: r.Room, Have: p.at, Err: fmt.Errorf("reset from %s", r.Previous)})
	}
	p.at, p.known = r.Position, true
	return append(events, Reset{r})
}

func (p *place) saw(epoch string, seq uint64) bool {
	return p.known && epoch == p.at.Epoch && seq <= p.at.Seq
}

// jump is the fault, if it is one, that what came begins at seq of epoch, and the
// gap that it leaves.
func (p *place) jump(what, room, epoch string, seq uint64) []Event {
	if p.known && epoch == p.at.Epoch && seq == p.at.Seq+1 {
		return nil
	}
	got := protocol.Position{Epoch: epoch, Seq: seq}
	events := []Event{Fault{Room: room, Have: p.at, Err: fmt.Errorf("unannounced jump: %s at %s", what, got)}}
	if p.known && epoch == p.at.Epoch {
		missing := protocol.Gap{Room: room, Epoch: epoch, From: p.at.Seq + 1, To: seq - 1, Reason: GapUnannounced}
		events = append(events, p.skip(missing)...)
	}
	return events
}
