package faulttest

import (
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// story is a run in which everything went well, to be doctored: one room, two
// members, messages 1 to 20 acknowledged as E:1 to E:20, a fault that ends after
// the 15th.
func story() *evidence {
	e := &evidence{faultEnd: 15500 * time.Millisecond, keeps: func(string) uint64 { return 8 }}
	for n := uint64(1); n <= 20; n++ {
		at := time.Duration(n) * time.Second
		e.publications = append(e.publications, &publication{
			number: n, room: "r",
			attempts: []attempt{{sent: at, answered: at + 1, conn: 1, order: int(n)}},
			acks:     []ack{{at: at + 1, position: position{Epoch: "E", Seq: n}}},
		})
	}
	for c := range 2 {
		l := &journal{client: c, room: "r", entries: []entry{{kind: joined, position: position{Epoch: "E"}}}}
		for n := uint64(1); n <= 20; n++ {
			l.entries = append(l.entries, entry{at: time.Duration(n)*time.Second + 2, kind: message, position: position{Epoch: "E", Seq: n}, number: n})
		}
		e.journals = append(e.journals, l)
	}
	return e
}

// at is the index of message n in a journal of story: joined is before it.
func at(n int) int { return n }

// cut takes entries from message a to message b out of the first journal.
func (e *evidence) cut(a, b int, instead ...entry) {
	l := e.journals[0]
	l.entries = slices.Concat(l.entries[:at(a)], instead, l.entries[at(b)+1:])
}

// renumber has everything from message n on happen in epoch F, from seq 1.
func (e *evidence) renumber(n uint64) {
	for _, p := range e.publications[n-1:] {
		p.acks[0].position = position{Epoch: "F", Seq: p.number - n + 1}
	}
	for _, l := range e.journals {
		for i := range l.entries[at(int(n)):] {
			m := &l.entries[at(int(n))+i]
			m.position = position{Epoch: "F", Seq: m.number - n + 1}
		}
	}
}

// tell inserts an entry before message n in every journal.
func (e *evidence) tell(n int, x entry) {
	for _, l := range e.journals {
		x.at = l.entries[at(n)].at
		l.entries = slices.Insert(l.entries, at(n), x)
	}
}

var (
	endE   = position{Epoch: "E", Seq: 9}
	startF = position{Epoch: "F"}
)

// comeBack is a connection's end and the next join.
func comeBack(n int, recovery protocol.Recovery, since, at position) []entry {
	t := time.Duration(n)*time.Second + 1
	return []entry{{at: t, kind: left, reason: "test"}, {at: t, kind: joined, recovery: recovery, since: since, position: at}}
}

func TestAnHonestRunIsAcquitted(t *testing.T) {
	for name, doctor := range map[string]func(*evidence){
		"nothing happened": func(*evidence) {},
		"a gap names what is not kept": func(e *evidence) {
			e.cut(3, 9, entry{at: 20 * time.Second, kind: gap, position: position{Epoch: "E", Seq: 3}, to: 9, reason: "history_lost"})
		},
		"a slow client was told": func(e *evidence) {
			e.cut(3, 9, entry{at: 9 * time.Second, kind: gap, position: position{Epoch: "E", Seq: 3}, to: 9, reason: "slow_consumer"})
		},
		"a reset in its place": func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: endE})
		},
		"a reset takes acknowledged messages with it": func(e *evidence) {
			e.renumber(10)
			e.cut(8, 9)
			l := e.journals[0]
			l.entries = slices.Insert(l.entries, at(8), entry{at: 10 * time.Second, kind: reset, position: startF, since: position{Epoch: "E", Seq: 7}})
			l = e.journals[1]
			l.entries = slices.Insert(l.entries, at(10), entry{at: 10 * time.Second, kind: reset, position: startF, since: endE})
		},
		"a log that came and went while a client was away": func(e *evidence) {
			e.renumber(10)
			for _, p := range e.publications[9:12] { // F:1 to F:3 of a log that was lost too
				p.acks[0].position = position{Epoch: "G", Seq: p.number}
			}
			for _, l := range e.journals {
				l.entries = slices.Delete(l.entries, at(10), at(13))
			}
			e.tell(10, entry{kind: reset, position: position{Epoch: "F", Seq: 3}, since: endE})
		},
		"a resume that recovered": func(e *evidence) {
			e.journals[0].entries = slices.Insert(e.journals[0].entries, at(10), comeBack(10, protocol.Recovered, endE, endE)...)
		},
		"a resume that lost some and says so": func(e *evidence) {
			e.cut(10, 11, append(comeBack(20, protocol.NotRecovered, endE, endE),
				entry{at: 20 * time.Second, kind: gap, position: position{Epoch: "E", Seq: 10}, to: 11, reason: "history_lost"})...)
		},
		"a resume that finds another log": func(e *evidence) {
			e.renumber(10)
			for _, l := range e.journals {
				l.entries = slices.Insert(l.entries, at(10), comeBack(10, protocol.NotRecovered, endE, startF)...)
			}
		},
		"a retry is answered with the first position": func(e *evidence) {
			p := e.publications[4]
			p.attempts = append([]attempt{{sent: 4 * time.Second, conn: 1, order: 5}}, p.attempts...)
			p.acks[0].duplicate = true
		},
		"a publish was refused and came later": func(e *evidence) {
			p := e.publications[4]
			p.attempts = append([]attempt{{sent: 4 * time.Second, conn: 1, order: 5, refusal: protocol.Unavailable}}, p.attempts...)
		},
		"a refused publish was stored all the same": func(e *evidence) {
			e.publications[4].acks = nil
			e.publications[4].attempts[0].refusal = protocol.Unavailable
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := story()
			doctor(e)
			for _, v := range judgeAll(*e).violations {
				t.Errorf("%s: %s", v.invariant, v.detail)
			}
		})
	}
}

