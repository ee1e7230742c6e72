package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	drainStep = 50 * time.Millisecond
	// drainGrace is how long the last connections may take beyond the period.
	drainGrace = 5 * time.Second
	// A client is asked to wait for a random time up to a part of the period, so
	// that those sent away in one step do not come back in one.
	spreadPart  = 10
	spreadLeast = time.Second
	spreadMost  = 5 * time.Second
)

// drainBegin and drainSome are posts: the shard lists its sessions, and sends
// away one part in so many of those that are left.
type (
	drainBegin struct{}
	drainSome  int
)

// drain takes no one in any more and sends away who is there, evenly over the
// period and in no order. It returns when all have gone or their time, or ctx, is
// over.
func (g *Gateway) drain(ctx context.Context) {
	g.draining.Store(true)
	g.cfg.Metrics.Draining.Set(1)
	_ = g.acceptor.Close()
	if g.tls != nil {
		g.tls.Close()
	}
	g.cfg.Log.Info("draining", "connections", g.Connections(), "period", g.cfg.DrainPeriod)
	for _, s := range g.shards {
		s.loop.Post(drainBegin{})
	}
	steps := int(g.cfg.DrainPeriod/drainStep) + 1
	last := time.Now().Add(g.cfg.DrainPeriod + drainGrace)
	ticks := time.NewTicker(drainStep)
	defer ticks.Stop()
	for left := steps; time.Now().Before(last); left = max(left-1, 1) {
		for _, s := range g.shards {
			s.loop.Post(drainSome(left))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		g.cfg.Metrics.DrainRemaining.Set(int64(g.Connections()))
		if g.sockets() == 0 {
			return
		}
	}
	g.cfg.Log.Warn("connections cut off at the end of the drain", "connections", g.sockets())
}

// sockets is how many the loops have, those in a handshake included.
func (g *Gateway) sockets() (n int) {
	for _, s := range g.shards {
		n += s.loop.Conns()
	}
	return n
}

// sessions lists the loop's open sessions.
func (s *shard) sessions() (all []*session) {
	s.loop.Each(func(c *loop.Conn) {
		if ses, ok := c.Data.(*session); ok {
			all = append(all, ses)
		}
	})
	return all
}

func (s *shard) drainBegin() {
	s.loop.Hurry()
	s.leaving = s.leaving[:0]
	s.loop.Each(func(c *loop.Conn) { s.leaving = append(s.leaving, c) })
	rand.Shuffle(len(s.leaving), func(i, j int) { s.leaving[i], s.leaving[j] = s.leaving[j], s.leaving[i] })
}

// drainSome sends away one in left of those that are still to go. Who finished
// its handshake meanwhile is among the last.
func (s *shard) drainSome(left int) {
	if len(s.leaving) == 0 && left == 1 {
		s.drainBegin()
	}
	n := len(s.leaving) / left
	if rand.N(left) < len(s.leaving)%left { // few connections, many steps: not the first ones at once
		n++
	}
	for range n {
		last := len(s.leaving) - 1
		c := s.leaving[last]
		s.leaving[last] = nil
		s.leaving = s.leaving[:last]
		s.sendAway(c, "drain")
	}
}

// sendAway gives a connection what its rooms still have for it, asks it to
// reconnect, and closes it.
func (s *shard) sendAway(c *loop.Conn, reason string) {
	if ses, ok := c.Data.(*session); ok && ses.greeting == nil { // nothing goes before the welcome
		ses.resume()
		s.payload = protocol.AppendReconnect(s.payload[:0], s.gw.spread(), reason)
		s.send(c, s.payload)
	}
	c.Close(protocol.CloseRestart, reason, awayReasons[reason])
}

var awayReasons = map[string]metrics.CloseReason{
	"drain":     metrics.CloseDrain,
	"rebalance": metrics.CloseRebalance,
	"age":       metrics.CloseAge,
}

// spread is for how long a client that is sent away waits before it comes back.
func (g *Gateway) spread() time.Duration {
	most := min(max(g.cfg.DrainPeriod/spreadPart, spreadLeast), spreadMost)
	return rand.N(most)
}
