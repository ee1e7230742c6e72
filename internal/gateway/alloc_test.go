package gateway

import (
	"runtime"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// fanout is a room with members that throw away what they get, and a function
// that delivers one message to it and waits until all have been written to.
func fanout(tb testing.TB, s *service, members int) (deliver func()) {
	frames := func() (n uint64) {
		for _, l := range s.set.Loops() {
			n += l.FramesSent.Value()
		}
		return n
	}
	for range members {
		c := s.connect(dialing{path: "/ws?room=r"})
		c.expect("joined")
		_ = c.conn.SetReadDeadline(time.Time{})
		go func() {
			for {
				if _, err := c.conn.Read(c.buf); err != nil {
					return
				}
			}
		}()
	}
	epoch := s.tail("r").Epoch
	messages := []broker.Message{{Room: "r", Position: broker.Position{Epoch: epoch}, Time: 1, From: "x", Data: []byte(`{"text":"hello"}`)}}
	return func() {
		want := frames() + uint64(members)
		messages[0].Seq++
		s.gw.hub.Deliver(messages)
		for frames() < want {
			runtime.Gosched()
		}
	}
}

// A broadcast costs the same few allocations, at most, however many receive it.
func TestADeliveryAllocatesNothing(t *testing.T) {
	needsPlain(t) // the members, in this process, would allocate what they read
	const members = 200
	s := run(t)
	deliver := fanout(t, s, members)
	for range 50 {
		deliver() // buffers grow to their size
	}
	if n := testing.AllocsPerRun(200, deliver); n > members/50 {
		t.Errorf("%v allocations for %d deliveries", n, members)
	}
}

func BenchmarkFanout(b *testing.B) {
	const members = 500
	s := run(b)
	deliver := fanout(b, s, members)
	b.ReportAllocs()
	for b.Loop() {
		deliver()
	}
	b.ReportMetric(float64(b.N)*members/b.Elapsed().Seconds(), "deliveries/s")
}
