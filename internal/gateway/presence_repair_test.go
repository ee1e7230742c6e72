package gateway

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
)

// setPeopleAway has every question about users fail.
func (b *tap) setPeopleAway() { b.memory().Close() }

func (b *tap) memory() *memory.Broker { return b.People.(*memory.Broker) }

// What could not be said is said again, in the numbers of then, before anything
// else.
func TestPresenceIsSaidUntilItIsTaken(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	var most atomic.Int64
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) {
		c.tap.saying = func(rooms []broker.RoomUsers) error {
			n := 0
			for _, r := range rooms {
				n += len(r.Users)
			}
			most.Store(max(most.Load(), int64(n)))
			if away.Load() {
				return broker.ErrUnavailable
			}
			return nil
		}
	})
	away.Store(true)
	first := s.connect(withToken(i.of("first")))
	first.join("r", "")
	until(t, "it has failed", func() bool { return s.metric("fanfare_presence_failed_total") >= 1 })
	// Guests come and go unheard: nothing of them is kept.
	for range 20 {
		g := s.dial()
		g.join("r", "")
		g.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
		g.reply("l")
		g.conn.Close()
	}
	second := s.connect(withToken(i.of("second")))
	second.join("r", "")
	other := s.connect(withToken(i.of("first")))
	other.join("r", "")
	first.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	first.reply("l")
	if n := s.metric("fanfare_presence_queue_depth"); n != 2 {
		t.Errorf("%v users are kept", n)
	}
	away.Store(false)
	s.untilUsers("r", "first:1", "second:1")
	s.untilMetric("fanfare_presence_queue_depth", 0)
	if n := most.Load(); n > 2 {
		t.Errorf("%d users in one statement", n)
	}
}

// After a gap in the relay the count is read again. Also where it is the same, others
// may be there.
func TestAfterAGapInTheRelayTheCountIsReadAgain(t *testing.T) {
	s := run(t, listed)
	c := s.dial()
	c.join("r", watching)
	c.presence("r", []string{c.welcome.User}, nil, 1)
	s.tap.unheard.Store(true)
	s.elsewhere("r", "ben", 1)
	c.sync()
	s.tap.sink.Subscribed([]string{"r"})
	c.incomplete("r", 2)
	s.elsewhere("r", "ben", 0)
	s.elsewhere("r", "ada", 1)
	c.sync()
	s.tap.sink.Subscribed([]string{"r"})
	c.incomplete("r", 2)
	if j := s.dial().join("r", ""); j.Members != 3 {
		t.Errorf("joined with %d", j.Members)
	}
}

func TestTheFirstMemberKnowsWhoIsOnOtherGateways(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, listed, i.trusted)
	a := one.connect(withToken(i.of("ada")))
	a.join("r", "")
	one.untilUsers("r", "ada:1")
	b := two.connect(withToken(i.of("bob")))
	if j := b.join("r", ""); j.Members != 2 {
		t.Errorf("joined with %d", j.Members)
	}
	two.untilUsers("r", "ada:1", "bob:1")
}

// forgetful is people that a test may make forget who is there, and their names.
type forgetful struct {
	broker.People // what is not forgotten

	mu   sync.Mutex
	kept broker.People
	away bool // nothing can be counted
}

func newForgetful() *forgetful {
	m := memory.New(memory.Config{})
	return &forgetful{People: m, kept: m}
}

func (f *forgetful) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = memory.New(memory.Config{})
}

func (f *forgetful) now() broker.People {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}

func (f *forgetful) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *forgetful) OnlineCounts(ctx context.Context, rooms []string) ([]int, error) {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away {
		return nil, broker.ErrUnavailable
	}
	return f.now().OnlineCounts(ctx, rooms)
}

func (f *forgetful) ReleaseName(ctx context.Context, c broker.NameClaim, grace time.Duration) error {
	return f.now().ReleaseName(ctx, c, grace)
}

func (f *forgetful) SetPresence(ctx context.Context, gateway string, rooms []broker.RoomUsers) error {
	return f.now().SetPresence(ctx, gateway, rooms)
}

func (f *forgetful) Online(ctx context.Context, room, after string, limit int) (broker.Online, error) {
	return f.now().Online(ctx, room, after, limit)
}

func (f *forgetful) ClaimName(ctx context.Context, c broker.NameClaim) (bool, error) {
	return f.now().ClaimName(ctx, c)
}

func TestWhatTheBrokerForgotIsSaidAgain(t *testing.T) {
	i := newIssuer(t)
	kept := newForgetful()
	s := run(t, listed, i.trusted, func(c *setup) {
		c.Loops = 2
		c.tap.Broker, c.tap.People = memory.New(memory.Config{}), kept
		c.Broker = c.tap
	})
	var want []string
	for range 20 {
		c := s.dial()
		c.join("r", "")
		want = append(want, c.welcome.User+":1")
	}
	a := s.connect(withToken(i.of("ada")))
	a.join("r", "")
	b := s.connect(withToken(i.of("bob")))
	b.join("r", "")
	want = append(want, "ada:1", "bob:1")
	slices.Sort(want)
	s.untilUsers("r", want...)
	b.conn.Close() // stays for its grace, also in what is said again
	s.untilMetric("fanfare_memberships", float64(len(want)-1))
	kept.forget()
	s.gw.people.again()
	s.untilUsers("r", want...)
	s.pass(leaveGrace)
	s.untilUsers("r", slices.DeleteFunc(want, func(u string) bool { return u == "bob:1" })...)
}
