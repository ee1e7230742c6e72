package tracing

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	collectortest "github.com/fanfare-ws/fanfare/internal/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Tracer and what it counts and logs.
type rig struct {
	*Tracer
	metrics metrics.Traces
	log     journal
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newRig records every message, unless change says otherwise.
func newRig(t *testing.T, url string, change ...func(*Config)) *rig {
	t.Helper()
	r := new(rig)
	cfg := Config{
		Sample: 1, Queue: 1000, Collector: Collector{URL: url, Timeout: 10 * time.Second},
		Broker: "memory", Gateway: "gw", Version: "v1", Metrics: &r.metrics, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if r.Tracer, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	return r
}

// end gives up on what is not sent.
func (r *rig) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Close(ctx)
}

// flush sends all, for which there is time.
func (r *rig) flush(t *testing.T) {
	t.Helper()
	r.Close(t.Context())
}

func message() Message { return Message{Room: "news:today", Class: "news:*", Bytes: 7} }

// say records a message from end to end.
func (r *rig) say(ctx context.Context) {
	p := r.Publish(ctx, ViaAPI, message)
	if p == nil {
		return
	}
	at := Position{Epoch: "e", Seq: 9}
	place := p.Relay()
	p.Relayed(Stored, at)
	p.End(Stored, at)
	now := time.Now()
	r.Receive(Arrival{Message: message(), Position: at, Place: place, Published: now.Add(-3 * time.Millisecond), Arrived: now}).
		FanOut(Delivery{Members: 4, Behind: 1, Dropped: 2, Bytes: 300, Loops: 2})
}

func TestAMessageIsOneTraceFromItsPublicationToItsMembers(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=chat")
	c := collectortest.New(t)
	r := newRig(t, c.URL+tracesPath)
	r.say(t.Context())
	r.flush(t)
	all := c.Spans()
	if len(all) != 4 {
		t.Fatalf("%d spans: %+v", len(all), all)
	}
	parent := ""
	for i, want := range []struct {
		name, kind string
		attributes map[string]string
	}{
		{"publish", "server", map[string]string{"fanfare.outcome": "stored", "fanfare.via": "api", "messaging.operation.type": "send"}},
		{"relay", "producer", map[string]string{"fanfare.outcome": "stored", "messaging.operation.type": "send"}},
		{"receive", "consumer", map[string]string{"fanfare.relay.lag_ms": "3", "messaging.operation.type": "receive"}},
		{"fan-out", "internal", map[string]string{"fanfare.members": "4", "fanfare.members.behind": "1", "fanfare.frames.dropped": "2",
			"fanfare.bytes": "300", "fanfare.loops": "2", "messaging.operation.type": "process"}},
	} {
		s := all[i]
		if s.Name != want.name+" news:*" || s.Kind != want.kind || s.Trace != all[0].Trace || s.Parent != parent || s.End.Before(s.Begin) || s.Error {
			t.Errorf("span %d: %+v", i, s)
		}
		parent = s.ID
		for _, common := range [][2]string{
			{"messaging.system", "fanfare"}, {"fanfare.broker", "memory"}, {"messaging.operation.name", want.name},
			{"messaging.destination.template", "news:*"}, {"messaging.message.body.size", "7"},
			{"messaging.message.id", "e:9"}, {"fanfare.message.seq", "9"},
		} {
			want.attributes[common[0]] = common[1]
		}
		for key, value := range want.attributes {
			if s.Attributes[key] != value {
				t.Errorf("span %s: %s is %q, want %q", s.Name, key, s.Attributes[key], value)
			}
		}
		if len(s.Attributes) != len(want.attributes) {
			t.Errorf("span %s has other attributes than expected: %v", s.Name, s.Attributes)
		}
		if s.Resource["service.name"] != "chat" || s.Resource["service.instance.id"] != "gw" || s.Resource["service.version"] != "v1" ||
			s.Resource["deployment.environment.name"] != "test" {
			t.Errorf("sent by %v", s.Resource)
		}
	}
	if c.Says("today") {
		t.Error("a room is named")
	}
	if sent := r.metrics.Sent.Value(); sent != 4 || r.metrics.Waiting.Value() != 0 {
		t.Errorf("%d sent, %d waiting", sent, r.metrics.Waiting.Value())
	}
}

func TestRoomsAreNamedWhereThatIsAskedFor(t *testing.T) {
	c := collectortest.New(t)
	r := newRig(t, c.URL+tracesPath, func(c *Config) { c.Rooms = true })
	r.say(t.Context())
	r.flush(t)
	for _, s := range c.Spans() {
		if s.Attributes["messaging.destination.name"] != "news:today" || s.Name != s.Attributes["messaging.operation.name"]+" news:*" {
			t.Errorf("%+v", s)
		}
	}
}

func TestTheCallersTraceGoesOnIfItIsSampled(t *testing.T) {
	c := collectortest.New(t)
	r := newRig(t, c.URL+tracesPath, func(c *Config) { c.Sample = 1e-18 }) // none by itself
	for _, parent := range []string{
		"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
		"00-1123456789abcdef0123456789abcdef-0123456789abcdef-00", // not sampled
		"00-2123456789abcdef0123456789abcdef-0000000000000000-01", // not a span
		"junk", "",
	} {
		h := http.Header{}
		h.Set("Traceparent", parent)
		r.say(WithParent(t.Context(), h))
	}
	r.flush(t)
	all := c.Spans()
	if len(all) != 4 || all[0].Parent != "0123456789abcdef" {
		t.Fatalf("%+v", all)
	}
	for _, s := range all {
		if s.Trace != "0123456789abcdef0123456789abcdef" {
			t.Errorf("%+v", s)
		}
	}
}

func TestEachOutcomeIsTold(t *testing.T) {
	c := collectortest.New(t)
	r := newRig(t, c.URL+tracesPath)
	outcomes := []Outcome{Stored, Duplicate, Unavailable, Forbidden, RateLimited}
	for _, o := range outcomes {
		p := r.Publish(t.Context(), ViaWebSocket, message)
		p.End(o, Position{"e", 1})
	}
	r.flush(t)
	for i, s := range c.Spans() {
		o := outcomes[i]
		taken := o == Stored || o == Duplicate
		if s.Attributes["fanfare.outcome"] != string(o) || s.Error != (o == Unavailable) ||
			(s.Attributes["error.type"] == string(o)) == taken || (s.Attributes["messaging.message.id"] == "e:1") != taken {
			t.Errorf("%s: %+v", o, s)
		}
	}
}

func TestNothingIsRecordedWithoutATracer(t *testing.T) {
	var tracer *Tracer
	n := testing.AllocsPerRun(100, func() {
		p := tracer.Publish(t.Context(), ViaWebSocket, message)
		p.Relayed(Stored, Position{})
		p.End(Stored, Position{})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	tracer.Close(t.Context())
}

// What is not sampled costs its id, and no memory.
func TestWhatIsNotSampledAllocatesNothing(t *testing.T) {
	c := collectortest.New(t)
	r := newRig(t, c.URL+tracesPath, func(c *Config) { c.Sample = 1e-18 })
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		p := r.Publish(ctx, ViaWebSocket, message)
		p.Relayed(Stored, Position{})
		p.End(Stored, Position{})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.flush(t)
	if got := c.Requests(); len(got) != 0 {
		t.Errorf("%d requests without a span", len(got))
	}
}

// The ids are drawn from one seed: the same are sampled each time, and those that
// the SDK's own sampler takes.
func TestTheShareThatIsSampledIsTheOneAskedFor(t *testing.T) {
	const n = 200_000
	for _, share := range []float64{0, 0.001, 0.01, 0.25, 1} {
		draw, bound, sampler, taken := rand.New(rand.NewPCG(1, 2)), boundOf(share), sdktrace.TraceIDRatioBased(share), 0
		for range n {
			var id trace.TraceID
			binary.BigEndian.PutUint64(id[:], draw.Uint64())
			binary.BigEndian.PutUint64(id[8:], draw.Uint64())
			is := sampled(id, bound)
			if is {
				taken++
			}
			if want := sampler.ShouldSample(sdktrace.SamplingParameters{TraceID: id}).Decision == sdktrace.RecordAndSample; is != want {
				t.Fatalf("share %v: %v is %v", share, id, is)
			}
		}
		if got := float64(taken) / n; got < 0.8*share || got > 1.2*share {
			t.Errorf("share %v: %v", share, got)
		}
	}
	if id := newTraceID(); !id.IsValid() || id == newTraceID() {
		t.Errorf("drawn: %v", id)
	}
}

// until waits for a condition that something else brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-ticks.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A collector that hangs fills the queue; what is more is counted, nobody waits, and
// the end does not take longer than it may.
func TestACollectorThatHangsHoldsNobodyUp(t *testing.T) {
	hanging, release := make(chan struct{}, 100), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hanging <- struct{}{}
		<-release
	}))
	defer s.Close()
	defer close(release)
	r := newRig(t, s.URL, func(c *Config) { c.Queue = 10 })
	for range 10 {
		r.say(t.Context())
	}
	if n := r.metrics.Drops(metrics.TraceQueue); n != 30 || r.metrics.Waiting.Value() != 10 {
		t.Errorf("%d dropped, %d wait", n, r.metrics.Waiting.Value())
	}
	<-hanging
	r.say(t.Context())
	if n := r.metrics.Drops(metrics.TraceQueue); n != 34 {
		t.Errorf("%d dropped: what is being sent is of the queue too", n)
	}
	r.end()
	if n := r.metrics.Drops(metrics.TraceSend); n != 10 {
		t.Errorf("%d were given up", n)
	}
	if log := r.log.String(); strings.Count(log, "traces not sent") != 1 || !strings.Contains(log, "spans_lost=10") {
		t.Errorf("log: %s", log)
	}
}

