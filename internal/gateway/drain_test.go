package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func (s *service) ready(t *testing.T) (ready bool, failed []string) {
	t.Helper()
	ready = true
	for _, c := range s.gw.Checks() {
		if c.OK != (c.Error == "") || c.Since.IsZero() {
			t.Errorf("check %+v", c)
		}
		if !c.OK {
			ready, failed = false, append(failed, c.Name)
		}
	}
	return ready, failed
}

// A drain: readiness is false at once, no one new is taken in, and each
// connection is told and closed in its turn over the period.
func TestADrainSendsAllAwayOverItsPeriod(t *testing.T) {
	const period, all = 600 * time.Millisecond, 40
	s := run(t, func(c *setup) { c.Loops = 2; c.DrainPeriod = period; c.Echo = true })
	if ok, failed := s.ready(t); !ok {
		t.Fatalf("not ready: %v", failed)
	}
	type end struct {
		at    time.Duration
		told  protocol.Reconnect
		code  uint16
		error error
	}
	ends := make(chan end, all)
	clients := make([]*client, all)
	for i := range clients {
		clients[i] = s.connect(dialing{path: "/ws?room=r"})
		clients[i].joinedFirst()
	}
	echo, _ := s.handshake(dialing{path: "/echo"})
	begun := time.Now()
	for _, c := range clients {
		go func() {
			var e end
			for c.code == 0 && e.error == nil {
				var m protocol.Server
				if m, e.error = c.poll(patience); m.Type == "reconnect" {
					e.told, e.error = m.Reconnect, nil
				}
			}
			e.at, e.code = time.Since(begun), c.code
			_ = c.write(8, []byte{3, 244})
			ends <- e
		}()
	}
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	until(t, "the drain has begun", func() bool { ok, _ := s.ready(t); return !ok })
	if n := s.metric("fanfare_connections"); n < all/2 {
		t.Errorf("only %v connections when readiness turned false", n)
	}
	if _, failed := s.ready(t); len(failed) != 1 || failed[0] != "accepting" {
		t.Errorf("failed checks: %v", failed)
	}
	early := 0
	for range all {
		e := receive(t, ends)
		if e.code != protocol.CloseRestart || e.error != nil && !errors.Is(e.error, io.EOF) {
			t.Fatalf("close code %d, %v", e.code, e.error)
		}
		if e.told.Reason == "" || e.told.After < 0 || e.told.After > spreadMost {
			t.Errorf("reconnect: %+v", e.told)
		}
		if e.at < period/2 {
			early++
		}
	}
	if early < all/5 || early > all*4/5 {
		t.Errorf("%d of %d were sent away in the first half", early, all)
	}
	echo.closed(protocol.CloseRestart)
	echo.conn.Close()
	receive(t, stopped)
	if v := s.metric(`fanfare_connections_closed_total{reason="drain",side="gateway"}`); v != all+1 {
		t.Errorf("%v closed by the drain", v)
	}
}

// joinedFirst reads the joined of a URL.
func (c *client) joinedFirst() { c.t.Helper(); c.expect("joined") }

// Who is in a handshake when the drain begins gets 503; a stop whose context is
// over does not wait for its period.
func TestAStopThatIsInAHurry(t *testing.T) {
	s := run(t, func(c *setup) { c.DrainPeriod = time.Hour })
	clients := []*client{s.dial(), s.dial(), s.dial(), s.dial(), s.dial(), s.dial(), s.dial(), s.dial()}
	for _, c := range clients {
		c.joinInto("r")
	}
	half, err := s.quiet(dialing{headers: []string{"X: 1"}})
	if err != nil {
		t.Fatal(err)
	}
	half.conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { s.gw.Stop(ctx); close(stopped) }()
	until(t, "the drain has begun", func() bool { ok, _ := s.ready(t); return !ok })
	cancel()
	ends := map[uint16]int{}
	for _, c := range clients {
		for c.code == 0 {
			if _, err := c.poll(patience); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		ends[c.code]++
		c.conn.Close()
	}
	if ends[protocol.CloseGoingAway] == 0 || ends[protocol.CloseGoingAway]+ends[protocol.CloseRestart] != len(clients) {
		t.Errorf("close codes %v", ends)
	}
	receive(t, stopped)
	s.halted = true
	if n := s.metric("fanfare_rooms") + s.metric("fanfare_connections") + s.metric("fanfare_room_log_bytes"); n != 0 {
		t.Error("something is left")
	}
}

// A socket that never says anything gets 503 and does not hold up the end.
func TestADrainRefusesUnfinishedHandshakes(t *testing.T) {
	s := run(t, func(c *setup) { c.DrainPeriod = time.Hour })
	conn := s.raw()
	s.untilMetric("fanfare_handshakes", 1)
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("answered %q, %v", answer, err)
	}
	conn.Close()
	receive(t, stopped)
}

// Nobody asks in between, as where a probe is rare or the fault shorter than its
// period.
func TestReadinessKnowsSinceWhenThoughNobodyAsked(t *testing.T) {
	b, s := runRemote(t)
	s.gw.Checks()
	b.setReady(errAway)
	begun := time.Now()
	since := func() time.Time { // as it stands, without looking
		s.gw.health.mu.Lock()
		defer s.gw.health.mu.Unlock()
		return s.gw.health.checks[1].Since
	}
	until(t, "the watch has looked", func() bool { return !since().Before(begun) })
	seen := since()
	if c := s.gw.Checks()[1]; c.OK || !c.Since.Equal(seen) {
		t.Errorf("%+v, seen at %v", c, seen)
	}
}

// A client that never reads does not hold up the end.
func TestADrainEndsWithoutThoseWhoDoNotRead(t *testing.T) {
	t.Parallel()
	s := run(t)
	c := s.connect(dialing{small: true})
	c.join("r", "")
	s.storeN("r", 300, 30<<10)
	s.stop()
}

func TestReadinessFollowsTheBroker(t *testing.T) {
	s := run(t)
	before := s.gw.Checks()
	s.tap.setReady(errors.New("the broker is away"))
	away := s.gw.Checks()
	if away[1].Name != "broker" || away[1].OK || away[1].Error != "the broker is away" || !away[1].Since.After(before[1].Since) || !away[0].OK {
		t.Errorf("checks %+v", away)
	}
	if again := s.gw.Checks(); again[1].Since != away[1].Since {
		t.Error("since changed and the state did not")
	}
	s.tap.setReady(nil)
	if ok, _ := s.ready(t); !ok {
		t.Error("not ready again")
	}
}
