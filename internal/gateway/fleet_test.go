package gateway

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestTheMeanIsThatOfGatewaysThatTakeConnections(t *testing.T) {
	other := func(id string, n int, draining bool) broker.Member {
		return broker.Member{ID: id, Connections: n, Draining: draining}
	}
	tests := []struct {
		name     string
		members  []broker.Member
		mean     float64
		gateways int
	}{
		{"none", nil, 0, 0},
		{"this one alone", []broker.Member{other("gw", 7, false)}, 100, 1},
		{"its own count is newer than what it announced", []broker.Member{other("gw", 7, false), other("b", 50, false)}, 75, 2},
		{"all at zero but this one", []broker.Member{other("gw", 100, false), other("b", 0, false), other("c", 0, false), other("d", 0, false)}, 25, 4},
		{"one that drains does not count", []broker.Member{other("gw", 100, false), other("b", 900, true), other("c", 50, false)}, 75, 2},
		{"all others drain", []broker.Member{other("gw", 100, false), other("b", 900, true)}, 100, 1},
		{"this one drains", []broker.Member{other("gw", 100, true), other("b", 40, false), other("c", 60, false)}, 50, 2},
		{"its own lease has run out", []broker.Member{other("b", 40, false)}, 40, 1},
	}
	for _, test := range tests {
		if mean, gateways := meanLoad(test.members, "gw", 100); mean != test.mean || gateways != test.gateways {
			t.Errorf("%s: mean %v of %d, want %v of %d", test.name, mean, gateways, test.mean, test.gateways)
		}
	}
}

func TestOnlyAClearSurplusIsSentAwayAndOnlyAPartOfIt(t *testing.T) {
	tests := []struct {
		own  int
		mean float64
		want int
	}{
		{0, 0, 0}, {0, 100, 0}, {9, 0, 0}, {10, 0, 2}, // a few are not worth it
		{100, 100, 0}, {110, 100, 0}, {111, 100, 2}, {120, 100, 3}, {200, 100, 13},
		{59, 50, 0}, {60, 50, 2}, // above the share, but by few
		{1099, 1000, 0}, {1100, 1000, 0}, {1101, 1000, 13},
		{1_000_000, 500_000, 62_500},
	}
	for _, test := range tests {
		if n := surplus(test.own, test.mean); n != test.want {
			t.Errorf("%d at a mean of %v: %d, want %d", test.own, test.mean, n, test.want)
		}
	}
}

// However uneven a fleet begins, it evens out, and then rests. Who is sent away
// goes where there are least.
func TestSheddingEvensOutAndEnds(t *testing.T) {
	for _, loads := range [][]int{{1000, 1000, 1000, 0, 0, 0}, {6000, 0, 0, 0, 0, 0}, {500, 400, 300, 200, 100, 0}, {300, 0}} {
		sum := 0
		for _, n := range loads {
			sum += n
		}
		mean := float64(sum) / float64(len(loads))
		last := -1
		for round := range 100 {
			for i := range loads {
				for range surplus(loads[i], mean) {
					least := 0
					for j := range loads {
						if loads[j] < loads[least] {
							least = j
						}
					}
					loads[i]--
					loads[least]++
					last = round
				}
			}
		}
		if last > 40 {
			t.Errorf("connections were sent away %d times", last)
		}
		for _, n := range loads {
			if float64(n) < mean*0.8 || float64(n) > mean*1.2 {
				t.Errorf("mean %v: %v", mean, loads)
			}
		}
	}
}

// announce does what the gateway does every so often.
func (s *service) announce() {
	s.t.Helper()
	if err := s.gw.fleet.announce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (b *remote) lastAnnounced() (broker.Member, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.announced) == 0 {
		return broker.Member{}, 0
	}
	return b.announced[len(b.announced)-1], b.lease
}

func (b *remote) setOthers(members ...broker.Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others = members
}

func TestAGatewayAnnouncesItselfWhileItLives(t *testing.T) {
	t.Parallel()
	b, s := runRemote(t, func(c *setup, _ *remote) { c.Version = "v1"; c.DrainPeriod = time.Hour })
	until(t, "it is announced", func() bool { m, _ := b.lastAnnounced(); return m.ID != "" })
	c := s.dial()
	c.joinInto("r")
	c.joinInto("r2")
	b.setOthers(broker.Member{ID: "b", Connections: 4}, broker.Member{ID: "c", Connections: 9, Draining: true})
	s.announce()
	m, lasts := b.lastAnnounced()
	if want := (broker.Member{ID: "gw", Version: "v1", Connections: 1, Rooms: 2}); m != want || lasts != lease || lasts <= 2*announceEvery {
		t.Errorf("announced %+v for %v", m, lasts)
	}
	s.untilMetric("fanfare_fleet_gateways", 3)
	s.untilMetric("fanfare_fleet_connections_mean", 3) // of 1 and 4
	b.setReady(errAway)
	if err := s.gw.fleet.announce(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("announcing at a broker that is away: %v", err)
	}
	b.setReady(nil)
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	s.untilMetric("fanfare_draining", 1)
	until(t, "the drain is announced", func() bool { m, _ := b.lastAnnounced(); return m.Draining })
	if n := s.count(b); n != 0 {
		t.Errorf("withdrawn %d times while it drains", n)
	}
	c.conn.Close()
	receive(t, stopped)
	if n := s.count(b); n != 1 {
		t.Errorf("withdrawn %d times", n)
	}
}

