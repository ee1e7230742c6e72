package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	namesInAll = 12
	// claimantsPerName is the one who has the name first, and its rivals.
	claimantsPerName = 3
	peopleRooms      = 3
)

// The revocations of a run: one said before the fault, of a token; one while it
// lasts, of a user; one after it, of a token.
var revocations = []string{beforeFault, duringFault, afterFault}

const (
	beforeFault = "before"
	duringFault = "during"
	afterFault  = "after"
)

// people is who is there beside the fleet to be somebody: claimants of names, and
// bearers of tokens that are revoked.
type people struct {
	// Immutable.
	seed      uint64
	clock     func() time.Duration
	gateways  []*gateway
	claimants []*claimant
	bearers   []*bearer

	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	revoked map[string]time.Duration // when each revocation was answered
}

func newPeople(seed uint64, clock func() time.Duration, gateways []*gateway) *people {
	p := &people{seed: seed, clock: clock, gateways: gateways, revoked: make(map[string]time.Duration)}
	for i := range namesInAll * claimantsPerName {
		name, rival := i%namesInAll, i/namesInAll
		var addrs []string
		for k := range gateways {
			addrs = append(addrs, gateways[(name+rival+k)%len(gateways)].addr)
		}
		p.claimants = append(p.claimants, &claimant{
			id: i, name: fmt.Sprintf("name-%d", name), room: fmt.Sprintf("people:%d", name%peopleRooms), people: p,
			gateways: addrs, fixed: rival > 0, byURL: (name+rival)/2%2 == 0,
			random: rand.New(rand.NewPCG(seed, uint64(i)|1<<34)),
		})
	}
	for _, g := range gateways {
		for _, kind := range revocations {
			b := &bearer{kind: kind, gateway: g, people: p, token: token(kind, "id-"+kind), random: rand.New(rand.NewPCG(seed, uint64(len(p.bearers))|1<<36))}
			p.bearers = append(p.bearers, b)
		}
	}
	return p
}

// start lets the people live until stop. The rivals come when the names are taken.
func (p *people) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for _, b := range p.bearers {
		p.done.Go(func() { b.run(ctx) })
	}
	for _, c := range p.claimants[:namesInAll] {
		p.done.Go(func() { c.run(ctx) })
	}
	if err := until(joinWait, "all names are taken", func() bool { return p.nameless() == "" }); err != nil {
		return err
	}
	for _, c := range p.claimants[namesInAll:] {
		p.done.Go(func() { c.run(ctx) })
	}
	return until(joinWait, "the people are there", func() bool {
		return !slices.ContainsFunc(p.claimants, func(c *claimant) bool { return c.whois() == "" }) &&
			!slices.ContainsFunc(p.bearers, func(b *bearer) bool { return !b.isIn() })
	})
}

// stop ends them. What they have seen may be read then.
func (p *people) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.done.Wait()
}

// nameless is a name that nobody has, or several; "": there is none.
func (p *people) nameless() string {
	holders := make([]int, namesInAll)
	for _, c := range p.claimants {
		if _, ok := c.has(); ok {
			holders[c.id%namesInAll]++
		}
	}
	for name, n := range holders {
		if n != 1 {
			return fmt.Sprintf("name-%d is held by %d", name, n)
		}
	}
	return ""
}

// bereave has every other one of those who have their names by a gateway not come
// back when that ends, and returns who they are.
func (p *people) bereave(g *gateway) (gone []*claimant) {
	for i, c := range p.claimants {
		if at, ok := c.has(); ok && at == g.addr && i%2 == 0 {
			c.gone.Store(true)
			gone = append(gone, c)
		}
	}
	return gone
}

// revoke says that what the bearers of a kind have is not valid any more, by the
// first gateway that takes it, and notes when it was taken.
func (p *people) revoke(ctx context.Context, kind string, first int) {
	body := fmt.Sprintf(`{"jti":"id-%s"}`, kind)
	if kind == duringFault {
		body = fmt.Sprintf(`{"user":%q}`, kind)
	}
	for i := first; ; i++ {
		if p.gateways[i%len(p.gateways)].post(ctx, "/v1/revocations", body) {
			break
		}
		if !wait(ctx, retryAfter) {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[kind] = p.clock()
}

// out says whether all bearers of a kind were sent away when they last came.
func (p *people) out(kind string) bool {
	return !slices.ContainsFunc(p.bearers, func(b *bearer) bool { return b.kind == kind && !b.isOut() })
}

// present adds who is in the rooms to the truth.
func (p *people) present(truth map[string]map[string]int) {
	for _, c := range p.claimants {
		addUser(truth, c.room, c.whois())
	}
}

func addUser(truth map[string]map[string]int, room, user string) {
	if truth[room] == nil {
		truth[room] = make(map[string]int)
	}
	if user != "" {
		truth[room][user]++
	}
}
