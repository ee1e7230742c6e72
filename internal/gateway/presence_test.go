package gateway

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// listed has every room keep who is in it.
func listed(c *setup) {
	for i := range c.Classes {
		c.Classes[i].Presence = true
	}
}

const watching = `,"presence":true`

// presence wants the next message to be a presence event of these, and all of them.
func (c *client) presence(name string, joined, left []string, count int) {
	c.t.Helper()
	c.presenceOf(name, joined, left, count, false)
}

// incomplete wants it to name nobody, and to say so.
func (c *client) incomplete(name string, count int) {
	c.t.Helper()
	c.presenceOf(name, nil, nil, count, true)
}

func (c *client) presenceOf(name string, joined, left []string, count int, incomplete bool) {
	c.t.Helper()
	p := c.expect("presence").Presence
	if p.Incomplete != incomplete {
		c.t.Fatalf("incomplete: %s", c.raw)
	}
	if p.Room != name || !slices.Equal(p.Joined, joined) || !slices.Equal(p.Left, left) || p.Count != count {
		c.t.Fatalf("want %s to have %v come, %v leave and %d be there, got %s", name, joined, left, count, c.raw)
	}
}

// pass lets so much time go by for the users that may come back.
func (s *service) pass(d time.Duration) { s.gw.people.due(time.Now().Add(d)) }

// cool waits until what was said and told has cooled.
func (s *service) cool() {
	s.t.Helper()
	p := &s.gw.people.presence
	until(s.t, "it has cooled", func() bool { return p.telling.len() == 0 && p.cooling.len() == 0 })
}

// users is the whole list of a room, as user:connections.
func (s *service) users(name string) (all []string) {
	s.t.Helper()
	page, err := s.gw.Members(s.t.Context(), name, "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, u := range page.Users {
		all = append(all, fmt.Sprintf("%s:%d", u.User, u.Connections))
	}
	if len(all) != page.Count {
		s.t.Fatalf("%d of %d users", len(all), page.Count)
	}
	return all
}

func (s *service) untilUsers(name string, want ...string) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%s has %v", name, want), func() bool { return slices.Equal(s.users(name), want) })
}

func TestMembersSeeWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) { c.Loops = 2 })
	a := s.connect(withToken(i.of("ada")))
	if j := a.join("r", watching); j.Members != 1 {
		t.Errorf("joined with %d", j.Members)
	}
	a.presence("r", []string{"ada"}, nil, 1)
	begun := time.Now()
	b, g := s.connect(withToken(i.of("bob"))), s.dial()
	if j := b.join("r", ""); j.Members != 2 {
		t.Errorf("joined with %d", j.Members)
	}
	if j := g.join("r", ""); j.Members != 3 {
		t.Errorf("joined with %d", j.Members)
	}
	seen := []string{}
	for len(seen) < 2 {
		p := a.expect("presence").Presence
		if seen = append(seen, p.Joined...); p.Count != 1+len(seen) || len(p.Left) != 0 {
			t.Errorf("%s", a.raw)
		}
	}
	if slices.Sort(seen); !slices.Equal(seen, []string{"bob", g.welcome.User}) {
		t.Errorf("joined %v", seen)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	b.send(`{"type":"leave","payload":{"room":"r"}}`)
	a.presence("r", nil, []string{"bob"}, 2)
	g.conn.Close()
	a.presence("r", nil, []string{g.welcome.User}, 1) // a guest does not come back by its name
	b.sync()                                          // who did not ask is told nothing
	s.untilUsers("r", "ada:1")
	s.untilMetric("fanfare_presence_said_total", 5)
	s.untilMetric("fanfare_presence_queue_depth", 0)
}

func TestSeveralTabsAreOneUser(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) { c.Loops = 2 })
	watcher := s.dial()
	watcher.join("r", watching)
	watcher.expect("presence")
	var tabs []*client
	for n := range 3 {
		c := s.connect(withToken(i.of("ada")))
		if j := c.join("r", ""); j.Members != 2 {
			t.Errorf("tab %d joined with %d", n, j.Members)
		}
		tabs = append(tabs, c)
	}
	watcher.presence("r", []string{"ada"}, nil, 2)
	s.untilUsers("r", "ada:3", watcher.welcome.User+":1")
	tabs[0].conn.Close()
	tabs[1].send(`{"type":"leave","payload":{"room":"r"}}`)
	s.untilUsers("r", "ada:1", watcher.welcome.User+":1")
	watcher.sync()
	tabs[2].send(`{"type":"leave","payload":{"room":"r"}}`)
	watcher.presence("r", nil, []string{"ada"}, 1)
}

