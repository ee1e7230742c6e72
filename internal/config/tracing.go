package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Tracing is what is recorded of messages on their way, for a collector of
// OpenTelemetry.
type Tracing struct {
	Sample   float64 // share of messages; 0: none
	Endpoint string  // http:// or https://; empty: as OpenTelemetry's variables say
	Rooms    bool    // are named
	Queue    int     // spans that may wait
}

// tracingOptions are the keys of traces.
func (c *Config) tracingOptions() []option {
	t := &c.Tracing
	return []option{
		{key: "tracing.sample", def: "0", value: share(&t.Sample),
			what: "share of messages whose way is recorded as an OpenTelemetry trace, publish, relay and fan-out, and sent by OTLP; 0 is none." +
				" While it is not 0, what a backend publishes with a sampled traceparent is recorded too",
			why: "without a collector a trace is of no use; of a busy fleet's messages one in a thousand tells enough"},
		{key: "tracing.endpoint", def: "", value: endpoint(&t.Endpoint),
			what: "collector that takes OTLP over HTTP, such as http://127.0.0.1:4318, with a path where that is not /v1/traces. None is what" +
				" OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says, or http://localhost:4318. The others of these variables count in any" +
				" case: HEADERS, which is where credentials belong, TIMEOUT, COMPRESSION, CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES",
			why: "the variables are what platforms set for all their services"},
		{key: "tracing.rooms", def: "false", value: boolean(&t.Rooms),
			what: "name rooms in traces; otherwise the match of their class stands for them",
			why:  "a room's name may say who talks with whom, and traces are seen by many"},
		{key: "tracing.queue", def: "4096", value: integer(&t.Queue, 1, 1<<20),
			what: "spans that may wait to be sent; what is more is dropped and counted, and the messages go on as ever",
			why:  "some thousand recorded messages, in about 5 MiB"},
	}
}

func share(field *float64) setting {
	return &scalar[float64]{field: field, of: kindFloat, takes: "a number from 0 to 1, such as 0.001",
		format: func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
		parse: func(s string) (float64, bool) {
			f, err := strconv.ParseFloat(s, 64)
			return f, err == nil && f >= 0 && f <= 1
		}}
}

// endpointSetting does not repeat what it refuses: it may have a password.
type endpointSetting struct{ *scalar[string] }

func endpoint(field *string) setting {
	return endpointSetting{&scalar[string]{field: field, of: kindText, quoted: true, format: func(s string) string { return s }, parse: parseEndpoint,
		takes: "http:// or https:// with a host, without user, query and fragment (credentials belong into OTEL_EXPORTER_OTLP_HEADERS)"}}
}

func (s endpointSetting) set(text string) error {
	if err := s.scalar.set(text); err != nil {
		return fmt.Errorf("cannot be what it is set to (not shown): it takes %s", s.takes)
	}
	return nil
}

func (s endpointSetting) valid() error { return s.set(s.text()) }

func parseEndpoint(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	u, err := url.Parse(s)
	return s, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(s, "?#")
}
