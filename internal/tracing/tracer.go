package tracing

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Config of a Tracer.
type Config struct {
	Sample    float64 // the share of messages that is recorded, above 0 and at most 1
	Rooms     bool    // name rooms in spans
	Queue     int     // spans that may wait to be sent, at least 1
	Collector Collector
	Broker    string // what relays: redis or memory
	Gateway   string // the gateway's id
	Version   string
	Metrics   *metrics.Traces
	Log       *slog.Logger
}

const (
	// batchMost and batchWait are when a batch is sent: with so many spans, or so long
	// after the one before.
	batchMost = 512
	batchWait = time.Second
)

// Tracer records spans. A nil one records none.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	client   *client
	bound    uint64 // what a recorded message's trace id is below, see sampled
	rooms    bool
	common   []attribute.KeyValue // of every span
}

// New makes a Tracer, which connects to its collector with the first spans.
func New(cfg Config) (*Tracer, error) {
	c, err := newClient(&cfg.Collector)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(context.Background(),
		resource.WithAttributes(semconv.ServiceName("fanfare"), semconv.ServiceVersion(cfg.Version), semconv.ServiceInstanceID(cfg.Gateway)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // the last word
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptrace.New(context.Background(), c)
	if err != nil {
		return nil, err
	}
	t := &Tracer{
		client: c,
		provider: sdktrace.NewTracerProvider(
			sdktrace.WithSampler(sdktrace.AlwaysSample()), // of what begins at all
			sdktrace.WithIDGenerator(ids{}),
			sdktrace.WithResource(about),
			sdktrace.WithSpanProcessor(newQueue(&cfg, exporter)),
		),
		bound: boundOf(cfg.Sample),
		rooms: cfg.Rooms,
		common: []attribute.KeyValue{
			semconv.MessagingSystemKey.String("fanfare"),
			attribute.String("fanfare.broker", cfg.Broker),
		},
	}
	t.tracer = t.provider.Tracer("github.com/fanfare-ws/fanfare", trace.WithInstrumentationVersion(cfg.Version))
	return t, nil
}

// Close sends what waits, until ctx ends, and ends the goroutine.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	defer context.AfterFunc(ctx, t.client.cancel)()
	// Not by ctx: it would leave the goroutine behind, which has little left to do once
	// the client gives up.
	_ = t.provider.Shutdown(context.Background())
	t.client.cancel()
}

// WithParent returns ctx with what a request says of the trace that it is of, by
// the headers of W3C Trace Context.
func WithParent(ctx context.Context, h http.Header) context.Context {
	if len(h["Traceparent"]) == 0 {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// boundOf is below what the ids of a share of all traces are.
func boundOf(share float64) uint64 { return uint64(min(max(share, 0), 1) * (1 << 63)) }

// sampled is the rule of TraceIDRatioBased: the last 63 bits decide.
func sampled(id trace.TraceID, bound uint64) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < bound
}

// newTraceID draws an id, which is not 0 as no trace's may be.
func newTraceID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

// ids gives a trace the id that was drawn for it.
type ids struct{}

type idKey struct{}

// NewIDs is sdktrace.IDGenerator's.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(idKey{}).(trace.TraceID)
	return id, ids{}.NewSpanID(ctx, id)
}

// NewSpanID is sdktrace.IDGenerator's.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
