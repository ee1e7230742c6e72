package redis

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const (
	// subscribeMost names go into one (S)SUBSCRIBE: its answers come in one run, and
	// the server is not held up by it.
	subscribeMost = 512
	// gather is for how long joins and leaves are waited for before they are sent.
	gather = 2 * time.Millisecond
	// Between two connections.
	redialBase, redialCap = 50 * time.Millisecond, 2 * time.Second
)

// shard subscribes a part of the rooms.
type shard struct {
	// Immutable.
	b       *Broker
	index   int
	names   names
	probing string   // the probe channel: of this connection only
	fixed   []string // channels that are no rooms'
	inbox   inbox
	changed chan struct{} // capacity 1: rooms have to be joined or left
	moved   chan struct{} // capacity 1: the master is another server
	fence   fence

	started time.Time
	proof   atomic.Int64  // time of the last proof since started; 0: none yet
	link    atomic.Uint64 // number of the connection
	probes  atomic.Bool   // a probe is being published

	mu      sync.Mutex
	rooms   map[string]*subscription
	pending map[string]struct{} // rooms whose state is to be looked at
	last    string              // what went wrong last
}

// subscription is what is wanted of a room, and what Redis was told.
type subscription struct {
	wanted    bool
	sent      bool // subscribed on this connection
	confirmed bool // and Redis said so
	leaving   int  // unsubscriptions that Redis has not confirmed
}

func newShard(b *Broker, index int, n names) *shard {
	s := &shard{
		b: b, index: index, names: n, changed: make(chan struct{}, 1), moved: make(chan struct{}, 1), started: time.Now(),
		rooms: make(map[string]*subscription), pending: make(map[string]struct{}),
		last: "no connection yet",
	}
	s.probing = n.probe(fmt.Sprintf("%s.%d", b.id, index))
	s.fixed = []string{s.probing}
	if index == 0 {
		s.fixed = append(s.fixed, n.control())
	}
	s.fence.init()
	s.inbox = inbox{
		limit: b.cfg.Inbox, limitBytes: b.cfg.InboxBytes, dropped: &b.cfg.Metrics.Dropped,
		wake: make(chan struct{}, 1),
	}
	return s
}

// want asks for a room's messages, or no longer.
func (s *shard) want(room string, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.rooms[room]
	if sub == nil {
		if !wanted {
			return
		}
		sub = new(subscription)
		s.rooms[room] = sub
	}
	again := wanted && sub.wanted && sub.confirmed
	sub.wanted = wanted
	if again || wanted && sub.sent && sub.confirmed {
		s.inbox.put(item{kind: itemConfirmed, room: room})
		return
	}
	s.pending[room] = struct{}{}
	signal(s.changed)
}