// A collector that is down is tried again, until it is there or its time is over.
func TestACollectorThatComesBackGetsWhatWaits(t *testing.T) {
	c := collectortest.New(t)
	c.Refuse(http.StatusServiceUnavailable)
	r := newRig(t, c.URL+tracesPath)
	r.say(t.Context())
	until(t, "a try", func() bool { return len(c.Requests()) > 0 })
	c.Refuse(0)
	r.flush(t)
	if len(c.Spans()) != 4 || r.metrics.Drops(metrics.TraceSend) != 0 || r.log.String() != "" {
		t.Errorf("%d spans, log %s", len(c.Spans()), &r.log)
	}
}

func TestARefusalIsFinalAndSaysNothingOfTheEndpoint(t *testing.T) {
	c := collectortest.New(t)
	c.Refuse(http.StatusUnauthorized)
	r := newRig(t, strings.Replace(c.URL, "http://", "http://user:secret1@", 1)+tracesPath+"?key=secret2", func(c *Config) {
		c.Collector.Headers = map[string]string{"Authorization": "Bearer secret3"}
		c.Collector.Gzip = true
	})
	r.say(t.Context())
	r.flush(t)
	if got := c.Requests(); len(got) != 1 || got[0].Get("Authorization") != "Bearer secret3" {
		t.Errorf("requests: %v", got)
	}
	if log := r.log.String(); !strings.Contains(log, "401 Unauthorized") || strings.Contains(log, "secret") {
		t.Errorf("log: %s", log)
	}
}

