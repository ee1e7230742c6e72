package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// sink is a gateway that stores nothing.
type sink struct{ *fake }

func (sink) Publish(_ context.Context, batch []broker.Publication) ([]broker.Result, error) {
	return []broker.Result{{Room: batch[0].Room, Position: broker.Position{Epoch: "e1", Seq: 1}}}, nil
}

// discard is a ResponseWriter that is used again.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkPublishCall is what is ours of a publish: without net/http, and without
// a gateway.
func BenchmarkPublishCall(b *testing.B) {
	s := serveGateway(b, sink{newFake()}, metrics.NewSet("test", metrics.NewLoops(1)))
	body := []byte(`{"data":"` + strings.Repeat("x", 126) + `","event":"chat","id":"1"}`)
	reader := bytes.NewReader(body)
	r, err := http.NewRequest("POST", "/v1/rooms/lobby/messages", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}}
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	w := discard{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		clear(w.header)
		s.api.ServeHTTP(w, r)
	}
}
