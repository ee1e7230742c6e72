package brokertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// patience is how long the suite waits for what must come.
const patience = 20 * time.Second

// sink records what a broker says. It copies, since slices are the broker's again
// when a call returns.
type sink struct {
	t *testing.T
	// hold, where it is not nil, blocks Published until it is closed.
	hold    chan struct{}
	holding chan struct{} // takes a value when Published is blocked; capacity 1

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced by each call
	next       int           // the next ticket
	answers    map[int][]broker.Result
	answered   int
	subscribed map[string]int
	delivered  map[string][]broker.Message
	changes    map[string][]broker.PresenceEvent
}

func newSink(t *testing.T) *sink {
	return &sink{
		t:          t,
		holding:    make(chan struct{}, 1),
		changed:    make(chan struct{}),
		answers:    make(map[int][]broker.Result),
		subscribed: make(map[string]int),
		delivered:  make(map[string][]broker.Message),
		changes:    make(map[string][]broker.PresenceEvent),
	}
}

// tickets gives each publication one.
func (s *sink) tickets(batch []broker.Publication) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	tickets := make([]int, len(batch))
	for i := range batch {
		tickets[i] = s.next
		batch[i].Ticket = s.next
		s.next++
	}
	return tickets
}

// results waits for the tickets' answers.
func (s *sink) results(tickets []int) []broker.Result {
	s.t.Helper()
	s.wait(fmt.Sprintf("%d answers", len(tickets)), func() bool {
		return !slices.ContainsFunc(tickets, func(n int) bool { return len(s.answers[n]) == 0 })
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]broker.Result, len(tickets))
	for i, n := range tickets {
		if len(s.answers[n]) != 1 {
			s.t.Fatalf("a publication has %d answers: %+v", len(s.answers[n]), s.answers[n])
		}
		results[i] = s.answers[n][0]
	}
	return results
}

// messages waits for n messages of a room, told apart by seq, and returns them.
func (s *sink) messages(room string, n int) []broker.Message {
	s.t.Helper()
	var got []broker.Message
	s.wait(fmt.Sprintf("%d messages of %s", n, room), func() bool {
		got = distinct(s.delivered[room])
		return len(got) >= n
	})
	return got
}

// distinct leaves out messages that came before.
func distinct(messages []broker.Message) []broker.Message {
	seen := make(map[broker.Position]bool, len(messages))
	var out []broker.Message
	for _, m := range messages {
		if !seen[m.Position] {
			seen[m.Position] = true
			out = append(out, m)
		}
	}
	return out
}

// wait blocks until cond, which is called under mu, holds.
func (s *sink) wait(what string, cond func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			s.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func (s *sink) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sink) Published(results []broker.Result) {
	if s.hold != nil {
		select {
		case s.holding <- struct{}{}:
		default:
		}
		<-s.hold
	}
	s.change(func() {
		for _, r := range results {
			n, ok := r.Ticket.(int)
			if !ok {
				s.t.Errorf("an answer with ticket %v: %+v", r.Ticket, r)
				continue
			}
			s.answers[n] = append(s.answers[n], r)
			s.answered++
		}
	})
}

func (s *sink) Subscribed(rooms []string) {
	s.change(func() {
		for _, room := range rooms {
			s.subscribed[room]++
		}
	})
}

func (s *sink) Deliver(messages []broker.Message) {
	s.change(func() {
		last := make(map[string]uint64)
		for _, m := range messages {
			if m.Seq <= last[m.Room] {
				s.t.Errorf("%s: seq %d behind %d in one delivery", m.Room, m.Seq, last[m.Room])
			}
			last[m.Room] = m.Seq
			s.delivered[m.Room] = append(s.delivered[m.Room], m)
		}
	})
}

func (s *sink) Reset(room string, p broker.Position) {
	s.t.Errorf("%s began anew at %+v", room, p) // no test gives a reason to
}

// presence is a broker's watcher.
func (s *sink) presence(e broker.PresenceEvent) {
	s.change(func() { s.changes[e.Room] = append(s.changes[e.Room], e) })
}
