package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/protocol/schema"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// running is a gateway with its public port.
type running struct {
	t      testing.TB
	gw     *gateway.Gateway
	set    *metrics.Set
	url    string
	halted bool
}

// runGateway starts a gateway; the end of the test stops it, after which no stream
// may be left.
func runGateway(t testing.TB, change ...func(*gateway.Config)) *running {
	t.Helper()
	s := &running{t: t, set: metrics.NewSet("test", metrics.NewLoops(2))}
	cfg := gateway.Config{
		ID: "gw", Listen: "127.0.0.1:0", Loops: 2, HeartbeatInterval: 25 * time.Second, HeartbeatTimeout: time.Minute,
		Live: gateway.Live{
			Classes: gateway.Classes{{Class: room.Class{
				Match:   "*",
				History: room.History{Messages: 4096, Bytes: 16 << 20, Age: 10 * time.Minute},
				Slow:    room.Window{Policy: room.Drop, Messages: 256, Bytes: 1 << 20},
			}}},
			Limits: gateway.Limits{
				MessageBytes: 64 << 10, MessageFragments: 64, ReplyBytes: 1 << 20,
				HandshakeBytes: 16 << 10, HandshakeHeaders: 100, HandshakeTimeout: 10 * time.Second,
			},
		},
		Public: Public(false), Metrics: s.set, Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	cfg.Broker = memory.New(memory.Config{
		Bounds: func(name string) broker.Bounds { return broker.Bounds(cfg.Classes.Of(name).History) },
		Depth:  &s.set.BrokerQueue, Refused: &s.set.BrokerRefused,
	})
	var err error
	if s.gw, err = gateway.New(cfg); err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + s.gw.Addr().String()
	s.gw.Start()
	t.Cleanup(s.stop)
	return s
}

func (s *running) stop() {
	if s.halted {
		return
	}
	s.halted = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.gw.Stop(ctx)
	for _, name := range []string{"fanfare_sse_streams", "fanfare_connections", "fanfare_handshakes", "fanfare_memberships"} {
		if n := s.metric(name); n != 0 {
			s.t.Errorf("%s is %v after the gateway has stopped", name, n)
		}
	}
}

func (s *running) metric(series string) float64 {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.set.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	s.t.Fatalf("no series %s", series)
	return 0
}

func (s *running) untilMetric(series string, ok func(n float64) bool) {
	s.t.Helper()
	ticks := time.NewTicker(2 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(patience); !ok(s.metric(series)); <-ticks.C {
		if time.Now().After(end) {
			s.t.Fatalf("%s is %v, for %v", series, s.metric(series), patience)
		}
	}
}

// publish publishes to a room as a backend does.
func (s *running) publish(name string, data ...string) (last protocol.Position) {
	s.t.Helper()
	batch := make([]broker.Publication, len(data))
	for i, d := range data {
		batch[i] = broker.Publication{Room: name, From: "test", Data: []byte(d)}
	}
	results, err := s.gw.Publish(context.Background(), batch)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
		last = protocol.Position{Epoch: r.Epoch, Seq: r.Seq}
	}
	return last
}

// ask asks for a path of the public port. small: with a small receive buffer.
func (s *running) ask(method, path string, small bool, headers ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	dialer := net.Dialer{}
	if small {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		}
	}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext, ReadBufferSize: 512}, Timeout: 5 * patience, // a whole stream, beside other tests
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	return res
}

// event is one of a stream, as EventSource has it.
type event struct {
	name, id, data string
}

func (e event) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.data), v); err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
}

// source reads a stream.
type source struct {
	t       testing.TB
	body    io.Closer
	lines   *bufio.Reader
	lastID  string
	retries []string
	quiet   int // comments
}

// listen opens a stream, and returns it behind its joined.
func (s *running) listen(path string, headers ...string) (*source, protocol.Joined) {
	s.t.Helper()
	return s.source(s.ask("GET", path, false, headers...))
}

