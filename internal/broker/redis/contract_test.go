package redis

import (
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/brokertest"
)

func TestContractStandalone(t *testing.T) {
	brokertest.RunRealTime(t, newStandalone(t))
}

func TestContractOfSeveralGatewaysStandalone(t *testing.T) {
	brokertest.RunShared(t, newStandalone(t))
}

func newStandalone(t *testing.T) brokertest.New {
	s := startServer(t)
	address := restrict(t, s)
	return func(t *testing.T, o brokertest.Options) broker.Broker {
		return proven{t, mustNew(t, Config{
			URL: address, Prefix: "fanfare:" + o.Store, Bounds: o.Bounds, DedupWindow: o.DedupWindow, Queue: o.Queue, Events: o.Events,
		})}
	}
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
