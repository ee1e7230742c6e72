package memory

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// counting is a Sink that says when all is answered.
type counting struct {
	left atomic.Int64
	done chan struct{}
}

func (s *counting) Published(results []broker.Result) {
	if s.left.Add(-int64(len(results))) == 0 {
		s.done <- struct{}{}
	}
}
func (s *counting) Subscribed([]string)           {}
func (s *counting) Deliver([]broker.Message)      {}
func (s *counting) Reset(string, broker.Position) {}

// publisher publishes to a number of subscribed rooms in batches.
type publisher struct {
	b     *Broker
	s     *counting
	batch []broker.Publication
}

func newPublisher(rooms, batch int) *publisher {
	p := &publisher{b: New(Config{}), s: &counting{done: make(chan struct{})}, batch: make([]broker.Publication, batch)}
	for i := range p.batch {
		name := fmt.Sprint("room", i%rooms)
		p.batch[i] = broker.Publication{Room: name, From: "someone", Data: []byte(`{"text":"hello"}`)}
		p.b.Subscribe(name)
	}
	p.b.Start(p.s)
	return p
}

// publish publishes n batches, as many as the queue takes at once, and waits for
// their answers.
func (p *publisher) publish(n int) {
	atOnce := 32768 / len(p.batch)
	for ; n > 0; n -= atOnce {
		batches := min(n, atOnce)
		p.s.left.Store(int64(batches * len(p.batch)))
		for range batches {
			p.b.Publish(p.batch)
		}
		<-p.s.done
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct{ rooms, batch int }{{1, 1}, {1, 64}, {64, 64}, {1024, 1024}} {
		b.Run(fmt.Sprintf("rooms=%d/batch=%d", c.rooms, c.batch), func(b *testing.B) {
			p := newPublisher(c.rooms, c.batch)
			defer p.b.Close()
			p.publish(300)
			b.ReportAllocs()
			b.ResetTimer()
			p.publish(b.N/c.batch + 1) // b.N counts messages
		})
	}
}

func BenchmarkPublishWithIDs(b *testing.B) {
	p := newPublisher(64, 64)
	defer p.b.Close()
	ids := make([]string, 1<<20)
	for i := range ids {
		ids[i] = fmt.Sprintf("01890a5d-ac96-774b-bcce-%012x", i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for range b.N/64 + 1 {
		for i := range p.batch {
			p.batch[i].ID = ids[n%len(ids)]
			n++
		}
		p.publish(1)
	}
}

func BenchmarkRange(b *testing.B) {
	p := newPublisher(1, 256)
	defer p.b.Close()
	p.publish(2)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.b.Range(b.Context(), broker.Query{Room: "room0", Limit: 100, Newest: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRebound(b *testing.B) {
	const rooms = 100_000
	kept := broker.Bounds{Messages: 256, Age: time.Hour}
	m := New(Config{Bounds: func(string) broker.Bounds { return kept }})
	for i := range rooms {
		name := fmt.Sprint("room", i)
		s, at := m.shardOf(name)
		m.create(s, at, name)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.rebound()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rooms, "ns/room")
}

func TestPublishingAllocatesNothingOnceARoomIsFull(t *testing.T) {
	p := newPublisher(8, 64)
	defer p.b.Close()
	p.publish(300)
	perBatch := testing.AllocsPerRun(200, func() { p.publish(1) })
	if perBatch > 1 {
		t.Errorf("%v allocations for a batch of 64 messages", perBatch)
	}
}
