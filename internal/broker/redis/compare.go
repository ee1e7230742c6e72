package redis

import (
	"slices"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// compareRetry is between two tries to compare rooms while Redis is away.
const compareRetry = 200 * time.Millisecond

// fencing renews logs that were found to be rewound, and compares after each end of
// a connection what is known of rooms. It has a goroutine of its own, since it waits
// for Redis.
type fencing struct {
	b    *Broker
	wake chan struct{} // capacity 1

	working sync.Mutex // held while rooms are compared and renewed

	mu     sync.Mutex
	doubts []doubt // each epoch of a room once
}

func (x *fencing) init(b *Broker) { x.b, x.wake = b, make(chan struct{}, 1) }

// renew never blocks.
func (x *fencing) renew(doubts ...doubt) {
	if len(doubts) == 0 {
		return
	}
	x.mu.Lock()
	for _, d := range doubts {
		if !slices.Contains(x.doubts, d) {
			x.doubts = append(x.doubts, d)
		}
	}
	x.mu.Unlock()
	signal(x.wake)
}

// suspect has the shard's rooms compared.
func (x *fencing) suspect(f *fence) {
	if f.suspect(time.Now(), suspectFor) {
		signal(x.wake)
	}
}

func (x *fencing) run() {
	sweeps := time.NewTicker(fenceLife / 5)
	defer sweeps.Stop()
	for {
		select {
		case <-x.b.ctx.Done():
			return
		case now := <-sweeps.C:
			for _, s := range x.b.shards {
				s.fence.sweep(now)
			}
		case <-x.wake:
			if !x.work() && x.b.pause(compareRetry) {
				signal(x.wake)
			}
		}
	}
}

// work returns false if some is left to do.
func (x *fencing) work() (done bool) {
	x.working.Lock()
	defer x.working.Unlock()
	done = true
	for _, s := range x.b.shards {
		if err := x.compare(s); err != nil {
			x.b.cfg.Log.Debug("rooms not compared", "shard", s.index, "error", err)
			done = false
		}
	}
	x.mu.Lock()
	doubts := x.doubts
	x.doubts = nil
	x.mu.Unlock()
	for i, d := range doubts {
		if err := x.b.Renew(x.b.ctx, d.room, d.epoch); err != nil {
			x.renew(doubts[i:]...)
			return false
		}
	}
	return done
}

// compare reads the shard's rooms that are suspected. Tails and Range find what
// contradicts.
func (x *fencing) compare(s *shard) error {
	rooms := s.fence.suspects()
	if len(rooms) == 0 {
		return nil
	}
	beliefs := make([]known, len(rooms))
	for i, room := range rooms {
		beliefs[i] = s.fence.belief(room)
	}
	tails, err := x.b.Tails(x.b.ctx, rooms)
	if err != nil {
		return err
	}
	for i, room := range rooms {
		k, t := &beliefs[i], &tails[i]
		for _, p := range slices.Compact([]place{k.suspect, k.acked}) {
			if p.seq == 0 || p.seq >= t.Seq || t.Epoch != k.epoch || k.own >= k.acked.stamp {
				continue // the end itself was compared; what came back is the receiver's to compare
			}
			if _, err := x.b.Range(x.b.ctx, broker.Query{Room: room, After: p.seq - 1, Limit: 1}); err != nil {
				return err
			}
		}
		s.fence.cleared(room, k.suspect)
	}
	return nil
}
