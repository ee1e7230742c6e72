package redis

import (
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/brokertest"
)

func TestContractStandalone(t *testing.T) {
	s := startServer(t)
	brokertest.RunRealTime(t, func(t *testing.T, o brokertest.Options) broker.Broker {
		return proven{t, mustNew(t, Config{URL: s.url(), Bounds: o.Bounds, DedupWindow: o.DedupWindow, Queue: o.Queue})}
	})
}

// proven is a broker that is ready when Start returns.
type proven struct {
	t testing.TB
	*Broker
}

func (p proven) Start(sink broker.Sink) {
	p.Broker.Start(sink)
	eventually(p.t, "ready", func() bool { return p.Ready() == nil })
}

func mustNew(t testing.TB, cfg Config) *Broker {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