// TestABrokenPromiseIsFound plants one bug at a time.
func TestABrokenPromiseIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*evidence)
		found string
	}{
		"a message is missing":        {func(e *evidence) { e.cut(7, 7) }, silentLoss},
		"the last message is missing": {func(e *evidence) { e.cut(20, 20) }, silentLoss},
		"all of a room is missing":    {func(e *evidence) { e.cut(1, 20) }, silentLoss},
		"a client never joined":       {func(e *evidence) { e.journals[0].entries = nil }, silentLoss},
		"a client joins ahead of what comes": {func(e *evidence) {
			e.cut(1, 2)
			e.journals[0].entries[0].Seq = 2
		}, silentLoss},
		"a resume skips messages": {func(e *evidence) {
			e.cut(10, 11, comeBack(12, protocol.Recovered, endE, position{Epoch: "E", Seq: 11})...)
		}, badResume},
		"a resume that is not recovered skips messages": {func(e *evidence) {
			e.cut(10, 11, comeBack(12, protocol.NotRecovered, endE, position{Epoch: "E", Seq: 11})...)
		}, silentLoss},
		"a resume promises a gap that does not come": {func(e *evidence) {
			e.journals[0].entries = slices.Insert(e.journals[0].entries, at(10), comeBack(10, protocol.NotRecovered, endE, endE)...)
		}, badResume},
		"a resume into another log is called recovered": {func(e *evidence) {
			e.renumber(10)
			for _, l := range e.journals {
				l.entries = slices.Insert(l.entries, at(10), comeBack(10, protocol.Recovered, endE, startF)...)
			}
		}, badResume},
		"a resume is answered like a first join": {func(e *evidence) {
			e.journals[0].entries = slices.Insert(e.journals[0].entries, at(10), comeBack(10, protocol.NotAsked, endE, endE)...)
		}, badResume},
		"a resume into a new log skips what that keeps": {func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: endE})
			e.journals[0].entries = slices.Delete(e.journals[0].entries, at(10), at(10)+4)
			e.journals[0].entries = slices.Insert(e.journals[0].entries, at(10), comeBack(12, protocol.NotRecovered, endE, position{Epoch: "F", Seq: 3})...)
		}, silentLoss},
		"two messages are swapped": {func(e *evidence) {
			x := e.journals[0].entries
			x[at(6)], x[at(7)] = x[at(7)], x[at(6)]
		}, disorder},
		"members see one seq as two messages": {func(e *evidence) { e.journals[0].entries[at(6)].number = 99 }, disorder},
		"members see two orders": {func(e *evidence) {
			x := e.journals[0].entries
			x[at(6)].number, x[at(7)].number = 7, 6
		}, disorder},
		"one connection's messages are stored in another order": {func(e *evidence) {
			a, b := e.publications[5], e.publications[6]
			a.attempts[0].order, b.attempts[0].order = b.attempts[0].order, a.attempts[0].order
		}, disorder},
		"a message comes before joined": {func(e *evidence) {
			x := e.journals[0].entries
			x[at(10)], e.journals[0].entries = entry{kind: left}, x
		}, disorder},
		"a message comes twice": {func(e *evidence) {
			x := e.journals[0].entries
			e.journals[0].entries = slices.Insert(x, at(7), x[at(6)])
		}, duplicate},
		"a message comes again after a resume": {func(e *evidence) {
			x := e.journals[0].entries
			again := append(comeBack(7, protocol.Recovered, position{Epoch: "E", Seq: 6}, position{Epoch: "E", Seq: 6}), x[at(6)])
			e.journals[0].entries = slices.Insert(x, at(7), again...)
		}, duplicate},
		"a retry is stored twice": {func(e *evidence) {
			p := e.publications[4]
			p.acks = append(p.acks, ack{at: 30 * time.Second, position: position{Epoch: "E", Seq: 21}})
		}, duplicate},
		"an acknowledgement names another message's place": {func(e *evidence) { e.publications[4].acks[0].Seq = 6 }, dishonest},
		"what is acknowledged was never stored": {func(e *evidence) {
			e.publications = append(e.publications, &publication{
				number: 21, room: "r",
				attempts: []attempt{{sent: 21 * time.Second, conn: 1, order: 21}},
				acks:     []ack{{at: 21 * time.Second, position: position{Epoch: "E", Seq: 21}}},
			})
		}, silentLoss},
		"an acknowledgement without a place":           {func(e *evidence) { e.publications[4].acks[0].position = position{} }, dishonest},
		"a refusal that is no refusal of the broker's": {func(e *evidence) { e.publications[4].attempts[0].refusal = protocol.Internal }, dishonest},
		"an answer that nobody waits for":              {func(e *evidence) { e.strays = []string{"two answers"} }, dishonest},
		"a gap leaves a hole before it": {func(e *evidence) {
			e.cut(3, 9, entry{kind: gap, position: position{Epoch: "E", Seq: 4}, to: 9, reason: "slow_consumer"})
		}, badGap},
		"a gap ends too early": {func(e *evidence) {
			e.cut(3, 9, entry{kind: gap, position: position{Epoch: "E", Seq: 3}, to: 8, reason: "slow_consumer"})
		}, silentLoss},
		"a gap names what was delivered": {func(e *evidence) {
			e.tell(10, entry{kind: gap, position: position{Epoch: "E", Seq: 9}, to: 9, reason: "slow_consumer"})
		}, badGap},
		"a gap names what the log still keeps": {func(e *evidence) {
			e.cut(3, 9, entry{at: 9*time.Second + 2, kind: gap, position: position{Epoch: "E", Seq: 3}, to: 9, reason: "history_lost"})
		}, badGap},
		"another epoch comes without a reset": {func(e *evidence) { e.renumber(10) }, badReset},
		"a reset gives another end": {func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: position{Epoch: "E", Seq: 5}})
		}, badReset},
		"a reset into the same epoch": {func(e *evidence) { e.tell(10, entry{kind: reset, position: endE, since: endE}) }, badReset},
		"a reset skips what the new log keeps": {func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: endE})
			e.cut(10, 12, entry{at: 12*time.Second + 3, kind: reset, position: position{Epoch: "F", Seq: 2}, since: endE})
		}, silentLoss},
		"a client stays in a log that ended": {func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: endE})
			e.journals[0].entries = e.journals[0].entries[:at(10)]
		}, silentLoss},
		"seqs are used again after the log was rewound": {func(e *evidence) {
			for _, p := range e.publications[9:] {
				p.acks[0].Seq -= 3 // the new master had not seen 7 to 9
			}
			for _, l := range e.journals {
				l.entries = slices.DeleteFunc(l.entries, func(x entry) bool { return x.Seq > 17 })
				for i := range l.entries {
					if m := &l.entries[i]; m.kind == message && m.Seq > 9 {
						m.number += 3 // 10 to 12 were taken for duplicates
					}
				}
			}
		}, dishonest},
		"a seq is used again before the log is known to be rewound": {func(e *evidence) {
			e.renumber(10)
			e.tell(10, entry{kind: reset, position: startF, since: endE})
			e.publications[10].acks[0].position = position{Epoch: "E", Seq: 7}
		}, reused},
		"an acknowledged message is lost and its seq used again": {func(e *evidence) {
			lost := &publication{number: 99, room: "r", attempts: []attempt{{sent: 7 * time.Second, conn: 2}}, acks: []ack{{at: 7 * time.Second, position: position{Epoch: "E", Seq: 7}}}}
			e.publications = append(e.publications, lost)
		}, silentLoss},
		"a client catches up too late": {func(e *evidence) {
			for i := range e.journals[0].entries {
				if m := &e.journals[0].entries[i]; m.Seq >= 16 {
					m.at += 11 * time.Second
				}
			}
		}, tooLate},
		"nothing is acknowledged after the fault": {func(e *evidence) { e.faultEnd = time.Hour }, tooLate},
	} {
		t.Run(name, func(t *testing.T) {
			e := story()
			c.plant(e)
			found := judgeAll(*e).violations
			if !slices.ContainsFunc(found, func(v violation) bool { return v.invariant == c.found }) {
				t.Errorf("no %q was found, but %v", c.found, found)
			}
		})
	}
}

