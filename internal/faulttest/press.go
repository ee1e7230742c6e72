package faulttest

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const publishersPerGateway = 2

// press is the publishers of a run and what they know. Every publisher serves
// every room, so that each room's messages come over all gateways.
type press struct {
	fleet      *fleet
	numbers    atomic.Uint64
	conns      atomic.Int64
	gateways   []string
	publishers []*publisher
	cancel     context.CancelFunc
	done       sync.WaitGroup
	quiet      atomic.Bool // nothing new is published
	ctx        context.Context

	mu sync.Mutex
	// Guarded by mu.
	strays  []string
	slowest time.Duration            // from a request to its answer
	tails   map[string]position      // newest acknowledged of each room, in the epoch acknowledged last
	tailAt  map[string]time.Duration // when that message was sent
	fresh   map[string]position      // as tails, but the oldest that was sent after mark
	mark    time.Duration            // 0: none
}

// newPress makes the publishers: rate is messages per second in all.
func newPress(f *fleet, seed uint64, gateways []string, rate int) *press {
	p := &press{fleet: f, gateways: gateways, tails: make(map[string]position), tailAt: make(map[string]time.Duration), fresh: make(map[string]position)}
	n := len(gateways) * publishersPerGateway
	for i := range n {
		p.add(seed, gateways[i%len(gateways)], schedule(rand.New(rand.NewPCG(seed, uint64(i)|1<<32))), rate/n, "")
	}
	return p
}

// schedule is the order in which a publisher serves rooms: busy ones ten times as
// often.
func schedule(r *rand.Rand) (names []string) {
	for i := range rooms {
		for range 1 + 9*boolInt(i < busyRooms) {
			names = append(names, roomName(i))
		}
	}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// add makes another publisher, of rate messages per second.
func (p *press) add(seed uint64, gateway string, rooms []string, rate int, padding string) *publisher {
	x := &publisher{
		press: p, index: len(p.publishers), home: gateway, rooms: rooms, padding: padding,
		every:  time.Second / time.Duration(max(rate, 1)),
		random: rand.New(rand.NewPCG(seed, uint64(len(p.publishers))|1<<33)),
		open:   make(map[uint64]*publication), due: make(map[uint64]time.Time),
	}
	p.publishers = append(p.publishers, x)
	return x
}

func (p *press) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx, p.cancel = ctx, cancel
	for _, x := range p.publishers {
		p.run(x)
	}
}

func (p *press) run(x *publisher) {
	p.done.Go(func() { x.connectLoop(p.ctx) })
	p.done.Go(func() { x.publishLoop(p.ctx) })
}

// extra publishes padded messages to some rooms until stop; what it published
// then still is retried until it is answered.
func (p *press) extra(seed uint64, gateway string, rooms []string, rate int, padding string) (stop func()) {
	x := p.add(seed, gateway, rooms, rate, padding)
	p.run(x)
	return func() { x.quiet.Store(true) }
}

// stop ends the publishers. What they know may be read then.
func (p *press) stop() {
	p.cancel()
	p.done.Wait()
}

// unanswered is how many messages are neither acknowledged nor given up.
func (p *press) unanswered() (n int) {
	for _, x := range p.publishers {
		x.mu.Lock()
		n += len(x.open)
		x.mu.Unlock()
	}
	return n
}

// ends is where the rooms' logs end by the acknowledgements so far.
func (p *press) ends() map[string]position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.tails)
}

// markNow makes fresh begin anew.
func (p *press) markNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark = p.fleet.clock()
	clear(p.fresh)
}

// afterMark is, for each room, a position that was acknowledged for a message
// sent after markNow, if all rooms have one.
func (p *press) afterMark() (targets map[string]position, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.fresh), len(p.fresh) == rooms
}

// publications is all that was published. After stop only.
func (p *press) publications() (all []*publication) {
	for _, x := range p.publishers {
		all = append(all, x.all...)
	}
	return all
}

func (p *press) stray(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strays = append(p.strays, line)
}

func (p *press) took(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowest = max(p.slowest, d)
}

// stored notes where a room's log ends now, by an acknowledgement of what was
// sent then.
func (p *press) stored(what *publication, sent time.Duration, at position, duplicate bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := what.room
	t := p.tails[room]
	switch {
	case t.Epoch == at.Epoch:
		t.Seq = max(t.Seq, at.Seq)
	case !duplicate && sent >= p.tailAt[room]:
		t = at
		delete(p.fresh, room)
	}
	p.tails[room], p.tailAt[room] = t, max(sent, p.tailAt[room])
	if _, has := p.fresh[room]; !has && p.mark > 0 && what.sent() >= p.mark && at.Epoch == t.Epoch {
		p.fresh[room] = at
	}
}