func TestAPageThatIsLoadedAgainIsNoLeave(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := run(t, listed, i.trusted)
	watcher := s.dial()
	watcher.join("r", watching)
	watcher.expect("presence")
	c := s.connect(withToken(i.of("ada")))
	c.join("r", "")
	watcher.presence("r", []string{"ada"}, nil, 2)
	s.untilMetric("fanfare_presence_queue_depth", 0)
	said := s.metric("fanfare_presence_said_total")
	for range 3 {
		c.conn.Close()
		s.untilMetric("fanfare_memberships", 1)
		s.pass(leaveGrace - time.Second)
		c = s.connect(withToken(i.of("ada")))
		c.join("r", "")
	}
	s.pass(leaveGrace)
	watcher.sync()
	if n := s.metric("fanfare_presence_said_total"); n != said {
		t.Errorf("the broker was told of %v users for nothing", n-said)
	}
	c.conn.Close()
	s.untilMetric("fanfare_memberships", 1)
	s.pass(leaveGrace - time.Second)
	watcher.sync()
	s.pass(leaveGrace)
	watcher.presence("r", nil, []string{"ada"}, 1)
}

// Whatever comes and goes, a room's members are told at most every so often, and of
// nothing that was undone.
func TestPresenceIsCoalesced(t *testing.T) {
	s := run(t, listed)
	c := s.dial()
	c.join("r", watching)
	c.expect("presence")
	s.cool()
	event := func(count int, joined []string, left ...string) {
		s.tap.watcher(broker.PresenceEvent{Room: "r", Joined: joined, Left: left, Count: count})
	}
	begun := time.Now()
	event(2, []string{"a"})
	c.presence("r", []string{"a"}, nil, 2) // at once, after a quiet time
	for n := range 100 {
		name := fmt.Sprint("u", n)
		event(3, []string{name})
		event(2, nil, name)
	}
	event(3, []string{"b"})
	event(3, []string{"c"}, "a")
	c.presence("r", []string{"b", "c"}, []string{"a"}, 3)
	if took := time.Since(begun); took < presenceEvery {
		t.Errorf("two events within %v", took)
	}
	many := make([]string, presenceNames+100)
	for n := range many {
		many[n] = fmt.Sprintf("m%04d", n)
	}
	event(len(many)+3, many)
	if p := c.expect("presence").Presence; len(p.Joined) != presenceNames || p.Count != len(many)+3 {
		t.Errorf("%d names and a count of %d", len(p.Joined), p.Count)
	}
	s.untilMetric("fanfare_presence_names_dropped_total", 100)
	event(7, []string{"x"})
	event(7, nil, "x") // nothing but another count
	c.presence("r", nil, nil, 7)
}

