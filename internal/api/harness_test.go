package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// patience is the deadline of every wait.
const patience = 20 * time.Second

// The keys of the tests, by what they are for.
const (
	keyAll     = "all-0123456789abcdef"
	keyPublish = "publish-0123456789abcdef"
	keyRead    = "read-0123456789abcdef"
	keyAdmin   = "admin-0123456789abcdef"
)

const keysFile = `
- {name: shop, key: "` + keyAll + `", allow: [publish, read, admin]}
- {name: publisher, key: "` + keyPublish + `", allow: [publish]}
- {name: reader, key: "` + keyRead + `", allow: [read]}
- {name: operator, key: "` + keyAdmin + `", allow: [admin]}
`

// loadKeys reads keys as a gateway does, from a file with this text.
func loadKeys(t testing.TB, text string) *auth.Keys {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.LoadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// service is an admin port before a gateway. Each of its answers is held against
// the OpenAPI document.
type service struct {
	t    testing.TB
	api  *API
	fake *fake // nil: a real gateway
	set  *metrics.Set
	logs *syncBuffer
	http *httptest.Server
}

// serve starts one with the keys of the tests, over a fake gateway.
func serve(t testing.TB, change ...func(*Config)) *service {
	t.Helper()
	f := newFake()
	s := serveGateway(t, f, metrics.NewSet("test", metrics.NewLoops(1)), change...)
	s.fake = f
	return s
}

// anyGateway is all that an admin port asks of a gateway.
type anyGateway interface {
	Gateway
	Checker
}

func serveGateway(t testing.TB, g anyGateway, set *metrics.Set, change ...func(*Config)) *service {
	t.Helper()
	s := &service{t: t, set: set, logs: new(syncBuffer)}
	log := slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := Config{Gateway: g, Batch: 10, BodyBytes: 64 << 10, Requests: 16, Metrics: set, Log: log}
	for _, f := range change {
		f(&cfg)
	}
	s.api = NewAPI(cfg)
	s.api.SetKeys(loadKeys(t, keysFile))
	s.http = httptest.NewUnstartedServer(nil)
	s.http.Config = NewAdminServer(Admin{Gateway: g, Calls: s.api, Metrics: set.Handler()}.Handler(), log)
	s.http.Start()
	t.Cleanup(s.http.Close)
	return s
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// answer is what a call was answered with.
type answer struct {
	status int
	header http.Header
	body   string
}

// into reads the body.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// problem reads the body, which must be one with the answer's status.
func (a answer) problem(t testing.TB) problemBody {
	t.Helper()
	var p problemBody
	a.into(t, &p)
	if a.header.Get("Content-Type") != "application/problem+json" || p.Status != a.status || p.Title != http.StatusText(a.status) ||
		p.Type != "about:blank" || p.Code == "" || p.Detail == "" {
		t.Errorf("no problem: %d %v %s", a.status, a.header, a.body)
	}
	return p
}

// ask makes a call with the key for all, and a body if there is one.
func (s *service) ask(method, path, body string) answer {
	s.t.Helper()
	return s.askAs(keyAll, method, path, body)
}

// askAs makes a call with a key, or without one.
func (s *service) askAs(key, method, path, body string) answer {
	s.t.Helper()
	header := make(http.Header)
	if body != "" {
		header.Set("Content-Type", "application/json")
	}
	if key != "" {
		header.Set("Authorization", "Bearer "+key)
	}
	return s.do(method, path, header, strings.NewReader(body))
}

// do makes any call. The path goes out as it is.
func (s *service) do(method, path string, header http.Header, body io.Reader) answer {
	s.t.Helper()
	r, err := http.NewRequest(method, s.http.URL, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.URL.Opaque = "//" + r.URL.Host + path
	r.Header = header
	response, err := s.http.Client().Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answer{response.StatusCode, response.Header, string(text)}
	s.check(method, r, a)
	if strings.HasSuffix(a.header.Get("Content-Type"), "json") && len(text) > 0 {
		var ends bool
		if a.body, ends = strings.CutSuffix(a.body, "\n"); !ends {
			s.t.Errorf("%s %s: the answer is no line: %q", method, path, text)
		}
	}
	return a
}

// openAPIParsed is the OpenAPI document, read and found to be one.
var openAPIParsed = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPIDocument)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(openapi3.NewLoader().Context)
})

// seen is which documented answers there were, in all tests.
var seen sync.Map // "METHOD PATH STATUS" → true

// check holds an answer against the document.
func (s *service) check(method string, r *http.Request, a answer) {
	s.t.Helper()
	doc, err := openAPIParsed()
	if err != nil {
		s.t.Fatal(err)
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Opaque, "//"+r.URL.Host), "?")
	operation, documented := operationOf(doc, method, path)
	switch {
	case operation == nil:
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed || documented != (a.status == http.StatusMethodNotAllowed) {
			s.t.Errorf("%s %s is not documented and answers %d", method, path, a.status)
		}
		return
	case method == http.MethodHead:
		return
	}
	seen.Store(fmt.Sprintf("%s %d", operation.OperationID, a.status), true)
	if err := conforms(doc, operation, a); err != nil {
		s.t.Errorf("%s %s: %d %s: %v", method, path, a.status, a.body, err)
	}
}

// operationOf finds a path in the document by the mux's own word for it.
func operationOf(doc *openapi3.T, method, path string) (operation *openapi3.Operation, documented bool) {
	u, err := http.NewRequest(method, "http://host", nil)
	if err != nil {
		return nil, false
	}
	u.URL.Path, u.URL.RawPath = path, ""
	if strings.Contains(path, "%") {
		u.URL.RawPath = path
	}
	if res, _ := find(u.URL); res != nil {
		path = res.path
	}
	if strings.HasPrefix(path, "/schemas/") {
		path = "/schemas/{name}"
	}
	item := doc.Paths.Value(path)
	if item == nil {
		return nil, false
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return item.GetOperation(method), true
}

// conforms tells whether an answer is one that the document has.
func conforms(doc *openapi3.T, operation *openapi3.Operation, a answer) error {
	ref := operation.Responses.Status(a.status)
	if ref == nil {
		return fmt.Errorf("status %d is not documented", a.status)
	}
	for name, h := range ref.Value.Headers {
		if h.Value.Required && a.header.Get(name) == "" {
			return fmt.Errorf("no %s", name)
		}
	}
	if len(ref.Value.Content) == 0 {
		if a.body != "" {
			return fmt.Errorf("there is a body")
		}
		return nil
	}
	media, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content := ref.Value.Content[media]
	if content == nil {
		return fmt.Errorf("Content-Type %q is not documented", media)
	}
	if !strings.HasSuffix(media, "json") {
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		return err
	}
	return doc.ValidateSchemaJSON(content.Schema.Value, value)
}

// until waits for a condition that something else brings about.
func (s *service) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", patience, what)
		}
		<-ticks.C
	}
}
