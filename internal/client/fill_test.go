package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	server "github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// realGateway starts a gateway with the embedded broker, whose members may be four
// messages behind.
func realGateway(t *testing.T) (url string, dropped func() uint64) {
	t.Helper()
	set := metrics.NewSet("test", metrics.NewLoops(1))
	history := room.History{Messages: 10_000, Bytes: 1 << 30, Age: time.Hour}
	g, err := server.New(server.Config{
		ID: "gw", Listen: "127.0.0.1:0", Loops: 1, HeartbeatInterval: time.Minute, HeartbeatTimeout: 2 * time.Minute,
		Live:    server.Live{Classes: server.Classes{{Class: room.Class{Match: "*", History: history, Slow: room.Window{Messages: 4}}}}},
		Broker:  memory.New(memory.Config{Bounds: func(string) broker.Bounds { return broker.Bounds(history) }}),
		Public:  http.NotFoundHandler(),
		Metrics: set,
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Start()
	t.Cleanup(func() { g.Stop(context.Background()) })
	return "http://" + g.Addr().String(), func() uint64 { return set.Totals().Dropped }
}

// An application that stood still misses nothing: what the gateway skipped for it
// comes from the history, in its place.
func TestWhatASlowApplicationMissedIsFilledByARealGateway(t *testing.T) {
	url, dropped := realGateway(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	slow, err := Connect(ctx, Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	r, err := slow.Join(ctx, Subscription{Room: "a", Fill: true})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := Connect(ctx, Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	data := `"` + strings.Repeat("x", 60<<10) + `"`
	last := uint64(0)
	for dropped() == 0 || last < 2*queueEvents { // until its socket and its queue are full, and beyond
		at, err := publisher.Publish(ctx, "a", []byte(data), PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		last = at.Seq
	}
	next := uint64(1)
	for e := range r.Events(ctx) {
		switch e := e.(type) {
		case Gap:
			t.Fatalf("a gap is told: %+v", e)
		case Fault:
			t.Fatal(e)
		case Message:
			if e.Seq != next {
				t.Fatalf("%d came where %d was to", e.Seq, next)
			}
			if next++; next > last {
				return
			}
		}
	}
	t.Fatal(fmt.Errorf("%d of %d came: %w", next-1, last, ctx.Err()))
}