func TestNobodyListeningIsSaidWithoutTheEndpointsCredentials(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	r := newRig(t, "http://user:secret@"+ln.Addr().String()+"/secret", func(c *Config) { c.Collector.Timeout = 10 * time.Millisecond })
	r.say(t.Context())
	r.flush(t)
	if log := r.log.String(); !strings.Contains(log, "traces not sent") || strings.Contains(log, "secret") {
		t.Errorf("log: %s", log)
	}
	if n := r.metrics.Drops(metrics.TraceSend); n != 4 {
		t.Errorf("%d dropped", n)
	}
}

// broken is an exporter that fails as it is told.
type broken struct{ err error }

func (b *broken) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return b.err }
func (*broken) Shutdown(context.Context) error                               { return nil }

func TestAnOutageIsSaidOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, b := new(journal), &broken{context.DeadlineExceeded}
		o := &outlet{SpanExporter: b, queue: &queue{metrics: new(metrics.Traces)}, log: slog.New(slog.NewTextHandler(log, nil)), now: time.Now}
		send := func() { _ = o.ExportSpans(t.Context(), tracetest.SpanStubs{{}, {}}.Snapshots()) }
		for range 61 { // every 2 s, for 2 minutes
			send()
			<-time.After(2 * time.Second)
		}
		b.err = nil
		send()
		send()
		said := log.String()
		for part, times := range map[string]int{"level=WARN": 3, "spans_lost=2 ": 1, "spans_lost=60 ": 2, "traces are sent again": 1} {
			if n := strings.Count(said, part); n != times {
				t.Errorf("%q is said %d times, want %d", part, n, times)
			}
		}
		if t.Failed() {
			t.Log(said)
		}
	})
}