// renewed is a story in which the log was rewound to E:6 after E:9, messages 10 to
// 12 were stored as E:7 to E:9 again, and it then goes on as F: a member that
// enters F behind F:9 has not had them.
func renewed() *evidence {
	e := story()
	e.renumber(10)
	for _, p := range e.publications[9:] {
		p.acks[0].Seq += 6
		if p.number < 13 {
			p.acks[0].Epoch = "E"
		}
	}
	for _, l := range e.journals {
		for i := range l.entries[at(10):] {
			l.entries[at(10)+i].Seq += 6
		}
	}
	e.tell(10, entry{kind: reset, position: position{Epoch: "F", Seq: 6}, since: endE})
	return e
}

// enter has a member enter F behind message 12.
func (e *evidence) enter(l *journal) {
	l.entries[at(10)].Seq = 9
	l.entries[at(10)].at = 12*time.Second + 3
	l.entries = slices.Delete(l.entries, at(11), at(14))
}

func TestWhatARenewedLogLetGoIsBehindItsReset(t *testing.T) {
	e := renewed()
	for _, l := range e.journals {
		e.enter(l)
	}
	v := judgeAll(*e)
	for _, x := range v.violations {
		if x.invariant != reused {
			t.Errorf("%s: %s", x.invariant, x.detail)
		}
	}
	if v.behind != 6 || v.losses != 0 {
		t.Errorf("%d behind the reset and %d lost, not 6 and 0", v.behind, v.losses)
	}
}

func TestWhatARenewedLogKeepsMustNotBeSkipped(t *testing.T) {
	e := renewed()
	e.enter(e.journals[0]) // the other member got them as F:7 to F:9
	if found := judgeAll(*e).violations; !slices.ContainsFunc(found, func(v violation) bool { return v.invariant == silentLoss }) {
		t.Errorf("no %q was found, but %v", silentLoss, found)
	}
}
