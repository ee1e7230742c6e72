package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/certtest"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// patience is the deadline of every wait.
const patience = 20 * time.Second

// service is a running gateway with the embedded broker behind a tap.
type service struct {
	t      testing.TB
	gw     *Gateway
	set    *metrics.Set
	memory *memory.Broker
	tap    *tap
	addr   string
	tls    *tls.Config // of clients; nil: it speaks no TLS
	halted bool
	panics float64 // those that the test brings about
}

// authority signs the certificates of the tests. overTLS has every test that
// connects do so by TLS.
var (
	authority = certtest.NewAuthority()
	overTLS   = flag.Bool("tls", false, "run the tests over TLS")
)

// needsPlain skips a test that is not about what happens behind TLS.
func needsPlain(t *testing.T) {
	t.Helper()
	if *overTLS {
		t.Skip("not over TLS")
	}
}

// origin is that of a page of the gateway's own host.
func (s *service) origin() string {
	if s.tls != nil {
		return "https://" + s.addr
	}
	return "http://" + s.addr
}

// setup is what a test may change before its gateway starts.
type setup struct {
	Config
	tap    *tap
	dedup  time.Duration
	secure bool                 // by TLS
	stored *broker.Bounds       // what the broker keeps; nil: as the rooms' class says
	inUse  func(*Gateway) int64 // memory; nil: the process's
	// nameWait is for how long a name is waited for; 0: as ever.
	nameWait time.Duration
}

// slow sets the policy of all rooms.
func (s *setup) slow(p room.Policy, messages int, bytes int64) {
	s.Classes[len(s.Classes)-1].Slow = room.Window{Policy: p, Messages: messages, Bytes: bytes}
}

// history sets what all rooms keep.
func (s *setup) history(messages int, bytes int64, age time.Duration) {
	s.Classes[len(s.Classes)-1].History = room.History{Messages: messages, Bytes: bytes, Age: age}
}

// run starts a gateway and, when the test is over, stops it and sees that nothing
// is left of anything.
func run(t testing.TB, change ...func(*setup)) *service {
	t.Helper()
	c := &setup{tap: new(tap)}
	c.Config = Config{
		ID: "gw", Listen: "127.0.0.1:0", Loops: 1, Deflate: true,
		HeartbeatInterval: 25 * time.Second, HeartbeatTimeout: time.Minute,
		Live: Live{
			Classes: Classes{{Class: room.Class{
				Match:   "*",
				History: room.History{Messages: 256, Bytes: 1 << 20, Age: 10 * time.Minute},
				Slow:    room.Window{Policy: room.Drop, Messages: 256, Bytes: 1 << 20},
			}}},
			Limits: Limits{
				MessageBytes: 64 << 10, MessageFragments: 64, ReplyBytes: 1 << 20,
				HandshakeBytes: 16 << 10, HandshakeHeaders: 100, HandshakeTimeout: 10 * time.Second,
			},
		},
		Public: http.NotFoundHandler(),
		Log:    slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(c)
	}
	return start(t, c)
}

func start(t testing.TB, c *setup) *service {
	t.Helper()
	s := &service{t: t, tap: c.tap}
	if c.secure || *overTLS {
		s.tls = authority.Client()
		c.Certificate = authority.Sign(1, time.Now().Add(time.Hour))
	}
	s.set = metrics.NewSet("test", metrics.NewLoops(c.Loops))
	c.Metrics = s.set
	if c.Broker == nil {
		s.memory = memory.New(memory.Config{
			Bounds: func(name string) broker.Bounds {
				if c.stored != nil {
					return *c.stored
				}
				return broker.Bounds(c.Classes.Of(name).History)
			},
			DedupWindow: c.dedup, Depth: &s.set.BrokerQueue, Refused: &s.set.BrokerRefused,
		})
		s.tap.Broker, s.tap.People = s.memory, s.memory
		c.Broker = s.tap
	}
	var err error
	if s.gw, err = New(c.Config); err != nil {
		t.Fatal(err)
	}
	if c.inUse != nil {
		s.gw.inUse = func() int64 { return c.inUse(s.gw) }
	}
	s.gw.nameWait = cmp.Or(c.nameWait, s.gw.nameWait)
	s.addr = s.gw.Addr().String()
	s.gw.Start()
	t.Cleanup(s.stop)
	return s
}

// stop ends the gateway, which must leave nothing behind.
func (s *service) stop() {
	if s.halted {
		return
	}
	s.halted = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.gw.Stop(ctx)
	select {
	case err := <-s.gw.Failed():
		s.t.Errorf("a part of the gateway failed: %v", err)
	default:
	}
	for _, name := range []string{"fanfare_connections", "fanfare_handshakes", "fanfare_memberships", "fanfare_rooms",
		"fanfare_room_log_bytes", "fanfare_queued_reply_bytes"} {
		if v := s.metric(name); v != 0 {
			s.t.Errorf("%s is %v after the gateway has stopped", name, v)
		}
	}
	if n := s.metric("fanfare_loop_panics_total"); n != s.panics {
		s.t.Errorf("%v panics", n)
	}
	wantNoUse(s.t, "user", s.gw.users)
	wantNoUse(s.t, "address", s.gw.addresses)
	if n := s.gw.backlogBytes.Load(); n != 0 {
		s.t.Errorf("%d bytes of backlogs are counted after the gateway has stopped", n)
	}
}

// metrics scrapes all series, by name and labels.
func (s *service) metrics() map[string]float64 {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.set.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	all := make(map[string]float64)
	for _, line := range strings.Split(w.Body.String(), "\n") {
		name, value, ok := strings.Cut(line, " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if at := strings.LastIndexByte(line, ' '); at >= 0 {
			name, value = line[:at], line[at+1:]
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.t.Fatalf("metric %q: %v", line, err)
		}
		all[name] = v
	}
	return all
}

// metric is one series, which must be there.
func (s *service) metric(name string) float64 {
	s.t.Helper()
	v, ok := s.metrics()[name]
	if !ok {
		s.t.Fatalf("no series %s", name)
	}
	return v
}

// until waits for a condition that something else brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-ticks.C
	}
}

func (s *service) untilMetric(name string, want float64) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%s is %v", name, want), func() bool { return s.metric(name) == want })
}

// receive waits for a value, with a deadline.
func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
	}
	return v
}

// store publishes to a room at the broker, not through a connection, and waits
// until it is stored and delivered to the hub.
func (s *service) store(name string, data ...string) (last broker.Position) {
	s.t.Helper()
	batch := make([]broker.Publication, len(data))
	answers := make(chan broker.Result, len(data))
	for i, d := range data {
		batch[i] = broker.Publication{Room: name, From: "test", Data: []byte(d), Ticket: answers}
	}
	s.tap.Publish(batch)
	for range data {
		r := receive(s.t, answers)
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
		last = r.Position
	}
	return last
}

// storeN publishes n numbered messages of about size bytes.
func (s *service) storeN(name string, n, size int) broker.Position {
	s.t.Helper()
	data := make([]string, n)
	for i := range data {
		data[i] = sized(i, size)
	}
	return s.store(name, data...)
}

func sized(i, size int) string {
	n := strconv.Itoa(i)
	return `"` + n + string(bytes.Repeat([]byte{'x'}, max(size-len(n)-2, 0))) + `"`
}

// letGo does what the sweep does once rooms have lingered.
func (s *service) letGo() {
	for i := range s.gw.hub.stripes {
		s.gw.hub.sweep(&s.gw.hub.stripes[i], time.Now().Add(2*lingerRoom))
	}
}
