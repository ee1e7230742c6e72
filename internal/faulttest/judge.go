package faulttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// caughtUpIn is how long after the fault's end everyone has everything.
const caughtUpIn = 10 * time.Second

// verdict is what the judge found.
type verdict struct {
	violations []violation
	acked      int           // messages acknowledged
	refused    int           // attempts answered with unavailable
	deliveries int           // message entries checked
	owed       int           // pairs of an acknowledged message and a member of its time
	losses     int           // of owed: neither delivered nor told of
	gaps       int           // gap notices
	gapped     int           // of owed: named by a gap
	resets     int           // resets, and resumes that were told of another log
	behind     int           // of owed: behind a reset
	catchUp    time.Duration // from the fault's end to the last member's having caught up
}

// slot is a place of a log over all rooms.
type slot struct {
	room string
	position
}

type judge struct {
	evidence
	verdict
	at        map[slot]uint64 // which message clients received there
	ackedAt   map[slot]*publication
	byRoom    map[string][]*publication // acknowledged
	byNumber  map[uint64]bool           // acknowledged
	positions map[string]position       // where each room's log ends, by the acks
}

// judgeAll holds the evidence against every promise that a log can show.
func judgeAll(e evidence) verdict {
	j := &judge{
		evidence:  e,
		at:        make(map[slot]uint64),
		ackedAt:   make(map[slot]*publication),
		byRoom:    make(map[string][]*publication),
		byNumber:  make(map[uint64]bool),
		positions: make(map[string]position),
	}
	for _, s := range e.strays {
		j.report(dishonest, "%s", s)
	}
	for _, l := range e.journals {
		j.collect(l)
	}
	for _, p := range e.publications {
		j.answers(p)
	}
	j.findEnds()
	for _, p := range e.publications {
		j.positionsOf(p)
	}
	j.connectionOrder()
	for _, l := range e.journals {
		j.follow(l)
	}
	j.late()
	return j.verdict
}

func (j *judge) report(invariant, format string, args ...any) {
	j.violations = append(j.violations, violation{invariant, fmt.Sprintf(format, args...)})
}

// collect notes which message is at each place, and that it is one.
func (j *judge) collect(l *journal) {
	for i := range l.entries {
		e := &l.entries[i]
		if e.kind != message {
			continue
		}
		s := slot{l.room, e.position}
		if was, ok := j.at[s]; ok && was != e.number {
			j.report(disorder, "%s: %s is message %d for one member and %d for client %d", l.room, e.position, was, e.number, l.client)
		}
		j.at[s] = e.number
	}
}

// answers counts what a publisher was told of one message.
func (j *judge) answers(p *publication) {
	for i := range p.attempts {
		switch p.attempts[i].refusal {
		case "":
		case protocol.Unavailable:
			j.refused++
		default:
			j.report(dishonest, "%s: message %d was refused with %s", p.room, p.number, p.attempts[i].refusal)
		}
	}
	if len(p.acks) == 0 {
		return
	}
	j.acked++
	j.byNumber[p.number] = true
	j.byRoom[p.room] = append(j.byRoom[p.room], p)
}

// ofLog is the invariant that two messages with one position violate. Where the
// epoch has ended, a new master may have used a seq again before anyone could
// know that its log was rewound; no message is lost by that alone.
func (j *judge) ofLog(room, epoch, invariant string) string {
	if j.positions[room].Epoch != epoch {
		return reused
	}
	return invariant
}

