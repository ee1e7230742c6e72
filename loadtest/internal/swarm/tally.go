package swarm

import (
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// tally is what a swarm measures.
type tally struct {
	fanned     uint64 // messages of this run that members got
	gapped     uint64 // messages that gaps had named when this round began
	longestLag time.Duration
	gateways   []seen
	byID       map[string]int32
	conns      result.Connections
	closes     map[string]int
	errors     map[string]int

	ack, lag, connect, joinTime, back, caughtUp latency.Histogram

	samples []result.Sample
	taken   int64 // when the newest sample ended; 0: none is being taken
	last    mark  // at its end
	first   mark  // when measuring began
	window  result.Window
}

// seen is one gateway as its members saw it.
type seen struct {
	id              string
	members         int
	total, interval latency.Histogram
}

// mark is counters at one moment.
type mark struct {
	at           int64
	counts       account.Counts
	broken       uint64
	opened       int
	user, system float64
}

// sampleTime is how far samples lie apart.
const sampleTime = int64(time.Second)

// mostGateways bounds what is told apart; others count as one.
const mostGateways = 64

func (t *tally) init() {
	t.closes, t.errors = make(map[string]int), make(map[string]int)
	t.byID = make(map[string]int32)
}

// gateway is the index of a gateway by the name that its welcome gives.
func (s *Swarm) gateway(id string) int32 {
	i, ok := s.byID[id]
	if !ok {
		if len(s.gateways) >= mostGateways-1 {
			id = "others"
			if i, ok = s.byID[id]; ok {
				s.gateways[i].members++
				return i
			}
		}
		i = int32(len(s.gateways))
		s.byID[id] = i
		s.gateways = append(s.gateways, seen{id: id})
	}
	s.gateways[i].members++
	return i
}

func (s *Swarm) mark(now int64) mark {
	m := mark{at: now, counts: s.book.Counts, broken: s.book.Broken(), opened: s.conns.Opened}
	m.user, m.system = processorTime()
	return m
}

// sample takes one each second from when measuring begins to the end of the run.
func (s *Swarm) sample(now int64) {
	if now < s.from {
		return
	}
	if s.taken == 0 {
		s.taken = s.from
		s.last = s.mark(now)
		s.first = s.last
		s.longestLag = 0
		s.resetIntervals()
		return
	}
	for now >= s.taken+sampleTime {
		s.taken += sampleTime
		s.samples = append(s.samples, s.take(now))
	}
}

func (s *Swarm) nextSample() int64 {
	if s.taken == 0 {
		return s.from
	}
	return s.taken + sampleTime
}

// take ends the interval.
func (s *Swarm) take(now int64) result.Sample {
	m := s.mark(now)
	l := &s.last
	elapsed := max(time.Duration(m.at-l.at).Seconds(), 1e-3)
	sample := result.Sample{
		At:           time.Duration(s.taken - s.from),
		Published:    m.counts.Published - l.counts.Published,
		Acknowledged: m.counts.Acknowledged - l.counts.Acknowledged,
		Delivered:    m.counts.Delivered - l.counts.Delivered,
		Opened:       uint64(m.opened - l.opened),
		Broken:       m.broken - min(m.broken, l.broken),
		Connections:  s.open,
		Lag:          s.longestLag,
		CPU:          (m.user + m.system - l.user - l.system) / elapsed,
	}
	for i := range s.gateways {
		sample.Latency.Merge(&s.gateways[i].interval)
	}
	s.resetIntervals()
	s.last, s.longestLag = m, 0
	return sample
}

// resetIntervals moves what the intervals counted into the totals.
func (s *Swarm) resetIntervals() {
	for i := range s.gateways {
		g := &s.gateways[i]
		g.total.Merge(&g.interval)
		g.interval.Reset()
	}
}

func (s *Swarm) closeWindow(now int64) {
	m, o := s.mark(now), &s.first
	s.window = result.Window{
		Seconds:   time.Duration(m.at - o.at).Seconds(),
		Delivered: m.counts.Delivered - o.counts.Delivered,
		Published: m.counts.Published - o.counts.Published,
		Opened:    uint64(m.opened - o.opened),
		User:      m.user - o.user,
		System:    m.system - o.system,
	}
}

// Finish closes the account and returns what this process found. The connections
// stay.
func (s *Swarm) Finish() *result.Part {
	now := s.now()
	if s.taken > 0 {
		s.taken = now
		s.samples = append(s.samples, s.take(now))
	}
	for i := range s.clients {
		if p := s.clients[i].publisher; p != nil {
			s.book.Unanswered += uint64(len(p.pending))
		}
	}
	s.book.Close(func(yield func(*account.Member)) {
		for i := range s.clients {
			for j := range s.clients[i].members {
				yield(&s.clients[i].members[j])
			}
		}
	})
	s.conns.Away = s.away()
	part := &result.Part{
		Agents: 1, Counts: s.book.Counts, Connections: s.conns, Closes: s.closes, Errors: s.errors,
		Ack: s.ack, Lag: s.lag, Connect: s.connect, Join: s.joinTime, Back: s.back, CaughtUp: s.caughtUp,
		Window: s.window, Samples: s.samples,
	}
	for i := range s.gateways {
		g := &s.gateways[i]
		part.Delivery.Merge(&g.total)
		part.Gateways = append(part.Gateways, result.Gateway{ID: g.id, Members: g.members, Delivery: g.total})
	}
	return part
}
