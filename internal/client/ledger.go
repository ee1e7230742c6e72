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
	live  bool // the room was joined on the connection at hand
}

func newLedger(rooms []Subscription) *ledger {
	l := &ledger{rooms: make(map[string]*place, len(rooms))}
	for _, s := range rooms {
		l.rooms[s.Room] = &place{first: s}
	}
	return l
}

// begin is called before a new connection's first frame.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.rooms {
		p.live = false
	}
}

// joins returns a join for every room, from where the client stands.
func (l *ledger) joins() []protocol.Join {
	l.mu.Lock()
	defer l.mu.Unlock()
	joins := make([]protocol.Join, 0, len(l.rooms))
	for _, p := range l.rooms {
		joins = append(joins, p.join())
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
func (l *ledger) add(s Subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.rooms[s.Room]; p != nil {
		p.first.Presence = s.Presence
		return false
	}
	l.rooms[s.Room] = &place{first: s}
	return true
}

func (l *ledger) remove(room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.rooms, room)
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
	return append(events, Joined{Joined: j, Since: since})
}

// message returns the events that a message is: none if it was seen before or
// its room has been left.
func (l *ledger) message(m protocol.Message) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[m.Room]
	if p == nil || p.saw(m.Epoch, m.Seq) {
		return nil
	}
	events := p.jump("message", m.Room, m.Epoch, m.Seq)
	p.at, p.known = protocol.Position{Epoch: m.Epoch, Seq: m.Seq}, true
	return append(events, Message{m})
}

// gap moves behind the messages that will not come.
func (l *ledger) gap(g protocol.Gap) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[g.Room]
	if p == nil || p.saw(g.Epoch, g.To) {
		return nil
	}
	if p.saw(g.Epoch, g.From) {
		g.From = p.at.Seq + 1
	}
	events := p.jump("gap", g.Room, g.Epoch, g.From)
	p.at, p.known = protocol.Position{Epoch: g.Epoch, Seq: g.To}, true
	return append(events, Gap{g})
}

// presence returns the event of a presence: none if its room has been left.
func (l *ledger) presence(p protocol.Presence) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms[p.Room] == nil {
		return nil
	}
	return []Event{Presence{p}}
}

// reset moves to the new log.
func (l *ledger) reset(r protocol.Reset) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rooms[r.Room]
	if p == nil {
		return nil
	}
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

// jump is the fault, if it is one, that what came begins at seq of epoch.
func (p *place) jump(what, room, epoch string, seq uint64) []Event {
	if p.known && epoch == p.at.Epoch && seq == p.at.Seq+1 {
		return nil
	}
	got := protocol.Position{Epoch: epoch, Seq: seq}
	return []Event{Fault{Room: room, Have: p.at, Err: fmt.Errorf("unannounced jump: %s at %s", what, got)}}
}
