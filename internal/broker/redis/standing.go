package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// defaultLease is that of a gateway which says something before it is announced.
const defaultLease = 10 * time.Second

// standing is how a gateway that this broker speaks for stands in a partition: under
// which holder, and what of its calls is known to be done. Each call is numbered.
// Redis keeps the largest number that it has seen, so that a log which was rewound
// or emptied shows itself by a smaller one; and a call that was given up, and comes
// when a later one is done, is not taken.
type standing struct {
	gateway string

	order sync.Mutex // held while a call is on its way that must come after those before it

	mu     sync.Mutex
	round  int    // of the holder
	number uint64 // the last call's
	done   uint64 // the largest that is known to be done
	lost   bool   // it has to begin anew: a call was not taken, or another partition's
	lease  time.Duration
}

// errLost answers a call that was not taken: Announce says it then.
var errLost = errors.New("what the gateway said is lost, and has to be said again")

// say is what a call of a gateway begins with.
type say struct {
	holder, before string // before: the holder that this one takes over from
	done, number   uint64
	lease          time.Duration
}

func (s *say) args() []any { return []any{s.holder, s.done, s.number, milliseconds(s.lease)} }

// speak numbers a call.
func (s *standing) speak() say {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	return say{
		holder: holderOf(s.gateway, s.round), before: holderOf(s.gateway, s.round-1),
		done: s.done, number: s.number, lease: s.lease,
	}
}

// holder is the one that the gateway is now.
func (s *standing) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return holderOf(s.gateway, s.round)
}

// heard notes whether a call was taken. It returns false if the gateway is another
// holder since then.
func (s *standing) heard(said say, taken bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if said.holder != holderOf(s.gateway, s.round) {
		return false
	}
	if taken {
		s.done = max(s.done, said.number)
	} else {
		s.lost = true
	}
	return true
}

// grant sets the lease of what is said from now on.
func (s *standing) grant(lease time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = lease
}

// spoken says whether anything was ever said.
func (s *standing) spoken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number > 0
}

// lose has the gateway begin anew with the next announcement, if there is anything
// to lose.
func (s *standing) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = s.number > 0
}

// holderOf names a holder: a gateway, and a number that rises when it begins anew.
func holderOf(gateway string, round int) string { return gateway + "/" + strconv.Itoa(round) }

// gatewayOf is holderOf undone.
func gatewayOf(holder string) string {
	if i := strings.LastIndexByte(holder, '/'); i >= 0 {
		return holder[:i]
	}
	return holder
}

// standings is those of one gateway, of each partition.
type standings struct {
	of     []standing
	untold atomic.Bool // something was lost, which Announce has not said yet
}

// partitions is the shards whose keys are apart: all of them in a Cluster, else one.
func (b *Broker) partitions() []*shard {
	if b.sharded {
		return b.shards
	}
	return b.shards[:1]
}

// partition is the one of a room, or of a gateway's connections.
func (b *Broker) partition(name string) int { return int(hashOf(name) % uint64(len(b.partitions()))) }

// standings returns those of a gateway that this broker speaks for.
func (b *Broker) standings(gateway string) *standings {
	b.standingMu.Lock()
	defer b.standingMu.Unlock()
	s := b.standing[gateway]
	if s == nil {
		s = &standings{of: make([]standing, len(b.partitions()))}
		for i := range s.of {
			s.of[i].gateway, s.of[i].lease = gateway, defaultLease
		}
		b.standing[gateway] = s
	}
	return s
}

// speaksFor says whether a holder in a partition is a gateway that this broker
// speaks for, as it is now.
func (b *Broker) speaksFor(partition int, holder string) bool {
	b.standingMu.Lock()
	s := b.standing[gatewayOf(holder)]
	b.standingMu.Unlock()
	if s == nil {
		return false
	}
	return s.of[partition].holder() == holder
}

// announce renews a standing's lease. It returns true if the gateway begins anew,
// as another holder, and has to say all again.
func (b *Broker) announce(ctx context.Context, partition int, s *standing, member string) (anew bool, err error) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	lost, next := 0, holderOf(s.gateway, s.round+1)
	if s.lost {
		lost = 1
	}
	s.mu.Unlock()
	said := s.speak()
	n := b.partitions()[partition].names
	keys := append(b.fleetKeys(partition), n.active(), n.events(), n.claims(), n.released(),
		n.roomsOf(said.holder), n.connectionsOf(said.holder), n.namesOf(said.holder))
	got, err := b.run(ctx, scriptAnnounce, keys, said.holder, next, member, milliseconds(said.lease), said.done, said.number, lost)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got == int64(1) {
		s.done = max(s.done, said.number)
		return false, nil
	}
	s.round, s.done, s.lost = s.round+1, said.number, false
	return true, nil
}
