package main

import (
	"context"
	"os"
	"time"

	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// flushTime bounds what a gateway that has drained waits for the collector of its
// last spans: a part of what orchestrators grant beyond the drain.
const flushTime = 2 * time.Second

// newTracer makes what records messages; nil where nothing is recorded.
func newTracer(c *config.Config, p parts) (*tracing.Tracer, error) {
	if c.Tracing.Sample == 0 {
		return nil, nil
	}
	collector, err := tracing.FromEnvironment(c.Tracing.Endpoint, os.Getenv)
	if err != nil {
		return nil, err
	}
	broker := "memory"
	if c.Redis.Shared() {
		broker = "redis"
	}
	return tracing.New(tracing.Config{
		Sample: c.Tracing.Sample, Rooms: c.Tracing.Rooms, Queue: c.Tracing.Queue, Collector: collector,
		Broker: broker, Gateway: p.id, Version: readBuild().Version, Metrics: &p.set.Traces, Log: p.log,
	})
}

// endTraces sends what is still to be sent.
func (p *parts) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	p.tracer.Close(ctx)
}
