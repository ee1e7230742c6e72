package gateway

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	// tendEvery is how often it is looked at how much memory is in use.
	tendEvery = time.Second
	// collectEvery is between two collections that being over the limit makes: what is
	// garbage must turn no one away, and not wait until something is allocated.
	collectEvery = 10 * time.Second
	// worthwhile is what a connection must hold to be ended for the sake of memory:
	// for less, its coming back costs more than it gave.
	worthwhile = 16 << 10
)

// tend keeps g.memory up to date, and forgets what budgets are as good as new,
// until ctx ends.
func (g *Gateway) tend(ctx context.Context) {
	var collected time.Time
	ticks := time.NewTicker(tendEvery)
	defer ticks.Stop()
	for now := time.Now(); ; {
		used, limit := g.inUse(), g.live().Limits.MemoryBytes
		if limit > 0 && used >= limit && now.Sub(collected) >= collectEvery {
			collected = now
			runtime.GC()
			used = g.inUse()
		}
		g.memory.Store(used)
		g.cfg.Metrics.MemoryUsed.Set(used)
		g.cfg.Metrics.UserBudgets.Set(int64(g.users.sweep(monotonic())))
		g.cfg.Metrics.AddressBudgets.Set(int64(g.addresses.sweep(monotonic())))
		g.unjoined.sweep(monotonic())
		select {
		case <-ctx.Done():
			return
		case now = <-ticks.C:
		}
	}
}

// memoryInUse is what the runtime has of the system, less what of it is free or
// given back: it sinks as soon as something is collected, while the system takes
// its time to have it. The kernel's own for sockets is not in it.
func memoryInUse() int64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64() - samples[2].Value.Uint64())
}
