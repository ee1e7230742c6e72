package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// complainEvery is how often it is said that spans cannot be sent.
const complainEvery = time.Minute

// queue bounds what waits in the SDK's batches, which would drop without a word.
type queue struct {
	sdktrace.SpanProcessor
	limit   int64
	waiting atomic.Int64 // ended and not sent
	metrics *metrics.Traces
}

// newQueue makes the queue before an exporter.
func newQueue(cfg *Config, exporter sdktrace.SpanExporter) *queue {
	q := &queue{limit: int64(cfg.Queue), metrics: cfg.Metrics}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(
		&outlet{SpanExporter: exporter, queue: q, log: cfg.Log, now: time.Now},
		sdktrace.WithMaxQueueSize(cfg.Queue),
		sdktrace.WithMaxExportBatchSize(min(batchMost, cfg.Queue)),
		sdktrace.WithBatchTimeout(batchWait),
		sdktrace.WithExportTimeout(0), // the client's
	)
	return q
}

// OnEnd is sdktrace.SpanProcessor's.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > q.limit {
		q.waiting.Add(-1)
		q.metrics.Dropped(metrics.TraceQueue, 1)
		return
	}
	q.metrics.Waiting.Set(q.waiting.Load())
	q.SpanProcessor.OnEnd(s)
}

// outlet sends batches and counts what became of them. It belongs to the SDK's one
// goroutine.
type outlet struct {
	sdktrace.SpanExporter
	queue *queue
	log   *slog.Logger
	now   func() time.Time

	failing    bool
	complained time.Time
	lost       int // spans, since it was last said
}

// ExportSpans is sdktrace.SpanExporter's. Errors end here: the SDK would write them
// to a log of its own.
func (o *outlet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := o.SpanExporter.ExportSpans(ctx, spans)
	o.queue.metrics.Waiting.Set(o.queue.waiting.Add(-int64(len(spans))))
	if err == nil {
		o.queue.metrics.Sent.Add(len(spans))
		if o.failing {
			o.failing = false
			o.log.Info("traces are sent again", "spans_lost", o.lost)
			o.lost = 0
		}
		return nil
	}
	o.queue.metrics.Dropped(metrics.TraceSend, len(spans))
	o.lost += len(spans)
	if now := o.now(); !o.failing || now.Sub(o.complained) >= complainEvery {
		o.failing, o.complained = true, now
		o.log.Warn("traces not sent", "spans_lost", o.lost, "error", err)
		o.lost = 0
	}
	return nil
}
