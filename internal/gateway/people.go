package gateway

import (
	"context"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// people is what the gateway has to do with what the broker keeps of users. Its
// goroutines may wait for the broker; no loop waits for them.
type people struct {
	broker.People
	gw     *Gateway
	ctx    context.Context // ends with the gateway
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newPeople returns nil where the broker keeps no users.
func newPeople(g *Gateway) *people {
	kept, ok := g.cfg.Broker.(broker.People)
	if !ok {
		return nil
	}
	p := &people{People: kept, gw: g}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *people) start() {
	if p == nil {
		return
	}
	p.done.Go(func() { p.gw.readRevocations(p.ctx) })
}

// stop ends the goroutines and waits for them.
func (p *people) stop() {
	if p == nil {
		return
	}
	p.cancel()
	p.done.Wait()
}
