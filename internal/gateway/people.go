package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/loop"
)

// people is what the gateway has to do with what the broker keeps of users. Its
// goroutines may wait for the broker; no loop waits for them.
type people struct {
	broker.People
	gw     *Gateway
	ctx    context.Context // ends with the gateway
	cancel context.CancelFunc
	done   sync.WaitGroup

	informed  atomic.Bool // of what is revoked: see Gateway.uninformed
	presence  presence
	registry  *registry
	lifecycle lifecycle
}

// newPeople returns nil where the broker keeps no users.
func newPeople(g *Gateway) *people {
	kept, ok := g.cfg.Broker.(broker.People)
	if !ok {
		return nil
	}
	p := &people{People: kept, gw: g, presence: newPresence(kept.Parts()), registry: newRegistry(), lifecycle: lifecycle{wake: make(chan struct{}, 1)}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *people) start() {
	if p == nil {
		return
	}
	p.done.Go(func() { p.gw.readRevocations(p.ctx) })
	for i := range p.presence.ready {
		p.done.Go(func() { p.speak(&p.presence.ready[i]) })
	}
	p.done.Go(p.pace)
	p.done.Go(p.reap)
	p.done.Go(p.chronicle)
	if p.gw.hub.remote != nil {
		p.done.Go(p.recountLoop)
	}
	for i := range p.registry.queues {
		p.done.Go(func() { p.nameLoop(&p.registry.queues[i]) })
	}
}

// stop ends the goroutines and waits for them.
func (p *people) stop() {
	if p == nil {
		return
	}
	p.cancel()
	p.done.Wait()
	p.finish()
}

// reapEvery is how often it is looked whether another gateway has died.
const reapEvery = 2 * time.Second

// reap takes back what dead gateways said, as long as ctx lasts.
func (p *people) reap() {
	ticks := time.NewTicker(reapEvery)
	defer ticks.Stop()
	for {
		if !p.reapOnce() {
			select {
			case <-ticks.C:
			case <-p.ctx.Done():
			}
		}
		if p.ctx.Err() != nil {
			return
		}
	}
}

// reapOnce does a part of it, and returns true if there is more.
func (p *people) reapOnce() bool {
	ctx, cancel := context.WithTimeout(p.ctx, 2*rangeWait) // a part of the broker that is away takes one
	defer cancel()
	more, err := p.Reap(ctx)
	if err != nil && p.ctx.Err() == nil {
		p.gw.cfg.Log.Debug("dead gateways not reaped", "error", err)
	}
	return more
}

// again says all again: the broker has lost what it was told, or this gateway its
// lease. The connections are gone through in parts, for the guests.
func (p *people) again() {
	if p == nil {
		return
	}
	for _, r := range p.gw.hub.all() {
		p.queue(r, r.roster.again())
		r.crowd.stale()
		p.gw.hub.check(r)
	}
	p.nameAgain()
	p.namesakesAgain()
	for _, s := range p.gw.shards {
		s.loop.Post(sayAgain{})
	}
}

// sayAgain is a post: what the broker was told of the loop's connections is to be
// told again.
type sayAgain struct{}

// saySlice is how many connections are said again in a turn.
const saySlice = 512

// saySome says the next connections again, and returns true while there are more.
// Where too much is unsaid already it waits for the next tick.
func (s *shard) saySome() bool {
	if s.again < 0 || s.gw.cfg.Metrics.PresenceUnsaid.Value() > againMost {
		return false
	}
	next := s.loop.Walk(s.again, saySlice, s.sayOne)
	if s.again = next; next == 0 {
		s.again = -1
	}
	return s.again > 0
}

func (s *shard) sayOne(c *loop.Conn) {
	ses, ok := c.Data.(*session)
	if !ok || ses.greeting != nil {
		return
	}
	s.gw.people.connected(ses)
	if ses.caller != nil {
		return
	}
	for _, m := range ses.rooms {
		if m.room.listed {
			s.gw.people.queue(m.room.shared, m.room.shared.roster.guest(ses.user()))
		}
	}
}

// lists says whether the users of a room are kept.
func (p *people) lists(r *hubRoom) bool { return p != nil && r.class().Presence }
