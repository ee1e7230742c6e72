package tracing

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestOpenTelemetrysVariables(t *testing.T) {
	for _, tt := range []struct {
		name, endpoint string
		variables      map[string]string // without OTEL_EXPORTER_OTLP_
		want           Collector
		wrong          string
	}{
		{name: "none", want: Collector{URL: "http://localhost:4318/v1/traces"}},
		{name: "a base", variables: map[string]string{"ENDPOINT": "http://a:4318/"}, want: Collector{URL: "http://a:4318/v1/traces"}},
		{name: "a base with a path", variables: map[string]string{"ENDPOINT": "https://a/otlp"}, want: Collector{URL: "https://a/otlp/v1/traces"}},
		{name: "that of traces as it is", variables: map[string]string{"ENDPOINT": "http://a", "TRACES_ENDPOINT": "http://b/x"}, want: Collector{URL: "http://b/x"}},
		{name: "the key first", endpoint: "http://c:1", variables: map[string]string{"TRACES_ENDPOINT": "http://b/x"}, want: Collector{URL: "http://c:1/v1/traces"}},
		{name: "the key with a path", endpoint: "https://c/otlp", want: Collector{URL: "https://c/otlp"}},
		{name: "all the others", variables: map[string]string{
			"HEADERS": "a=1", "TRACES_HEADERS": "authorization=Basic%20eA%3D%3D, x-org = 7 ", "TIMEOUT": "1500", "COMPRESSION": "gzip",
			"CERTIFICATE": "ca.pem", "CLIENT_CERTIFICATE": "c.pem", "CLIENT_KEY": "k.pem", "PROTOCOL": "http/protobuf",
		}, want: Collector{URL: defaultURL, Timeout: 1500 * time.Millisecond, Gzip: true, CAFile: "ca.pem", Cert: "c.pem", Key: "k.pem",
			Headers: map[string]string{"authorization": "Basic eA==", "x-org": "7"}}},
		{name: "gRPC", variables: map[string]string{"PROTOCOL": "grpc"}, wrong: "PROTOCOL"},
		{name: "another compression", variables: map[string]string{"COMPRESSION": "secret"}, wrong: "COMPRESSION"},
		{name: "no time", variables: map[string]string{"TIMEOUT": "secret"}, wrong: "TIMEOUT"},
		{name: "no header", variables: map[string]string{"HEADERS": "secret"}, wrong: "HEADERS"},
		{name: "a header with a bad escape", variables: map[string]string{"HEADERS": "a=%zzsecret"}, wrong: "HEADERS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromEnvironment(tt.endpoint, func(name string) string {
				return tt.variables[strings.TrimPrefix(name, "OTEL_EXPORTER_OTLP_")]
			})
			if tt.wrong != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "OTEL_EXPORTER_OTLP_"+tt.wrong) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Timeout == 0 {
				tt.want.Timeout = defaultTimeout
			}
			if !maps.Equal(got.Headers, tt.want.Headers) {
				t.Errorf("headers %v", got.Headers)
			}
			got.Headers, tt.want.Headers = nil, nil
			if got.URL != tt.want.URL || got.Timeout != tt.want.Timeout || got.Gzip != tt.want.Gzip || got.CAFile != tt.want.CAFile ||
				got.Cert != tt.want.Cert || got.Key != tt.want.Key {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAnEndpointThatIsNoneIsRefusedWithoutBeingRepeated(t *testing.T) {
	for _, url := range []string{"", "localhost:4318", "ftp://user:secret@a", "http://", "http://user:secret@a b"} {
		if _, err := New(Config{Sample: 1, Queue: 1, Collector: Collector{URL: url}}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
