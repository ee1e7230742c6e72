// Package tracetest is a collector of traces for tests: it takes OTLP over HTTP,
// decodes it and keeps what came. Nothing that is built into the gateway imports
// it.
package tracetest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patience is the deadline of every wait.
const patience = 20 * time.Second

// Span is what was said of one.
type Span struct {
	Name, Kind        string
	Trace, ID, Parent string // hexadecimal; Parent is empty of a root
	Error             bool
	Begin, End        time.Time
	Attributes        map[string]string
	Resource          map[string]string // attributes of who sent it
}

// Collector is a collector that is served until the test ends.
type Collector struct {
	URL string // without a path

	t    testing.TB
	mu   sync.Mutex
	all  []Span
	raw  strings.Builder // the bodies
	head []http.Header
	// status, where it is not 0, refuses what comes.
	status int
}

// New starts a collector.
func New(t testing.TB) *Collector {
	c := &Collector{t: t}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// Refuse has it answer with a status from now on; 0: it takes all again.
func (c *Collector) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// ServeHTTP takes a batch.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			c.t.Error(err)
			return
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return // the gateway was ended
	}
	var batch tracepb.TracesData // the service's request has the same fields
	if err := proto.Unmarshal(raw, &batch); err != nil || len(batch.ProtoReflect().GetUnknown()) > 0 {
		c.t.Errorf("not OTLP: %v", err)
	}
	if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = append(c.head, r.Header.Clone())
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	c.raw.Write(raw)
	for _, rs := range batch.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.all = append(c.all, spanOf(s, attributes(rs.Resource.GetAttributes())))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func spanOf(s *tracepb.Span, resource map[string]string) Span {
	return Span{
		Name: s.Name, Kind: strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")),
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Error: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Begin: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano)),
		Attributes: attributes(s.Attributes), Resource: resource,
	}
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_DoubleValue:
			m[a.Key] = fmt.Sprint(v.DoubleValue)
		default:
			m[a.Key] = a.Value.String()
		}
	}
	return m
}

// Spans is what has come, by when it began.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(c.all), func(a, b Span) int { return a.Begin.Compare(b.Begin) })
}

// Requests are the heads of all that came.
func (c *Collector) Requests() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.head)
}

// Says reports whether a text is anywhere in what came.
func (c *Collector) Says(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Contains(c.raw.String(), text)
}

// Wait waits for n spans, and returns what has come then.
func (c *Collector) Wait(n int) []Span {
	c.t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticks.C {
		if all := c.Spans(); len(all) >= n {
			return all
		}
	}
	for _, s := range c.Spans() {
		c.t.Logf("%+v", s)
	}
	c.t.Fatalf("not %d spans within %v", n, patience)
	return nil
}
