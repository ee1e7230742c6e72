package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/brokertest"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	brokertest.Run(t, func(t *testing.T, o brokertest.Options) broker.Broker {
		return memory.New(memory.Config{
			Bounds: o.Bounds, DedupWindow: o.DedupWindow, Queue: o.Queue, Events: o.Events, Now: o.Clock.Now,
		})
	})
}

func TestContractInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits a few seconds for messages to age")
	}
	brokertest.RunRealTime(t, func(t *testing.T, o brokertest.Options) broker.Broker {
		return memory.New(memory.Config{Bounds: o.Bounds, DedupWindow: o.DedupWindow, Queue: o.Queue, Events: o.Events})
	})
}
