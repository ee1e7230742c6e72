package loop

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(scarceChild) != "" {
		os.Exit(runScarceChild())
	}
	// The runtime's own poller and its descriptors stay for good.
	if ln, err := poll.Listen("127.0.0.1:0", poll.SocketOptions{}); err == nil {
		ln.Close()
	}
	before := openDescriptors()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if after := openDescriptors(); before != after && code == 0 {
		fmt.Printf("descriptors open: %d before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func openDescriptors() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

// handler is a Handler whose parts a test replaces. Its zero value echoes.
type handler struct {
	upgrade func(*Conn, *frame.Request) (Admission, *frame.Refusal)
	open    func(*Conn)
	control func(*Conn, int)
	message func(*Conn, bool, []byte)
	drained func(*Conn)
	closed  func(*Conn)
	turn    func() bool
	ticks   int
}

func (h *handler) Upgrade(c *Conn, r *frame.Request) (Admission, *frame.Refusal) {
	if h.upgrade != nil {
		return h.upgrade(c, r)
	}
	return Admission{Subprotocol: "test", Deflate: true}, nil
}

func (h *handler) Open(c *Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h *handler) Control(c *Conn, n int) {
	if h.control != nil {
		h.control(c, n)
	}
}

func (h *handler) Message(c *Conn, binary bool, payload []byte) {
	if h.message != nil {
		h.message(c, binary, payload)
		return
	}
	op := frame.OpText
	if binary {
		op = frame.OpBinary
	}
	c.Send(frame.AppendFrame(nil, op, payload))
}

func (h *handler) Drained(c *Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *handler) Closed(c *Conn) {
	if h.closed != nil {
		h.closed(c)
	}
}

func (h *handler) Posted(posts []any) {
	for _, p := range posts {
		p.(func())()
	}
}

func (h *handler) Turn() bool { return h.turn != nil && h.turn() }

func (h *handler) Tick(int64) { h.ticks++ }

// server is a loop with a listener before it.
type server struct {
	t       *testing.T
	loop    *Loop
	metrics *metrics.Loop
	tls     metrics.TLS
	addr    string
	clock   *atomic.Int64 // nil where the machine's clock is used
	stopped chan error
	firstID uint64
	dialed  uint64

	terminator *Terminator // nil: no TLS
}

// serveManual is serve with a clock that stands still but for advance.
func serveManual(t *testing.T, cfg Config, h *handler) *server {
	t.Helper()
	clock := new(atomic.Int64)
	cfg.Clock = clock.Load
	s := serve(t, cfg, h)
	s.clock = clock
	return s
}

func serve(t *testing.T, cfg Config, h *handler) *server {
	t.Helper()
	return serveOn(t, cfg, h, poll.SocketOptions{NoDelay: true})
}

// overTLS has every test of this package that connects do so by TLS.
var overTLS = flag.Bool("tls", false, "run the tests over TLS")

func serveOn(t *testing.T, cfg Config, h *handler, o poll.SocketOptions) *server {
	t.Helper()
	if !*overTLS {
		return serveBy(t, cfg, h, o, nil)
	}
	return serveBy(t, cfg, h, o, &TerminatorConfig{})
}

// needsPlain skips a test of what happens before a TLS handshake.
func needsPlain(t *testing.T) {
	t.Helper()
	if *overTLS {
		t.Skip("not over TLS")
	}
}

// serveSecure is serve by TLS.
func serveSecure(t *testing.T, cfg Config, h *handler) *server {
	t.Helper()
	return serveBy(t, cfg, h, poll.SocketOptions{NoDelay: true}, &TerminatorConfig{})
}

// serveBy is serveOn by TLS, unless tc is nil.
func serveBy(t *testing.T, cfg Config, h *handler, o poll.SocketOptions, tc *TerminatorConfig) *server {
	t.Helper()
	s := &server{t: t, metrics: metrics.NewLoop(), stopped: make(chan error, 1), firstID: connIDs.Load()}
	if cfg.Head == (frame.HeadLimits{}) {
		cfg.Head = frame.HeadLimits{Bytes: 16 << 10, Headers: 100}
	}
	var err error
	if s.loop, err = New(cfg, h, s.metrics); err != nil {
		t.Fatal(err)
	}
	ln, err := poll.Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	if tc != nil {
		s.terminator = terminatorOf(tc, cfg, &s.tls)
	}
	a := NewAcceptor(ln, []*Loop{s.loop}, s.terminator, func(metrics.AcceptError) {})
	accepted := make(chan error, 1)
	go func() { accepted <- a.Run() }()
	go func() { s.stopped <- s.loop.Run() }()
	t.Cleanup(func() {
		a.Close()
		if err := await(t, accepted); err != nil {
			t.Errorf("acceptor: %v", err)
		}
		if s.terminator != nil {
			s.terminator.Close()
		}
		s.loop.Stop()
		if s.clock != nil {
			s.advanceUntil(func() bool { return s.loop.Conns() == 0 })
		}
		if err := await(t, s.stopped); err != nil {
			t.Errorf("loop: %v", err)
		}
		if n := s.loop.Conns(); n != 0 {
			t.Errorf("%d connections after Run", n)
		}
		if got := [...]int64{s.metrics.Connections.Value(), s.metrics.Handshakes.Value(), s.metrics.QueuedReplies.Value()}; got != [3]int64{} {
			t.Errorf("gauges of connections, handshakes, queued bytes after Run: %v", got)
		}
	})
	return s
}

// do runs f on the loop and waits for it, and for the turn it ran in.
func (s *server) do(f func()) {
	s.t.Helper()
	for _, g := range []func(){f, func() {}} {
		done := make(chan struct{})
		s.loop.Post(func() { g(); close(done) })
		await(s.t, done)
	}
}

// advance moves the clock, in steps that are no stall.
func (s *server) advance(d time.Duration) {
	s.t.Helper()
	for d > 0 {
		step := min(d, 500*time.Millisecond)
		s.clock.Add(int64(step))
		s.do(func() {})
		d -= step
	}
}

func (s *server) advanceUntil(ok func() bool) {
	for range 200 {
		if ok() {
			return
		}
		s.clock.Add(int64(500 * time.Millisecond))
		done := make(chan struct{})
		s.loop.Post(func() { close(done) })
		select {
		case <-done:
		case <-time.After(10 * time.Millisecond): // the loop has ended
		}
	}
}

// settle waits until the condition, which is read on the loop, holds.
func (s *server) settle(what string, ok func() bool) {
	s.t.Helper()
	end := time.Now().Add(patience)
	for held := false; !held; {
		if time.Now().After(end) {
			s.t.Fatalf("never: %s", what)
		}
		s.do(func() { held = ok() })
	}
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

// counted is a series' value as it is exported, for instance
// fanfare_connections_closed_total{reason="eof",side="client"}.
func (s *server) counted(series string) string {
	w := httptest.NewRecorder()
	metrics.NewSet("test", []*metrics.Loop{s.metrics}).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	s.t.Errorf("no series %s", series)
	return ""
}

// wantClosed waits until the reason is counted, once.
func (s *server) wantClosed(why metrics.CloseReason) {
	s.t.Helper()
	series := fmt.Sprintf("fanfare_connections_closed_total{reason=%q,side=%q}", why, why.Side())
	s.settle(series, func() bool { return s.counted(series) == "1" })
}

func (s *server) wantRejected(reason string, n int) {
	s.t.Helper()
	series := fmt.Sprintf("fanfare_handshakes_rejected_total{reason=%q}", reason)
	s.settle(series, func() bool { return s.counted(series) == fmt.Sprint(n) })
}
