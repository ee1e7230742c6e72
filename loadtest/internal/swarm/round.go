package swarm

import (
	"errors"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
)

// Round is one of several short measurements with the same connections.
type Round struct {
	Rate     float64 // messages a second
	UnderWay int     // instead of a rate
	Lasts    time.Duration
}

// Score is what a round found.
type Score struct {
	Deliveries uint64
	Elapsed    time.Duration // to the last delivery
	Latency    latency.Histogram
	// Near is that of the members on the gateway that was published to, Far that of
	// the others'.
	Near, Far latency.Histogram
}

// lateness is how long after a round's end its last deliveries may come.
const lateness = 20 * time.Second

var errLate = errors.New("not all of a round's messages were delivered")

// Connect makes all connections, in turns on the caller's goroutine.
func (s *Swarm) Connect() error {
	for deadline := time.Now().Add(s.plan.ConnectTimeout); !s.Ready(); {
		if err := s.Turn(time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("not all are connected: " + trouble(s.errors))
		}
	}
	return nil
}

// Play plays one round of the plan's one stream, on the caller's goroutine, and
// returns when everything published is delivered. It never sleeps: a receiver that
// does makes the sender dearer by its wake-ups.
func (s *Swarm) Play(r Round) (Score, error) {
	st := s.streams[0]
	st.Rate, st.UnderWay, st.sent = r.Rate, r.UnderWay, 0
	s.plan.Warmup, s.plan.Duration, s.plan.Spin = 0, r.Lasts, true
	s.started, s.over, s.taken = false, false, 0
	s.fanned, s.gapped = 0, s.book.Gapped
	for i := range s.gateways {
		s.gateways[i].interval.Reset()
		s.gateways[i].total.Reset()
	}
	begun := time.Now()
	s.Begin(begun)
	for !s.over || s.settled() < st.sent*st.owing {
		if err := s.Turn(0); err != nil {
			return Score{}, err
		}
		if s.over && time.Since(begun) > r.Lasts+lateness {
			return Score{}, errLate
		}
	}
	score := Score{Deliveries: s.fanned, Elapsed: time.Since(begun)}
	s.resetIntervals()
	near := s.clients[st.slots[0]].gateway
	for i := range s.gateways {
		total, side := &s.gateways[i].total, &score.Far
		if int32(i) == near {
			side = &score.Near
		}
		side.Merge(total)
		score.Latency.Merge(total)
	}
	return score, nil
}

// settled is how many deliveries of this round were made, or named by gaps.
func (s *Swarm) settled() uint64 { return s.fanned + s.book.Gapped - s.gapped }

// Broken is how many promises were broken so far.
func (s *Swarm) Broken() uint64 { return s.book.Broken() }

// Seen is the epoch and the author of the newest message that was decoded.
func (s *Swarm) Seen() (epoch, author string) { return s.epoch, s.author }