func (s *running) source(res *http.Response) (*source, protocol.Joined) {
	s.t.Helper()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		s.t.Fatalf("%s: %s", res.Status, body)
	}
	es := &source{t: s.t, body: res.Body, lines: bufio.NewReaderSize(res.Body, 512)}
	e, _ := es.next()
	var j struct {
		Room, Epoch  string
		Seq          uint64
		Recovered    *bool
		MembersCount int `json:"members"`
	}
	e.into(s.t, &j)
	joined := protocol.Joined{Room: j.Room, Position: protocol.Position{Epoch: j.Epoch, Seq: j.Seq}, Members: j.MembersCount}
	if e.name != "joined" || e.id != joined.String() || len(es.retries) != 1 {
		s.t.Fatalf("begins with %+v, retries %q", e, es.retries)
	}
	if j.Recovered != nil {
		joined.Recovery = map[bool]protocol.Recovery{true: protocol.Recovered, false: protocol.NotRecovered}[*j.Recovered]
	}
	return es, joined
}

// next returns the next event; false: the stream is over.
func (s *source) next() (e event, ok bool) {
	s.t.Helper()
	var data []string
	for {
		line, err := s.lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return e, false
		}
		if err != nil {
			s.t.Fatalf("read the stream: %v", err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			e.id, s.lastID = value, value
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		case "retry":
			s.retries = append(s.retries, value)
		case ":":
			s.quiet++
		case "":
			if e.data = strings.Join(data, "\n"); data != nil {
				s.judge(e)
				return e, true
			}
			e = event{}
		default:
			s.t.Fatalf("a line of a stream: %q", line)
		}
	}
}

// eventSchemas are what the protocol's documents say of each event.
var eventSchemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	const base = "https://gateway.test/"
	c := jsonschema.NewCompiler()
	err := fs.WalkDir(schema.Files(), "schemas", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(schema.Files(), name)
		if err != nil {
			return err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		if err != nil {
			return err
		}
		return c.AddResource(base+name, v)
	})
	schemas := make(map[string]*jsonschema.Schema)
	for name, at := range map[string]string{
		"": "server/message.json#/$defs/payload", "close": "events/close.json", "joined": "server/joined.json#/properties/payload",
		"gap": "server/gap.json#/properties/payload", "reset": "server/reset.json#/properties/payload",
		"presence": "server/presence.json#/properties/payload", "reconnect": "server/reconnect.json#/properties/payload",
	} {
		var failed error
		schemas[name], failed = c.Compile(base + "schemas/" + at)
		err = errors.Join(err, failed)
	}
	return schemas, err
})

// judge holds an event against its schema.
func (s *source) judge(e event) {
	s.t.Helper()
	schemas, err := eventSchemas()
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := jsonschema.UnmarshalJSON(strings.NewReader(e.data))
	if err == nil && schemas[e.name] != nil {
		err = schemas[e.name].Validate(data)
	}
	if err != nil || schemas[e.name] == nil {
		s.t.Errorf("no event of the protocol: %.300v: %v", e, err)
	}
}

// seqOf is a message's.
func seqOf(t testing.TB, e event) uint64 {
	t.Helper()
	var m struct{ Seq uint64 }
	e.into(t, &m)
	return m.Seq
}

// wants reads messages from first to last, of that epoch.
func (s *source) wants(epoch string, first, last uint64) {
	s.t.Helper()
	for seq := first; seq <= last; seq++ {
		e, ok := s.next()
		var m struct {
			Epoch string
			Seq   uint64
		}
		if ok {
			e.into(s.t, &m)
		}
		if !ok || e.name != "" || m.Seq != seq || m.Epoch != epoch || e.id != epoch+":"+strconv.FormatUint(seq, 10) {
			s.t.Fatalf("got %+v, %v, want message %s:%d", e, ok, epoch, seq)
		}
	}
}
