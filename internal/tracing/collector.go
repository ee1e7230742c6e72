package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is where spans go. Its fields are not to be logged: they may have
// credentials.
type Collector struct {
	URL     string            // that spans are posted to
	Headers map[string]string // of each request
	Timeout time.Duration     // of a batch, with all that is tried for it
	Gzip    bool
	CAFile  string // PEM; empty: the system's
	Cert    string // PEM, of this client; empty: none
	Key     string // likewise
}

const (
	defaultURL     = "http://localhost:4318/v1/traces"
	defaultTimeout = 10 * time.Second
	tracesPath     = "/v1/traces"
)

// FromEnvironment is the collector that OpenTelemetry's variables describe, of
// which lookup has the values; what they do not say is OpenTelemetry's default.
// endpoint, if it is not empty, goes before theirs. An error names a variable and
// not its value.
func FromEnvironment(endpoint string, lookup func(string) string) (Collector, error) {
	get := func(name string) string {
		if v := lookup("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
			return v
		}
		return lookup("OTEL_EXPORTER_OTLP_" + name)
	}
	c := Collector{Timeout: defaultTimeout, CAFile: get("CERTIFICATE"), Cert: get("CLIENT_CERTIFICATE"), Key: get("CLIENT_KEY")}
	switch own := lookup("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); {
	case endpoint != "":
		c.URL = WithPath(endpoint)
	case own != "":
		c.URL = own
	case lookup("OTEL_EXPORTER_OTLP_ENDPOINT") != "":
		c.URL = strings.TrimSuffix(lookup("OTEL_EXPORTER_OTLP_ENDPOINT"), "/") + tracesPath
	default:
		c.URL = defaultURL
	}
	if p := get("PROTOCOL"); p != "" && p != "http/protobuf" {
		return c, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken, mostly at port 4318")
	}
	switch get("COMPRESSION") {
	case "gzip":
		c.Gzip = true
	case "", "none":
	default:
		return c, errors.New("OTEL_EXPORTER_OTLP_COMPRESSION: it takes gzip or none")
	}
	if text := get("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms < 1 {
			return c, errors.New("OTEL_EXPORTER_OTLP_TIMEOUT: it takes milliseconds")
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	var err error
	c.Headers, err = parseHeaders(get("HEADERS"))
	return c, err
}

// WithPath is an endpoint with OTLP's path, unless it has one.
func WithPath(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Path != "" && u.Path != "/" {
		return endpoint
	}
	u.Path = tracesPath
	return u.String()
}

// parseHeaders reads name=value,name=value with values as in a URL.
func parseHeaders(text string) (map[string]string, error) {
	headers := make(map[string]string)
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || err != nil || name == "" {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: it takes name=value, separated by commas")
		}
		headers[name] = value
	}
	return headers, nil
}

// client posts batches. It is otlptrace.Client.
type client struct {
	collector *Collector
	http      *http.Client
	ctx       context.Context // ends with cancel: what is being sent is given up
	cancel    context.CancelFunc
}

func newClient(c *Collector) (*client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("tracing: the collector's endpoint takes http://HOST:PORT or https://HOST:PORT") // it may have a password
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	k := &client{collector: c, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, ForceAttemptHTTP2: true,
			MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second,
		},
		// Headers with credentials go where they were meant to, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k, nil
}

func (c *Collector) tls() (*tls.Config, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in it")
		}
	}
	if c.Cert != "" || c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	return secure, nil
}

// Start is otlptrace.Client's.
func (k *client) Start(context.Context) error { return nil }

// Stop is otlptrace.Client's.
func (k *client) Stop(context.Context) error {
	k.http.CloseIdleConnections()
	return nil
}

// UploadTraces is otlptrace.Client's. What may pass is tried again until the
// batch's time is over.
func (k *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// What the service's request is in bytes, too.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if k.collector.Gzip {
		body = compress(body)
	}
	ctx, cancel := context.WithTimeout(ctx, k.collector.Timeout)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		after, err := k.post(ctx, body)
		if err == nil || after < 0 {
			return err
		}
		after = max(after, wait/2+rand.N(wait/2))
		t := time.NewTimer(after)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// Between two tries for a batch.
const (
	firstWait = 500 * time.Millisecond
	mostWait  = 5 * time.Second
)

func compress(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // to memory
	_ = w.Close()
	return b.Bytes()
}

// post sends a batch once. after is the least time before another try, below 0
// where that would be of no use. An error has nothing of the URL in it, nor of the
// answer's body.
func (k *client) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.collector.URL, bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("no request can be made of the endpoint")
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "fanfare")
	if k.collector.Gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	for name, value := range k.collector.Headers {
		r.Header.Set(name, value)
	}
	answer, err := k.http.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return 0, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection is used again
	_ = answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return 0, nil
	}
	err = fmt.Errorf("the collector answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return time.Duration(max(0, seconds)) * time.Second, err
	}
	return -1, err
}
