package faulttest

import (
	"fmt"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// walk follows one member through its journal.
type walk struct {
	j *judge
	l *journal
	// pos is where the member stands by what it was told.
	pos position
	// in is whether a connection is joined; begun whether one ever was.
	in, begun bool
	// since when it is a member, and where it began.
	since time.Duration
	began position
	// owesGap: the last joined said that some is lost, so a gap comes next.
	owesGap bool
	// runs are the parts of the log that it was walked through.
	runs []run
	// got is the places delivered, has the messages, and told what gaps named.
	got  map[position]bool
	has  map[uint64]bool
	told []run
}

// run is a part of one epoch: behind after, up to to. told: it ended in a reset,
// or in a resume that was told of another log.
type run struct {
	epoch     string
	after, to uint64
	told      bool
}

// follow walks through a journal: each entry must stand exactly behind the last.
func (j *judge) follow(l *journal) {
	w := &walk{j: j, l: l, got: make(map[position]bool), has: make(map[uint64]bool)}
	for i := range l.entries {
		e := &l.entries[i]
		if w.owesGap && e.kind != gap && e.kind != left && e.kind != reset {
			w.report(badResume, e, "was told that some is lost, and no gap followed")
		}
		if e.kind != left {
			w.owesGap = false
		}
		if !w.in && e.kind != joined && e.kind != left {
			w.report(disorder, e, "came before joined")
		}
		switch e.kind {
		case joined:
			w.join(e)
		case message:
			w.message(e)
		case gap:
			w.gap(e)
		case reset:
			w.reset(e)
		case left:
			w.in = false
		}
	}
	w.account()
}

func (w *walk) report(invariant string, e *entry, what string) {
	w.j.report(invariant, "%s: client %d at %s, %s after the start: %s %s %s", w.l.room, w.l.client, w.pos, e.at.Round(time.Millisecond), e.kind, e.position, what)
}

// move sets the member on; within an epoch the run grows, else another begins.
func (w *walk) move(p position) {
	if n := len(w.runs); n > 0 && w.runs[n-1].epoch == p.Epoch && !w.runs[n-1].told && p.Seq >= w.pos.Seq {
		w.runs[n-1].to = p.Seq
	} else {
		w.runs = append(w.runs, run{epoch: p.Epoch, after: p.Seq, to: p.Seq})
	}
	w.pos = p
}

// leave ends the run with the member's knowledge.
func (w *walk) leave() {
	w.runs[len(w.runs)-1].told = true
	w.j.resets++
}

func (w *walk) join(e *entry) {
	again := w.in
	w.in = true
	switch {
	case again:
		w.report(disorder, e, "although it was joined")
	case !w.begun:
		w.begun, w.since, w.began = true, e.at, e.position
		if e.recovery != protocol.NotAsked {
			w.report(badResume, e, "speaks of a resume that was not asked for")
		}
	case e.recovery == protocol.NotAsked:
		w.report(badResume, e, "does not say whether the resume succeeded")
	case e.recovery == protocol.Recovered:
		if e.position != w.pos {
			w.report(badResume, e, "is called recovered")
		}
	case e.Epoch == w.pos.Epoch && e.Seq == w.pos.Seq:
		w.owesGap = true
		return
	case e.Epoch == w.pos.Epoch && e.Seq > w.pos.Seq:
		w.report(silentLoss, e, "skips messages without a gap")
	default:
		w.leave()
		w.skipped(e)
	}
	w.move(e.position)
}

func (w *walk) message(e *entry) {
	w.j.deliveries++
	w.has[e.number] = true
	next := position{Epoch: w.pos.Epoch, Seq: w.pos.Seq + 1}
	switch {
	case e.position == next:
	case e.Epoch != w.pos.Epoch:
		w.report(badReset, e, "is of another epoch, and no reset said so")
	case w.got[e.position]:
		w.report(duplicate, e, "was delivered before")
		return
	case e.Seq <= w.pos.Seq:
		w.report(disorder, e, "comes after a later one")
	default:
		w.report(silentLoss, e, "skips messages without a gap")
	}
	w.got[e.position] = true
	w.move(e.position)
}

func (w *walk) gap(e *entry) {
	w.j.gaps++
	switch {
	case e.Epoch != w.pos.Epoch:
		w.report(badReset, e, "is of another epoch, and no reset said so")
	case e.Seq != w.pos.Seq+1 || e.to < e.Seq:
		w.report(badGap, e, "does not begin behind what was delivered, or ends before it begins")
	case e.reason == string(protocol.GapHistoryLost):
		w.needless(e)
	}
	w.told = append(w.told, run{epoch: e.Epoch, after: e.Seq - 1, to: e.to})
	w.move(position{Epoch: e.Epoch, Seq: max(e.to, w.pos.Seq)})
}

// needless reports a gap over what the log still kept: half of what it keeps at
// least, so that what is stored while the gap is on its way is no excuse.
func (w *walk) needless(e *entry) {
	if newest := w.j.newestAt(w.l.room, e.Epoch, e.at); newest >= e.to && newest-e.to < w.j.keeps(w.l.room)/2 {
		w.report(badGap, e, fmt.Sprintf("to %d names what the log, then at %d, still keeps", e.to, newest))
	}
}

func (w *walk) reset(e *entry) {
	if e.since != w.pos {
		w.report(badReset, e, "gives as the old log's end "+e.since.String())
	}
	if e.Epoch == w.pos.Epoch {
		w.report(badReset, e, "begins the epoch that there was")
	}
	if w.begun {
		w.leave()
	}
	w.skipped(e)
	w.move(e.position)
}

// skipped reports where a new log is entered behind messages that it still keeps
// and that the member has not had.
func (w *walk) skipped(e *entry) {
	newest := w.j.newestAt(w.l.room, e.Epoch, e.at)
	keeps := w.j.keeps(w.l.room) / 2
	for seq := e.Seq; seq > 0 && newest-min(newest, seq) < keeps; seq-- {
		at := position{Epoch: e.Epoch, Seq: seq}
		number, known := w.j.at[slot{w.l.room, at}] // a renewed log's messages were acknowledged in the old one
		if p := w.j.ackedAt[slot{w.l.room, at}]; p != nil {
			number, known = p.number, true
		}
		if !known || w.has[number] || !w.j.byNumber[number] {
			continue
		}
		w.report(silentLoss, e, "skips message "+at.String()+", which the new log keeps")
		return
	}
}

// newestAt is the newest seq of an epoch that may have been stored by then: what
// was sent and, sooner or later, acknowledged.
func (j *judge) newestAt(room, epoch string, at time.Duration) (seq uint64) {
	for _, p := range j.byRoom[room] {
		for _, a := range p.acks {
			if p.sent() <= at && a.Epoch == epoch {
				seq = max(seq, a.Seq)
			}
		}
	}
	return seq
}

// account holds every acknowledged message of the room against the walk.
func (w *walk) account() {
	if !w.begun {
		w.j.report(silentLoss, "%s: client %d never joined", w.l.room, w.l.client)
		return
	}
	for _, p := range w.j.byRoom[w.l.room] {
		if p.sent() < w.since {
			continue // it may lie before the member's time
		}
		w.j.owed++
		switch w.fate(p) {
		case delivered:
		case gapped:
			w.j.gapped++
		case behindReset:
			w.j.behind++
		case lost:
			w.j.losses++
			w.j.report(silentLoss, "%s: client %d, which stands at %s, never got message %d, acknowledged as %s", w.l.room, w.l.client, w.pos, p.number, p.last().position)
		}
	}
}

type fate uint8

const (
	lost fate = iota
	delivered
	gapped
	behindReset
)

// fate says what became of an acknowledged message for this member. A message
// has several positions where a log was lost between a retry and its first.
func (w *walk) fate(p *publication) (best fate) {
	if w.has[p.number] {
		return delivered
	}
	for _, a := range p.acks {
		for _, t := range w.told {
			if t.epoch == a.Epoch && a.Seq > t.after && a.Seq <= t.to {
				return gapped
			}
		}
		if w.isBehind(a) {
			best = behindReset
		}
	}
	return best
}

// isBehind says whether a position is of a log that the member knows to have
// ended: beyond where it ended for the member, or before where the member was told
// that it entered the next, or of a log that came and went between two that it
// was in.
func (w *walk) isBehind(a ack) bool {
	visited := false
	for i, r := range w.runs {
		if r.epoch != a.Epoch {
			continue
		}
		visited = true
		if r.told && a.Seq > r.to || i > 0 && w.runs[i-1].told && a.Seq <= r.after {
			return true
		}
		// A rewound log that was renewed goes on with the same seqs.
		if r.told && i+1 < len(w.runs) && a.Seq <= w.runs[i+1].after {
			return true
		}
	}
	resets := len(w.runs) > 1 || len(w.runs) == 1 && w.runs[0].told
	return !visited && resets && a.Epoch != w.pos.Epoch
}