// positionsOf checks the positions that a message was acknowledged with.
func (j *judge) positionsOf(p *publication) {
	for _, a := range p.acks {
		s := slot{p.room, a.position}
		if got, ok := j.at[s]; ok && got != p.number {
			j.report(j.ofLog(p.room, a.Epoch, dishonest), "%s: message %d was acknowledged as %s, where members received %d", p.room, p.number, a.position, got)
		}
		if other := j.ackedAt[s]; other != nil && other != p {
			j.report(j.ofLog(p.room, a.Epoch, dishonest), "%s: messages %d and %d were both acknowledged as %s", p.room, other.number, p.number, a.position)
		}
		j.ackedAt[s] = p
		if first := p.acks[0]; a.Epoch == first.Epoch && a.Seq != first.Seq {
			j.report(duplicate, "%s: message %d was stored as %s and as %s", p.room, p.number, first.position, a.position)
		}
		if a.Seq == 0 || a.Epoch == "" {
			j.report(dishonest, "%s: message %d was acknowledged as %s", p.room, p.number, a.position)
		}
	}
}

// last is the newest acknowledgement.
func (p *publication) last() ack { return p.acks[len(p.acks)-1] }

func (p *publication) sent() time.Duration { return p.attempts[0].sent }

// findEnds finds where each room's log ends: the epoch that holds at the end is
// that of what was sent last.
func (j *judge) findEnds() {
	for room, ps := range j.byRoom {
		var end position
		var newest time.Duration
		for _, p := range ps {
			if s := p.attempts[len(p.attempts)-1].sent; !p.last().duplicate && s >= newest {
				newest, end = s, p.last().position
			}
		}
		for _, p := range ps {
			for _, a := range p.acks {
				if a.Epoch == end.Epoch {
					end.Seq = max(end.Seq, a.Seq)
				}
			}
		}
		j.positions[room] = end
	}
}

// connectionOrder checks that what one connection published to one room is stored
// in the order it was sent.
func (j *judge) connectionOrder() {
	type key struct {
		room, epoch string
		conn        int
	}
	type sent struct {
		order int
		seq   uint64
	}
	orders := make(map[key][]sent)
	for room, ps := range j.byRoom {
		for _, p := range ps {
			if a := p.last(); len(p.attempts) == 1 && !a.duplicate {
				k := key{room, a.Epoch, p.attempts[0].conn}
				orders[k] = append(orders[k], sent{p.attempts[0].order, a.Seq})
			}
		}
	}
	for k, s := range orders {
		slices.SortFunc(s, func(a, b sent) int { return cmp.Compare(a.order, b.order) })
		for i := 1; i < len(s); i++ {
			if s[i].seq <= s[i-1].seq {
				j.report(j.ofLog(k.room, k.epoch, disorder), "%s: request %d of connection %d is %s:%d, and request %d after it %d",
					k.room, s[i-1].order, k.conn, k.epoch, s[i-1].seq, s[i].order, s[i].seq)
			}
		}
	}
}

// late finds when the last member had caught up: with the first message of its
// room's final epoch that was sent after the fault and acknowledged.
func (j *judge) late() {
	targets := make(map[string]position)
	for room, ps := range j.byRoom {
		var first *publication
		for _, p := range ps {
			if p.sent() >= j.faultEnd && p.last().Epoch == j.positions[room].Epoch && (first == nil || p.sent() < first.sent()) {
				first = p
			}
		}
		if first == nil {
			j.report(tooLate, "%s: nothing that was sent after the fault was acknowledged", room)
			continue
		}
		targets[room] = first.last().position
	}
	for _, l := range j.journals {
		target, ok := targets[l.room]
		if !ok {
			continue
		}
		at := time.Duration(-1)
		for i := range l.entries {
			if e := &l.entries[i]; e.kind != left && e.Epoch == target.Epoch && e.reaches() >= target.Seq {
				at = e.at
				break
			}
		}
		if at < 0 {
			continue // it is a loss, and reported as that
		}
		j.catchUp = max(j.catchUp, at-j.faultEnd)
		if at-j.faultEnd > caughtUpIn {
			j.report(tooLate, "%s: client %d was at %s %s after the fault's end", l.room, l.client, target, (at - j.faultEnd).Round(time.Millisecond))
		}
	}
}

// reaches is the seq that a client stands at after an entry.
func (e *entry) reaches() uint64 {
	if e.kind == gap {
		return e.to
	}
	return e.Seq
}
