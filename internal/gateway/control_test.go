package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// bus is what gateways of a test share: what they tell each other, and what is
// kept of users.
type bus struct {
	broker.People

	mu        sync.Mutex
	listeners []func([]byte)
	watchers  []func(broker.PresenceEvent)
	deaf      bool // nothing that is told arrives
	announced map[string]broker.Member
}

// newBus makes one on people that tell it alone who comes and goes.
func newBus(kept *memory.Broker) *bus {
	b := &bus{People: kept, announced: make(map[string]broker.Member)}
	kept.WatchPresence(func(e broker.PresenceEvent) {
		b.mu.Lock()
		watchers := b.watchers
		b.mu.Unlock()
		for _, f := range watchers {
			f(e)
		}
	})
	return b
}

// peer is one gateway's broker on a bus: its rooms are its own.
type peer struct {
	*tap
	bus *bus
}

var _ broker.Fleet = peer{}

func (p peer) Announce(_ context.Context, m broker.Member, _ time.Duration) (bool, error) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.bus.announced[m.ID] = m
	return true, nil
}

func (p peer) Withdraw(context.Context, string) error { return nil }

func (p peer) Members(context.Context) ([]broker.Member, error) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	if p.bus.deaf {
		return nil, broker.ErrUnavailable
	}
	return slices.Collect(maps.Values(p.bus.announced)), nil
}

func (p peer) Listen(f func([]byte)) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.bus.listeners = append(p.bus.listeners, f)
}

func (p peer) WatchPresence(f func(broker.PresenceEvent)) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.bus.watchers = append(p.bus.watchers, f)
}

func (p peer) Tell(_ context.Context, message []byte) error {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	if p.bus.deaf {
		return broker.ErrUnavailable
	}
	for _, f := range p.bus.listeners {
		f(message)
	}
	return nil
}

// runTwo starts two gateways that share a bus.
func runTwo(t *testing.T, change ...func(*setup)) (*bus, *service, *service) {
	t.Helper()
	return runTwoOn(t, memory.New(memory.Config{}), change...)
}

// runTwoOn has what is kept of users kept there.
func runTwoOn(t *testing.T, kept *memory.Broker, change ...func(*setup)) (*bus, *service, *service) {
	t.Helper()
	b := newBus(kept)
	one := func(id string) *service {
		return run(t, append(change, func(c *setup) {
			c.ID, c.Loops = id, 2
			own := memory.New(memory.Config{})
			c.tap.Broker, c.tap.People = own, b.People
			c.Broker = peer{c.tap, b}
		})...)
	}
	return b, one("gw"), one("other")
}

