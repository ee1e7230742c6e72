package main

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/tracetest"
)

// tracingTo starts a gateway that traces every message.
func tracingTo(t *testing.T, c *tracetest.Collector, flags ...string) *process {
	t.Helper()
	return serving(t, append([]string{"--listen", "127.0.0.1:0", "--tracing-sample", "1", "--tracing-endpoint", c.URL}, flags...)...)
}

// post sends a request that must be answered with 200.
func post(t *testing.T, url, body string, headers ...string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("%s: %s", url, res.Status)
	}
}

// Two gateways over one Redis have a member each: a message is one trace from its
// publication to both, whichever way it came in.
func TestATraceGoesOverGateways(t *testing.T) {
	t.Parallel()
	c, redis := tracetest.New(t), startRedis(t)
	keys := write(t, filepath.Join(t.TempDir(), "keys.yaml"), "- {name: backend, key: "+apiKey+", allow: [publish]}\n")
	classes := "[{match: 'hidden*'}]"
	a := tracingTo(t, c, "--redis-url", redis.url, "--api-keys-file", keys, "--rooms", classes)
	b := tracingTo(t, c, "--redis-url", redis.url, "--api-keys-file", keys, "--rooms", classes)
	ada, zoe := a.member("hidden-room", ""), b.member("hidden-room", "")
	const caller, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

	ways := []struct {
		via     string
		publish func()
	}{
		{"api", func() {
			post(t, "http://"+a.admin+"/v1/rooms/hidden-room/messages", `{"data":"payload-0","from":"private-name"}`,
				"Authorization: Bearer "+apiKey, "Content-Type: application/json", "Traceparent: 00-"+caller+"-"+parent+"-01")
		}},
		{"post", func() {
			post(t, "http://"+b.addr+"/rooms/hidden-room/messages?username=private-name", `{"data":"payload-1"}`, "Content-Type: application/json")
		}},
		{"websocket", func() {
			conn, _ := b.connect()
			b.send(conn, `{"type":"publish","payload":{"room":"hidden-room","data":"payload-2"}}`)
		}},
	}
	for i, way := range ways {
		way.publish()
		ada.until("payload-" + string(rune('0'+i)))
		zoe.until("payload-" + string(rune('0'+i)))
		c.Wait(6 * (i + 1))
	}

	spans := c.Spans()
	if len(spans) != 6*len(ways) {
		t.Fatalf("%d spans: %+v", len(spans), spans)
	}
	for _, way := range ways {
		i := slices.IndexFunc(spans, func(s tracetest.Span) bool { return s.Attributes["fanfare.via"] == way.via })
		if i < 0 {
			t.Fatalf("nothing was published by %s: %+v", way.via, spans)
		}
		publish := spans[i]
		if publish.Name != "publish hidden*" || publish.Attributes["fanfare.broker"] != "redis" ||
			way.via == "api" != (publish.Trace == caller && publish.Parent == parent) || way.via != "api" && publish.Parent != "" {
			t.Errorf("%+v", publish)
		}
		relay := under(t, spans, publish, "relay hidden*", 1)[0]
		on := make(map[string]bool) // gateways
		for _, receive := range under(t, spans, relay, "receive hidden*", 2) {
			fanOut := under(t, spans, receive, "fan-out hidden*", 1)[0]
			if fanOut.Resource["service.instance.id"] != receive.Resource["service.instance.id"] || fanOut.Attributes["fanfare.members"] != "1" ||
				receive.Attributes["fanfare.relay.lag_ms"] == "" {
				t.Errorf("%+v, %+v", receive, fanOut)
			}
			on[receive.Resource["service.instance.id"]] = true
		}
		if len(on) != 2 {
			t.Errorf("received on %v", on)
		}
	}
	for _, word := range []string{"payload-", "private-name", "hidden-room", apiKey} {
		if c.Says(word) {
			t.Errorf("%q is in what was sent", word)
		}
	}
	if junk := a.metric("fanfare_relay_junk_total"); junk != "0" {
		t.Errorf("%s of what came was not ours", junk)
	}
}

// under is the spans right under one, of its trace, with a name and in number.
func under(t *testing.T, spans []tracetest.Span, parent tracetest.Span, name string, n int) (found []tracetest.Span) {
	t.Helper()
	for _, s := range spans {
		if s.Parent == parent.ID {
			found = append(found, s)
		}
	}
	if len(found) != n || slices.ContainsFunc(found, func(s tracetest.Span) bool { return s.Name != name || s.Trace != parent.Trace }) {
		t.Fatalf("under %+v are %+v", parent, found)
	}
	return found
}

func TestTheLastSpansAreSentAtTheEnd(t *testing.T) {
	t.Parallel()
	c := tracetest.New(t)
	t.Cleanup(func() { // after the gateway has ended
		if n := len(c.Spans()); n != 2 {
			t.Errorf("%d spans have come", n)
		}
	})
	p := tracingTo(t, c, "--dev")
	post(t, "http://"+p.admin+"/v1/rooms/a/messages", `{"data":1}`, "Content-Type: application/json")
}

// The variables alone, which a platform may set for whoever uses them, are no reason
// to speak to anyone.
func TestNothingIsTracedUnlessItIsAskedFor(t *testing.T) {
	c := tracetest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Cleanup(func() {
		if n := len(c.Requests()); n != 0 {
			t.Errorf("%d requests were made", n)
		}
	})
	p := serving(t, "--listen", "127.0.0.1:0", "--dev")
	post(t, "http://"+p.admin+"/v1/rooms/a/messages", `{"data":1}`, "Content-Type: application/json", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
}

func TestOpenTelemetrysVariablesSayWhereSpansGo(t *testing.T) {
	c := tracetest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
	t.Setenv("OTEL_SERVICE_NAME", "chat")
	p := serving(t, "--listen", "127.0.0.1:0", "--dev", "--tracing-sample", "1")
	post(t, "http://"+p.admin+"/v1/rooms/a/messages", `{"data":1}`, "Content-Type: application/json")
	spans := c.Wait(2)
	if spans[0].Resource["service.name"] != "chat" || c.Requests()[0].Get("Authorization") != "Bearer secret" {
		t.Errorf("%+v %v", spans, c.Requests())
	}
	p.until("what was sent is counted", func() bool { return p.metric("fanfare_trace_spans_sent_total") == "2" })
	if strings.Contains(p.log.String(), "secret") {
		t.Errorf("log: %s", p.log)
	}
}
