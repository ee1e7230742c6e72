package tracing

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// BenchmarkMessage is all the spans of a message, by whether it is recorded.
func BenchmarkMessage(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	for name, share := range map[string]float64{"recorded": 1, "not": 1e-18} {
		b.Run(name, func(b *testing.B) {
			t, err := New(Config{Sample: share, Queue: 4096, Collector: Collector{URL: s.URL, Timeout: defaultTimeout},
				Metrics: new(metrics.Traces), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			r := rig{Tracer: t}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				r.say(ctx)
			}
			r.end()
		})
	}
}