// A member whose socket takes nothing costs nothing: it gets the count once it does.
func TestAMemberThatDoesNotReadGetsTheNewestCount(t *testing.T) {
	t.Parallel()
	s := run(t, listed, func(c *setup) { c.slow(0, 10, 0) })
	c := s.connect(dialing{small: true})
	c.join("r", watching)
	last := s.storeN("r", 600, 30<<10) // the socket is full
	names := make([]string, 500)
	for n := range names {
		names[n] = fmt.Sprint(strings.Repeat("n", 50), n)
	}
	for n := range 5 {
		s.tap.watcher(broker.PresenceEvent{Room: "r", Joined: names, Count: 10 + n})
		if n == 0 { // else who came and left within one interval is not said at all
			until(s.t, "one is not sent", func() bool { return s.metric("fanfare_presence_skipped_total") >= 1 })
		}
		s.tap.watcher(broker.PresenceEvent{Room: "r", Left: names, Count: 10 + n})
	}
	if n := s.metric("fanfare_queued_reply_bytes"); n > 200<<10 {
		t.Errorf("%v bytes are queued", n)
	}
	ledgerOf(c).rooms["r"] = &account{epoch: last.Epoch}
	count := 0
	for c.ledger.rooms["r"].seq < last.Seq || count != 14 {
		m := c.next()
		if m.Type == "presence" {
			count = m.Presence.Count
			continue
		}
		if err := c.ledger.take(&m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARoomThatKeepsNoListHasNone(t *testing.T) {
	s := run(t)
	a, b := s.dial(), s.dial()
	a.join("r", watching)
	if j := b.join("r", ""); j.Members != 2 {
		t.Errorf("joined with %d", j.Members)
	}
	a.fails(`{"type":"members","payload":{"room":"r"}}`, "forbidden", "room")
	a.sync()
	if n := s.metric("fanfare_presence_said_total"); n != 0 {
		t.Errorf("%v users were said", n)
	}
}

func TestWhoMayNotSeeTheMembersIsNotTold(t *testing.T) {
	s := run(t, listed, func(c *setup) { c.Classes[0].Rules.Members = auth.Server })
	c := s.dial()
	c.fails(`{"type":"join","payload":{"room":"r","presence":true}}`, "forbidden", "room")
	c.join("r", "")
	c.fails(`{"type":"join","payload":{"room":"r","presence":true}}`, "forbidden", "room")
	s.tap.watcher(broker.PresenceEvent{Room: "r", Joined: []string{"a"}, Count: 2})
	c.sync()
}

// A second join changes who is told, and nothing else.
func TestASecondJoinTurnsPresenceOnAndOff(t *testing.T) {
	t.Parallel()
	s := run(t, listed)
	clients := []*client{s.dial(), s.dial(), s.dial()}
	event := func() {
		s.cool()
		s.tap.watcher(broker.PresenceEvent{Room: "r", Count: 9})
	}
	for _, c := range clients {
		c.join("r", watching)
	}
	s.untilUsers("r", clients[0].welcome.User+":1", clients[1].welcome.User+":1", clients[2].welcome.User+":1")
	clients[0].join("r", "")
	for _, c := range clients {
		c.send(`{"type":"ping","request_id":"before"}`)
		c.reply("before")
	}
	event()
	clients[0].sync()
	for _, c := range clients[1:] {
		for c.next().Presence.Count != 9 {
		}
	}
	clients[0].join("r", watching)
	clients[1].conn.Close()
	s.untilMetric("fanfare_memberships", 2)
	event()
	for _, c := range []*client{clients[0], clients[2]} {
		for c.next().Presence.Count != 9 {
		}
	}
}

func TestMembersComeInPages(t *testing.T) {
	i := newIssuer(t)
	s := run(t, listed, i.trusted)
	want := []string{}
	for n := range 25 {
		name := fmt.Sprintf("user%02d", n)
		want = append(want, name)
		s.connect(dialing{path: "/ws?room=r&token=" + i.of(name)}).expect("joined")
	}
	until(t, "all are there", func() bool { return len(s.users("r")) == len(want) })
	c := s.dial()
	var got []string
	for cursor := ""; ; {
		c.sendf(`{"type":"members","request_id":"m","payload":{"room":"r","limit":10%s}}`, cursor)
		m := c.reply("m").Members
		if m.Count != len(want) || m.Room != "r" || len(m.Users) > 10 {
			t.Fatalf("%s", c.raw)
		}
		for _, u := range m.Users {
			if got = append(got, u.User); u.Connections != 1 {
				t.Errorf("%+v", u)
			}
		}
		if m.Cursor == "" {
			break
		}
		cursor = fmt.Sprintf(`,"cursor":%q`, m.Cursor)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	c.fails(`{"type":"members","payload":{"room":"r","cursor":"a b"}}`, "invalid_request", "cursor")
	s.tap.setPeopleAway()
	c.fails(`{"type":"members","payload":{"room":"r"}}`, "unavailable", "")
}

// Who was told that they joined is in the list, whenever it is asked for, and over
// HTTP too: however many have come a moment before.
func TestTheListHasWhoHasJustJoined(t *testing.T) {
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) { c.Loops = 2 })
	want := []string{}
	for n := range 20 {
		name := fmt.Sprintf("user%02d", n)
		want = append(want, name+":1")
		c := s.connect(withToken(i.of(name)))
		c.join("r", "")
		c.send(`{"type":"members","request_id":"m","payload":{"room":"r"}}`)
		if m := c.reply("m").Members; m.Count != n+1 || m.Users[n].User != name {
			t.Fatalf("after %d have joined: %s", n+1, c.raw)
		}
		if info, err := s.gw.Room(t.Context(), "r"); err != nil || info.Members != n+1 {
			t.Errorf("%+v, %v", info, err)
		}
		if got := s.users("r"); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	}
	g := s.dial()
	g.join("r", "")
	g.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	g.reply("l")
	if got := s.users("r"); !slices.Equal(got, want) {
		t.Errorf("after a guest has left: %v", got)
	}
}

// Who comes on one gateway is soon in the list on the others.
func TestTheListOfAnotherGatewaySoonHasWhoJoined(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, listed, i.trusted)
	for n := range 6 {
		one.connect(withToken(i.of(fmt.Sprint("user", n)))).join("r", "")
	}
	begun := time.Now()
	two.untilUsers("r", "user0:1", "user1:1", "user2:1", "user3:1", "user4:1", "user5:1")
	if said := one.metric("fanfare_presence_said_total"); said != 6 {
		t.Errorf("%v users were said after %v", said, time.Since(begun))
	}
}

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

func TestAnotherTokenIsAnotherUserInTheRooms(t *testing.T) {
	i := newIssuer(t)
	s := run(t, listed, i.trusted)
	watcher := s.connect(withToken(i.of("w")))
	watcher.join("r", watching)
	watcher.expect("presence")
	c := s.dial()
	c.join("r", "")
	watcher.presence("r", []string{c.welcome.User}, nil, 2)
	s.cool()
	c.auth(i.of("ada"))
	watcher.presence("r", []string{"ada"}, []string{c.welcome.User}, 2)
	c.auth(i.of("ada"))
	watcher.sync()
	s.untilUsers("r", "ada:1", "w:1")
}

func TestTheListBeginsAndEndsWithTheClass(t *testing.T) {
	s := run(t)
	clients := []*client{s.dial(), s.dial()}
	for _, c := range clients {
		c.join("r", watching)
	}
	live := *s.gw.live()
	live.Classes = slices.Clone(live.Classes)
	live.Classes[0].Presence = true
	s.gw.Apply(live)
	until(t, "both are listed", func() bool { return len(s.users("r")) == 2 })
	if j := s.dial().join("r", ""); j.Members != 3 {
		t.Errorf("joined with %d", j.Members)
	}
	until(t, "all are listed", func() bool { return len(s.users("r")) == 3 })
	live.Classes = slices.Clone(live.Classes)
	live.Classes[0].Presence = false
	s.gw.Apply(live)
	s.untilUsers("r")
	clients[0].conn.Close()
	s.untilMetric("fanfare_memberships", 2)
}

// The books of a roster are right whatever comes and goes, and whatever fails: in
// the end the broker has been told what is.
func TestARosterTellsWhatIs(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		depth := new(metrics.Gauge)
		r := &roster{depth: depth}
		truth, grace := map[string]int{}, map[string]bool{}
		told := map[string]int{}
		state, warm := "idle", false
		now, steps, cools, warms, asked, answered := int64(0), 0, 0, false, 0, 0
		queue := func(q bool) {
			if q {
				if state != "idle" && !(state == "cooling" && warm) {
					t.Fatalf("seed %d: queued while %s", seed, state)
				}
				state, warm = "ready", false
			}
		}
		step := func() {
			steps++
			user, guest := fmt.Sprint("u", rng.IntN(4)), false
			if rng.IntN(3) == 0 {
				user, guest = fmt.Sprint("g", rng.IntN(4)), true
			}
			switch rng.IntN(4) {
			case 0, 1:
				if guest && truth[user] > 0 {
					return
				}
				truth[user]++
				delete(grace, user)
				queue(r.enter(user, guest))
			case 2:
				if truth[user] == 0 {
					return
				}
				truth[user]--
				queue(r.exit(user, guest))
			case 3:
				if guest || truth[user] == 0 {
					return
				}
				truth[user]--
				last, q := r.close(user)
				if queue(q); last {
					grace[user] = true
				}
			}
		}
		speak := func(fails bool) {
			if state != "ready" {
				return
			}
			users := r.take(1 + rng.IntN(3))
			taken := r.taken
			for fails = fails && rng.IntN(2) == 0; fails; fails = rng.IntN(2) == 0 {
				for _, u := range users {
					if rng.IntN(2) == 0 { // it was done, and the answer lost
						told[u.User] = u.Connections
					}
				}
				step()
				r.refresh(users)
			}
			for _, u := range users {
				told[u.User] = u.Connections
			}
			now += int64(rng.IntN(int(time.Second)))
			done, soon := r.said(now)
			settleAll(done)
			cools++
			warms = warms || soon
			state, warm = "cooling", false
			if r.told != taken {
				t.Fatalf("seed %d: told up to %d of %d", seed, r.told, taken)
			}
		}
		cool := func() {
			if cools == 0 {
				return
			}
			if cools--; cools == 0 && state == "cooling" {
				state = "idle"
			}
			queue(r.cooled())
		}
		warmUp := func() {
			if !warms {
				return
			}
			if warms = false; state == "cooling" {
				warm = true
			}
			queue(r.warmed())
		}
		// Who waits hears of it when all that was there is told.
		settle := func() {
			want := maps.Clone(truth)
			for user := range grace {
				delete(want, user) // who may or may not have been told
			}
			asked++
			called, before := false, steps
			then := func() {
				called = true
				answered++
				for user, n := range want {
					if steps == before && told[user] != n {
						t.Errorf("seed %d: settled while %s has %d connections, told %d", seed, user, n, told[user])
					}
				}
			}
			waits, soon := r.settle(then)
			if warms = warms || soon; !waits {
				then()
			}
			if !called && r.noted == r.told {
				t.Errorf("seed %d: it waits for nothing", seed)
			}
		}
		for range 200 {
			switch rng.IntN(6) {
			case 0:
				speak(true)
			case 1:
				cool()
			case 4:
				warmUp()
			case 5:
				settle()
			case 2:
				for user := range grace {
					steps++
					delete(grace, user)
					queue(r.over(user))
				}
			default:
				step()
			}
		}
		for user := range grace {
			queue(r.over(user))
		}
		for range 300 {
			speak(false)
			cool()
			warmUp()
		}
		if asked != answered || r.waiting != nil {
			t.Errorf("seed %d: %d waited and %d were called", seed, asked, answered)
		}
		for user, n := range truth {
			if told[user] != n {
				t.Errorf("seed %d: %s has %d connections, told %d", seed, user, n, told[user])
			}
		}
		named := 0
		for user, n := range truth {
			if user[0] == 'u' && n > 0 {
				named++
			}
		}
		if depth.Value() != 0 || r.lacking() != 0 || len(r.users) != named || r.idle() != (named == 0) {
			t.Errorf("seed %d: depth %d, delta %d, %d users, %d named", seed, depth.Value(), r.lacking(), len(r.users), named)
		}
	}
}

func TestWhatLagsComesInItsOrder(t *testing.T) {
	l := lag[int]{after: time.Second}
	now := time.Unix(1_800_000_000, 0)
	for i := range 10 {
		if first := l.put(i, now.Add(time.Duration(i)*time.Millisecond)); first != (i == 0) {
			t.Errorf("%d is the first: %v", i, first)
		}
	}
	if got := l.take(now.Add(time.Second - 1)); len(got) != 0 {
		t.Errorf("%v came early", got)
	}
	if at, ok := l.next(); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("next %v %v", at, ok)
	}
	if got := l.take(now.Add(time.Second + 4*time.Millisecond)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) || l.len() != 5 {
		t.Errorf("%v, %d left", got, l.len())
	}
	l.take(now.Add(time.Minute))
	if _, ok := l.next(); ok || !l.put(1, now) {
		t.Error("it is not empty")
	}
}