func TestARevocationReachesEveryGateway(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	b, one, two := runTwo(t, i.trusted)
	issued := time.Now().Truncate(time.Second)
	token := func(user, id string, at time.Time) string {
		return i.token(auth.Claims{Subject: user, TokenID: id, Issued: at})
	}
	gone := []*client{one.connect(withToken(token("ada", "t1", issued))), two.connect(withToken(token("ada", "t1", issued)))}
	renewed := two.dial()
	renewed.auth(token("ada", "t1", issued))
	gone = append(gone, renewed)
	stays := []*client{one.connect(withToken(token("ada", "t2", issued))), two.connect(withToken(token("bob", "", issued))), one.dial()}
	if err := one.gw.Revoke(t.Context(), broker.Revocation{TokenID: "t1", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range gone {
		c.closed(protocol.CloseToken)
	}
	for _, c := range stays {
		c.sync()
	}
	for _, s := range []*service{one, two} {
		if _, res := s.handshake(withToken(token("ada", "t1", issued))); res.StatusCode != 401 {
			t.Errorf("a revoked token: %s", res.Status)
		}
		stays[2].fails(`{"type":"auth","payload":{"token":"`+token("ada", "t1", issued)+`"}}`, "unauthorized", "token")
	}
	one.untilMetric(`fanfare_connections_closed_total{reason="token_revoked",side="gateway"}`, 1)
	two.untilMetric(`fanfare_connections_closed_total{reason="token_revoked",side="gateway"}`, 2)
	two.untilMetric(`fanfare_control_messages_total{type="revoke"}`, 1)
	two.untilMetric("fanfare_revocations", 1)
	two.untilMetric(`fanfare_token_refused_total{reason="revoked"}`, 1)

	// All of a user's, by a gateway that nobody hears: the others read it.
	b.mu.Lock()
	b.deaf = true
	b.mu.Unlock()
	if err := two.gw.Revoke(t.Context(), broker.Revocation{User: "ada", Before: issued, Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	stays[0].closed(protocol.CloseToken)
	stays[1].sync()
	one.connect(withToken(token("ada", "t3", issued.Add(time.Second)))) // issued after it
}

func TestARevocationThatIsNotKeptIsAnError(t *testing.T) {
	s := run(t)
	s.stop()
	if err := s.gw.Revoke(t.Context(), broker.Revocation{TokenID: "t", Until: time.Now().Add(time.Hour)}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := run(t, func(c *setup) {
		c.Broker = struct{ broker.Broker }{memory.New(memory.Config{})}
	}).gw.Revoke(t.Context(), broker.Revocation{TokenID: "t"}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestADisconnectedUserIsClosedOnEveryGateway(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, i.trusted)
	guest := two.dial()
	gone := []*client{one.connect(withToken(i.of("ada"))), two.connect(withToken(i.of("ada"))), two.connect(withToken(i.of("ada")))}
	stays := []*client{one.dial(), two.dial(), two.connect(withToken(i.of("adam")))}
	if err := one.gw.Disconnect(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	for _, c := range gone {
		c.closed(protocol.CloseOperator)
	}
	guest.sync()
	if err := one.gw.Disconnect(t.Context(), guest.welcome.User); err != nil {
		t.Fatal(err)
	}
	guest.closed(protocol.CloseOperator)
	for _, c := range stays {
		c.sync()
	}
	two.untilMetric(`fanfare_connections_closed_total{reason="operator",side="gateway"}`, 3)
	two.untilMetric(`fanfare_control_messages_total{type="disconnect"}`, 2)
	if err := run(t).gw.Disconnect(t.Context(), "nobody"); err != nil {
		t.Errorf("without a fleet: %v", err)
	}
}

// A hunt goes by in slices, and what comes while it does is looked for too.
func TestAHuntFindsAllOfThem(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted)
	var all []*client
	for n := range 40 {
		all = append(all, s.connect(withToken(i.of(fmt.Sprint("user", n)))))
	}
	for n := range 40 {
		s.gw.heard(fmt.Appendf(nil, `{"type":"disconnect","user":"user%d"}`, n))
	}
	for _, c := range all {
		c.closed(protocol.CloseOperator)
	}
}

func TestControlMessagesThatAreNotKnownDoNothing(t *testing.T) {
	s := run(t)
	c := s.dial()
	bad := []string{
		``, `x`, `null`, `[]`, `{}`, `{"type":"shutdown"}`, `{"type":"disconnect"}`, `{"type":"disconnect","user":""}`,
		`{"type":"disconnect","user":"a","room":"only here"}`, `{"type":"disconnect","user":"a","user":"b"}`, `{"type":"disconnect","user":"a"}{}`,
		`{"type":"revoke"}`, `{"type":"revoke","revocation":null}`, `{"type":"revoke","revocation":{"jti":"t","until":"2099-01-01T00:00:00Z"},"user":"a"}`,
		`{"type":"revoke","revocation":{"jti":1}}`, `{"Type":"disconnect","user":"a"}`,
		`{"type":"disconnect","user":"` + strings.Repeat("a", maxControl) + `"}`,
	}
	for _, message := range bad {
		s.gw.heard([]byte(message))
	}
	s.untilMetric(`fanfare_control_messages_total{type="ignored"}`, float64(len(bad)))
	s.gw.heard([]byte(`{"type":"revoke","revocation":{"jti":"a","user":"b","until":"2099-01-01T00:00:00Z"}}`))
	s.untilMetric("fanfare_revocations_refused_total", 1)
	c.sync()
}

func TestTooManyToDisconnectAtOnceAreCounted(t *testing.T) {
	s := run(t)
	sh := s.gw.shards[0]
	fresh := &shard{gw: s.gw, loop: sh.loop}
	for n := range huntMost + 3 {
		fresh.hunted(huntUser(fmt.Sprint(n)))
	}
	if n := s.metric("fanfare_disconnects_dropped_total"); n != 3 || len(fresh.hunt.next.users) != huntMost {
		t.Errorf("%v dropped, %d kept", n, len(fresh.hunt.next.users))
	}
}

func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"type":"revoke","revocation":{"user":"a","before":"2026-01-01T00:00:00Z","until":"2099-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"type":"disconnect","user":"a"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		if c, ok := parseControl(message); ok && (c.Revocation == nil) == (c.User == "") {
			t.Errorf("%+v", c)
		}
	})
}
