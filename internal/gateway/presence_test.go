package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
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
	last := s.storeN("r", 600, 30<<10)
	until(t, "the socket is full", func() bool { return s.metric(`fanfare_dropped_frames_total{policy="drop",stage="queue"}`) > 0 })
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