// wanted returns the rooms.
func (s *shard) wanted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := make([]string, 0, len(s.rooms))
	for room, sub := range s.rooms {
		if sub.wanted {
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// unproven is how long delivery has not been proven.
func (s *shard) unproven() time.Duration {
	return time.Since(s.started) - time.Duration(s.proof.Load())
}

func (s *shard) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// run keeps a connection, for ever: each is made from the name on.
func (s *shard) run() {
	wait := redialBase
	for {
		before := s.proof.Load()
		why, err := s.serve()
		if s.b.ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		s.last = err.Error()
		s.mu.Unlock()
		s.b.cfg.Metrics.Reconnected(why)
		s.b.fencing.suspect(&s.fence)
		if s.proof.Load() != before {
			wait = redialBase
			s.b.cfg.Log.Warn("subscriber ended", "shard", s.index, "error", err)
		} else {
			s.b.cfg.Log.Debug("subscriber not made", "shard", s.index, "error", err)
		}
		if !s.b.pauseUntil(jitter(wait), s.moved) {
			return
		}
		if wait = min(2*wait, redialCap); s.b.master.after(time.Now().Add(-fresh)) {
			wait = redialBase // the new one is there
		}
		s.b.reload()
	}
}

// serve makes one connection and works it until it ends.
func (s *shard) serve() (metrics.ReconnectReason, error) {
	l, err := s.dial()
	if err != nil {
		return metrics.ReconnectDial, fmt.Errorf("subscribe: %w", err)
	}
	defer l.close()
	s.forgetSent()
	defer s.forgetSent()
	ticks := time.NewTicker(s.b.cfg.ProbeInterval)
	defer ticks.Stop()
	for {
		select {
		case <-s.b.ctx.Done():
			return 0, s.b.ctx.Err()
		case <-l.ended:
			return l.why, l.err
		case <-l.open:
			l.open = nil
			s.probe(l.number)
			s.b.fencing.suspect(&s.fence)
		case <-s.moved:
			if s.b.master.after(l.made) {
				return metrics.ReconnectMoved, errDemoted
			}
		case <-ticks.C:
			if s.unproven() > s.b.cfg.ProbeTimeout && time.Since(l.made) > s.b.cfg.ProbeTimeout {
				return metrics.ReconnectProbe, fmt.Errorf("no probe came back for %v", s.unproven().Round(time.Millisecond))
			}
			s.probe(l.number)
		case <-s.changed:
			if !s.b.pause(gather) {
				return 0, s.b.ctx.Err()
			}
			if err := s.reconcile(l); err != nil {
				return metrics.ReconnectWrite, fmt.Errorf("subscribe: %w", err)
			}
		}
	}
}

// forgetSent begins or ends a connection: Redis knows of no room.
func (s *shard) forgetSent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for room, sub := range s.rooms {
		if sub.confirmed {
			s.b.cfg.Metrics.Subscriptions.Add(-1)
		}
		*sub = subscription{wanted: sub.wanted}
		if !sub.wanted {
			delete(s.rooms, room)
			continue
		}
		s.pending[room] = struct{}{}
	}
	if len(s.pending) > 0 {
		signal(s.changed)
	}
}

// reconcile tells Redis what has changed, in batches.
func (s *shard) reconcile(l *link) error {
	for {
		joins, leaves := s.changes()
		if len(joins)+len(leaves) == 0 {
			return nil
		}
		begun := time.Now()
		err := l.leave(leaves)
		if err == nil {
			err = l.join(joins)
		}
		s.b.cfg.Metrics.Command(metrics.RedisSubscribe, time.Since(begun), err != nil)
		if err != nil {
			return err
		}
	}
}

// changes takes up to subscribeMost rooms that are to be joined or left, and notes
// them as sent.
func (s *shard) changes() (joins, leaves []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for room := range s.pending {
		if len(joins) == subscribeMost || len(leaves) == subscribeMost {
			break
		}
		delete(s.pending, room)
		switch sub := s.rooms[room]; {
		case sub == nil:
		case sub.wanted && !sub.sent:
			sub.sent = true
			joins = append(joins, s.names.channel(room))
		case !sub.wanted && sub.sent:
			if sub.confirmed {
				s.b.cfg.Metrics.Subscriptions.Add(-1)
			}
			sub.sent, sub.confirmed = false, false
			sub.leaving++
			leaves = append(leaves, s.names.channel(room))
		case !sub.wanted && sub.leaving == 0:
			delete(s.rooms, room)
		}
	}
	return joins, leaves
}

// subscribed notes Redis's confirmation, which comes from the reader.
func (s *shard) subscribed(room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.rooms[room]
	if sub == nil || !sub.sent {
		return
	}
	if !sub.confirmed {
		sub.confirmed = true
		s.b.cfg.Metrics.Subscriptions.Add(1)
	}
	s.inbox.put(item{kind: itemConfirmed, room: room})
}

// unsubscribed notes that Redis ended a subscription, and returns whether it was
// asked to.
func (s *shard) unsubscribed(room string) (asked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.rooms[room]
	if sub == nil || sub.leaving == 0 {
		return false
	}
	sub.leaving--
	if !sub.wanted && !sub.sent && sub.leaving == 0 {
		delete(s.rooms, room)
	}
	return true
}
