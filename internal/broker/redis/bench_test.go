package redis

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// counter is a Sink that counts.
type counter struct {
	mu        sync.Mutex
	changed   chan struct{}
	answered  int
	failed    int
	delivered int
}

func newCounter() *counter { return &counter{changed: make(chan struct{}, 1)} }

func (c *counter) Published(results []broker.Result) {
	c.mu.Lock()
	c.answered += len(results)
	for _, r := range results {
		if r.Err != nil {
			c.failed++
		}
	}
	c.mu.Unlock()
	signal(c.changed)
}
func (c *counter) Subscribed([]string)           {}
func (c *counter) Reset(string, broker.Position) {}
func (c *counter) Deliver(messages []broker.Message) {
	c.mu.Lock()
	c.delivered += len(messages)
	c.mu.Unlock()
	signal(c.changed)
}

// await waits until cond, called under mu, holds.
func (c *counter) await(cond func() bool) {
	for {
		c.mu.Lock()
		ok := cond()
		c.mu.Unlock()
		if ok {
			return
		}
		<-c.changed
	}
}

var cpuLine = regexp.MustCompile(`used_cpu_(?:sys|user):([0-9.]+)`)

// cpu is what the server has used.
func (s *server) cpu() time.Duration {
	sum := 0.0
	for _, m := range cpuLine.FindAllStringSubmatch(s.conn.Info(context.Background(), "cpu").Val(), -1) {
		v, _ := strconv.ParseFloat(m[1], 64)
		sum += v
	}
	return time.Duration(sum * float64(time.Second))
}

// BenchmarkPublish publishes 200 bytes to 100 rooms that keep 256 messages, as fast
// as the answers come, and tells what a message costs Redis: go test -bench Publish
// ./internal/broker/redis
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name       string
		id         bool
		subscribed bool
	}{{"alone", false, false}, {"with an ID", true, false}, {"with a subscriber", false, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := startServer(b)
			br, sink := mustNew(b, Config{URL: s.url()}), newCounter()
			br.Start(sink)
			defer br.Close()
			rooms := make([]string, 100)
			for i := range rooms {
				rooms[i] = "bench:" + strconv.Itoa(i)
				if c.subscribed {
					br.Subscribe(rooms[i])
				}
			}
			eventually(b, "ready", func() bool {
				return br.Ready() == nil && (!c.subscribed || br.cfg.Metrics.Subscriptions.Value() == 100)
			})
			data := []byte(`"` + strings.Repeat("x", 198) + `"`)
			b.ReportAllocs()
			cpu, sent := s.cpu(), 0
			for b.Loop() {
				p := broker.Publication{Room: rooms[sent%len(rooms)], From: "somebody", Data: data}
				if c.id {
					p.ID = strconv.Itoa(sent)
				}
				sent++
				br.Publish([]broker.Publication{p})
				if sent%1024 == 0 {
					sink.await(func() bool { return sent-sink.answered < 8192 })
				}
			}
			sink.await(func() bool { return sink.answered == sent && (!c.subscribed || sink.delivered == sent) })
			b.ReportMetric(float64((s.cpu()-cpu).Microseconds())/float64(sent), "redis-µs/op")
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "publishes/s")
			if sink.failed > 0 {
				b.Errorf("%d of %d failed", sink.failed, sent)
			}
		})
	}
}
