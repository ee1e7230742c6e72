package gateway

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	announceEvery = 2 * time.Second
	// lease is how long a gateway that says nothing counts as alive.
	lease = 10 * time.Second
	// A gateway sheds connections while it holds more than so much of the mean, and
	// at least so many more, at most a part of its surplus in each announcement's
	// time: the others' counts are as old as that.
	shedAbove = 1.1
	shedLeast = 10
	shedPart  = 8
)

// fleet keeps this gateway's lease, and evens out the connections.
type fleet struct {
	gw     *Gateway
	fleet  broker.Fleet
	cancel context.CancelFunc
	done   sync.WaitGroup

	announced atomic.Bool // before
}

// startFleet begins to announce the gateway, where the broker is shared.
func (g *Gateway) startFleet() {
	shared, ok := g.cfg.Broker.(broker.Fleet)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{gw: g, fleet: shared, cancel: cancel}
	g.fleet = f
	f.done.Go(func() { f.run(ctx) })
	f.done.Go(func() { g.watch(ctx) })
}

// stop ends the announcements and the lease.
func (f *fleet) stop() {
	if f == nil {
		return
	}
	f.cancel()
	f.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), announceEvery)
	defer cancel()
	if err := f.fleet.Withdraw(ctx, f.gw.cfg.ID); err != nil {
		f.gw.cfg.Log.Debug("lease not withdrawn", "error", err)
	}
}

func (f *fleet) run(ctx context.Context) {
	ticks := time.NewTicker(announceEvery)
	defer ticks.Stop()
	for {
		if err := f.announce(ctx); err != nil && ctx.Err() == nil {
			f.gw.cfg.Log.Debug("not announced", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// announce renews the lease, looks at the others, and sheds what is too much.
func (f *fleet) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, announceEvery)
	defer cancel()
	g := f.gw
	m := g.member()
	if g.lookedAt() {
		m.Survey = g.survey(ctx)
	}
	own := m.Connections
	stands, err := f.fleet.Announce(ctx, m, lease)
	if err != nil {
		return err
	}
	if !stands {
		if f.announced.Load() {
			g.cfg.Log.Warn("what this gateway said of its users was lost: it is said again")
		}
		g.people.again()
	}
	if !f.announced.Swap(true) {
		g.people.namesakesAgain() // nobody asked this gateway before
	}
	members, err := f.fleet.Members(ctx)
	if err != nil {
		return err
	}
	mean, gateways := meanLoad(members, g.cfg.ID, own)
	g.cfg.Metrics.FleetGateways.Set(int64(len(members)))
	g.cfg.Metrics.FleetMean.Set(int64(math.Round(mean)))
	if g.cfg.Rebalance && gateways > 1 && !g.draining.Load() {
		g.shed(surplus(own, mean))
	}
	return nil
}

// member is what the fleet is told of this gateway.
func (g *Gateway) member() broker.Member {
	return broker.Member{
		ID: g.cfg.ID, Version: g.cfg.Version, Connections: g.Connections(),
		Rooms: int(g.cfg.Metrics.Rooms.Value()), Load: g.busy(), Draining: g.draining.Load(),
	}
}

// meanLoad is the mean of the connections of the gateways that take any. This
// one's count is own: what it has announced may be older.
func meanLoad(members []broker.Member, id string, own int) (mean float64, gateways int) {
	sum := 0
	for _, m := range members {
		switch {
		case m.Draining:
			continue
		case m.ID == id:
			sum += own
		default:
			sum += m.Connections
		}
		gateways++
	}
	return float64(sum) / float64(max(gateways, 1)), gateways
}

// surplus is how many connections to send away now.
func surplus(own int, mean float64) int {
	over := float64(own) - mean
	if float64(own) <= mean*shedAbove || over < shedLeast {
		return 0
	}
	return int(math.Ceil(over / shedPart))
}

// shed sends away n connections, in steps over the time of one announcement.
func (g *Gateway) shed(n int) {
	if n == 0 {
		return
	}
	g.cfg.Log.Info("rebalancing", "connections", g.Connections(), "sent_away", n)
	for i, s := range g.shards {
		s.loop.Post(shedSome(n*(i+1)/len(g.shards) - n*i/len(g.shards)))
	}
}

// shedSome is a post: the shard sends away so many connections at random.
type shedSome int

func (s *shard) shedSome(n int) {
	all := s.sessions()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, ses := range all[:min(n, len(all))] {
		s.sendAway(ses.conn, "rebalance")
	}
}

// lifetime is when a connection has to go that began at now, in seconds, by the
// maximum age less a random part of it, so that those who came together do not go
// together; 0 is never.
func (g *Gateway) lifetime(now int64) uint32 {
	age := g.cfg.MaxConnectionAge
	if age <= 0 {
		return 0
	}
	return inSeconds(now + int64(age) - rand.Int64N(int64(age)/5+1) + int64(time.Second) - 1)
}

// inSeconds is a time of a loop's clock that takes little room: 136 years.
func inSeconds(now int64) uint32 { return uint32(now / int64(time.Second)) }

// retire sends away the sessions that are too old.
func (s *shard) retire(now int64) {
	if s.gw.cfg.MaxConnectionAge <= 0 {
		return
	}
	for _, ses := range s.sessions() {
		if ses.until <= inSeconds(now) {
			s.sendAway(ses.conn, "age")
		}
	}
}