// count is how often the gateway's lease was given back.
func (s *service) count(b *remote) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.withdrawn {
		if id != "gw" {
			s.t.Errorf("withdrew %q", id)
		}
	}
	return len(b.withdrawn)
}

// ends reads clients to their end, each of which must come with a reconnect for
// this reason, and returns how many are left open.
func ends(t *testing.T, clients []*client, reason string) (open []*client, waits map[time.Duration]bool) {
	t.Helper()
	waits = make(map[time.Duration]bool)
	for _, c := range clients {
		_ = c.write(1, []byte(`{"type":"ping"}`)) // it may be closed already
		m := c.next()
		if m.Type == "pong" {
			open = append(open, c)
			continue
		}
		if m.Type != "reconnect" || m.Reconnect.Reason != reason || m.Reconnect.After < 0 || m.Reconnect.After > spreadMost {
			t.Fatalf("want reconnect for %s, got %s", reason, c.raw)
		}
		waits[m.Reconnect.After] = true
		if m, err := c.poll(patience); !errors.Is(err, io.EOF) || c.code != protocol.CloseRestart {
			t.Errorf("after reconnect: %+v %v, close code %d", m, err, c.code)
		}
		c.conn.Close()
	}
	return open, waits
}

func (s *service) many(n int) []*client {
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = s.dial()
	}
	return clients
}

func TestRebalancingSendsTheSurplusAway(t *testing.T) {
	const all = 40
	b, s := runRemote(t, func(c *setup, _ *remote) { c.Rebalance = true })
	clients := s.many(all)
	b.setOthers(broker.Member{ID: "b"})
	own := all
	for n := 1; n > 0; {
		s.announce()
		n = surplus(own, float64(own)/2)
		until(t, "some are gone", func() bool { return s.gw.Connections() <= own-n })
		own = s.gw.Connections()
	}
	open, waits := ends(t, clients, "rebalance")
	if len(open) != own || own < shedLeast || own > 20 {
		t.Errorf("%d are left, of which %d are open", own, len(open))
	}
	if len(waits) < (all-own)/2 {
		t.Errorf("%d different waits for %d clients", len(waits), all-own)
	}
	s.untilMetric(`fanfare_connections_closed_total{reason="rebalance",side="gateway"}`, float64(all-len(open)))
}

// Nothing is sent away where rebalancing is off, where no other gateway could take
// it, and by one that drains in its own way.
func TestNothingIsShedThatHasNowhereToGo(t *testing.T) {
	for name, test := range map[string]struct {
		on       bool
		others   []broker.Member
		draining bool
	}{
		"off":             {false, []broker.Member{{ID: "b"}}, false},
		"alone":           {true, nil, false},
		"others drain":    {true, []broker.Member{{ID: "b", Draining: true}}, false},
		"draining itself": {true, []broker.Member{{ID: "b"}, {ID: "c"}}, true},
		"even":            {true, []broker.Member{{ID: "b", Connections: 24}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, s := runRemote(t, func(c *setup, b *remote) { c.Rebalance, b.others = test.on, test.others })
			clients := s.many(25)
			s.gw.draining.Store(test.draining)
			b.setOthers(test.others...)
			for range 3 {
				s.announce()
			}
			for _, c := range clients {
				c.sync()
			}
			if n := s.gw.Connections(); n != len(clients) {
				t.Errorf("%d connections of %d are left", n, len(clients))
			}
		})
	}
}

func TestConnectionsLiveUpToTheirMaximumAgeLessJitter(t *testing.T) {
	s := run(t, func(c *setup) { c.MaxConnectionAge = time.Hour })
	const now = int64(1e18)
	seen := make(map[int64]bool)
	early, late := false, false
	for range 1000 {
		age := time.Duration(s.gw.lifetime(now))*time.Second - time.Duration(now)
		if age < time.Hour*8/10-1 || age > time.Hour {
			t.Fatalf("a life of %v", age)
		}
		seen[int64(age)] = true
		early, late = early || age < 50*time.Minute, late || age > 58*time.Minute
	}
	if len(seen) < 400 || !early || !late {
		t.Errorf("%d different lives, early %v, late %v", len(seen), early, late)
	}
	if n := run(t).gw.lifetime(now); n != 0 {
		t.Errorf("without a maximum the end is at %d", n)
	}
}

func TestAConnectionThatIsTooOldIsSentAway(t *testing.T) {
	t.Parallel()
	const age = time.Second
	s := run(t, func(c *setup) { c.Loops, c.MaxConnectionAge = 2, age })
	begun := time.Now()
	clients := s.many(10)
	for _, c := range clients {
		m := c.expect("reconnect")
		if m.Reconnect.Reason != "age" {
			t.Errorf("reconnect %s", c.raw)
		}
		if lived := time.Since(begun); lived < age*8/10 {
			t.Errorf("sent away after %v", lived)
		}
		c.closed(protocol.CloseRestart)
		c.conn.Close()
	}
	s.untilMetric(`fanfare_connections_closed_total{reason="age",side="gateway"}`, float64(len(clients)))
}
