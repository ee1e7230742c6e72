package swarm

import (
	"container/heap"
	"time"
)

// alarm is something to do at a moment.
type alarm struct {
	at   int64 // Unix nanoseconds
	slot uint32
	// The client's generation when it was set: one of a connection that is over
	// says nothing.
	generation uint32
	kind       alarmKind
	member     int    // of retryJoin
	number     uint64 // of retryPublish
}

type alarmKind uint8

const (
	dialNow alarmKind = iota
	leaveNow
	closeNow     // the closing handshake has taken too long
	giveUpDial   // the handshake has
	retryJoin    // a join that was refused for now
	retryPublish // a publication that was
)

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at < a[j].at }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// after sets an alarm for the client's present generation.
func (s *Swarm) after(c *client, at int64, kind alarmKind) {
	heap.Push(&s.alarms, alarm{at: at, slot: c.slot, generation: c.generation, kind: kind})
}

// within sets an alarm that is as far ahead as every one of its kind, and hardly
// ever rings: they come in order, and need no heap.
func (s *Swarm) within(c *client, now int64, kind alarmKind) {
	s.deadlines[kind] = append(s.deadlines[kind], alarm{at: now + int64(deadline[kind]), slot: c.slot, generation: c.generation, kind: kind})
}

// deadline is how far ahead the alarms of within are.
var deadline = [...]time.Duration{closeNow: 2 * time.Second, giveUpDial: dialTimeout}

// nextAlarm is when the next one may ring.
func (s *Swarm) nextAlarm(next int64) int64 {
	if len(s.alarms) > 0 {
		next = min(next, s.alarms[0].at)
	}
	for _, line := range s.deadlines {
		if len(line) > 0 {
			next = min(next, line[0].at)
		}
	}
	return next
}

// ring does what is due.
func (s *Swarm) ring(now int64) {
	for len(s.alarms) > 0 && s.alarms[0].at <= now {
		s.act(heap.Pop(&s.alarms).(alarm), now)
	}
	for kind := range s.deadlines {
		for line := s.deadlines[kind]; len(line) > 0; line = s.deadlines[kind] {
			a := line[0]
			if a.at > now && s.clients[a.slot].generation == a.generation {
				break
			}
			s.deadlines[kind] = line[1:]
			s.act(a, now)
		}
	}
}

// act does what an alarm was set for, unless its connection is over.
func (s *Swarm) act(a alarm, now int64) {
	c := &s.clients[a.slot]
	if c.generation != a.generation {
		return
	}
	switch a.kind {
	case dialNow:
		s.dial(c, now)
	case leaveNow:
		s.leave(c, now)
	case closeNow:
		s.finished(c, now)
	case giveUpDial:
		if c.state.arriving() {
			s.ended(c, ending{what: "handshake timeout"}, now)
		}
	case retryJoin:
		if c.state == open {
			s.join(c, a.member)
		}
	case retryPublish:
		if p := c.publisher.pending[a.number]; p != nil && c.state == open {
			s.send(c, p)
		}
	}
}
