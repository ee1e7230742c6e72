package brokertest

import (
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// sharedTests is what holds for gateways that share what their brokers keep.
var sharedTests = []promise{
	{"a user on two gateways is one", oneUserOnTwo},
	{"what a gateway said goes with its lease", goesWithLease},
	{"a lease that is renewed keeps what was said", leaseRenewed},
	{"survivors share the work of reaping", reapedByMany},
	{"a gateway that was away too long says all again", saidAnew},
	{"what is said again in time was never gone", saidAnewInTime},
	{"a gateway that withdraws leaves nothing", withdraws},
	{"names and revocations are the fleet's", oneForAll},
}

// lease is long enough for a few steps of a test, and short enough to wait for.
const lease = time.Second

// pair is two gateways, both subscribed to a room.
func (s setting) pair(t *testing.T) (a, b *crowd, room string) {
	t.Helper()
	o := Options{Events: 1000, Store: newStore()}
	a, b, room = s.crowd(t, o), s.crowd(t, o), newRoom()
	a.subscribe(room)
	b.subscribe(room)
	return a, b, room
}

// announce says that the gateway is alive, and returns whether what it said stands.
func (c *crowd) announce(d time.Duration) bool {
	c.t.Helper()
	stands, err := c.Broker.(broker.Fleet).Announce(c.t.Context(), broker.Member{ID: c.gateway}, d)
	if err != nil {
		c.t.Fatalf("announce: %v", err)
	}
	return stands
}

// reapUntil reaps, renewing the own lease, until cond holds.
func (c *crowd) reapUntil(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for !cond() {
		c.announce(time.Minute)
		for more := true; more; {
			var err error
			if more, err = c.Reap(c.t.Context()); err != nil {
				c.t.Fatalf("reap: %v", err)
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			c.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (c *crowd) count(room string) int {
	c.t.Helper()
	return c.page(room, "", 0).Count
}

// kinds counts the events of one type.
func (c *crowd) kinds(kind string) int {
	c.t.Helper()
	n := 0
	for _, e := range c.events("") {
		if e.Type == kind {
			n++
		}
	}
	return n
}

func oneUserOnTwo(t *testing.T, s setting) {
	a, b, room := s.pair(t)
	a.come(room, "ada", "bob")
	b.set(room, broker.UserConnections{User: "ada", Connections: 2})
	b.wantUsers(room, broker.UserConnections{User: "ada", Connections: 3}, broker.UserConnections{User: "bob", Connections: 1})
	a.leave(room, "ada")
	a.wantUsers(room, broker.UserConnections{User: "ada", Connections: 2}, broker.UserConnections{User: "bob", Connections: 1})
	b.leave(room, "ada")
	for _, c := range []*crowd{a, b} {
		got := c.changes(room, 2)
		if !slices.Equal(got[0].Joined, []string{"ada", "bob"}) || !slices.Equal(got[1].Left, []string{"ada"}) || got[1].Count != 1 {
			t.Errorf("changes %+v", got)
		}
	}
	want := []string{"room_occupied " + room, "joined ada " + room, "joined bob " + room, "left ada " + room}
	if got := lines(a.events("")); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func goesWithLease(t *testing.T, s setting) {
	dead, b, room := s.pair(t)
	lone := newRoom()
	dead.announce(lease)
	dead.come(room, "ada", "bob")
	dead.come(lone, "ada")
	b.come(room, "bob")
	dead.connections(broker.ConnectionChange{Connection: "c1", User: "ada"}, broker.ConnectionChange{Connection: "c2", User: "bob"})
	if !dead.claim("ada", "key", "c1") {
		t.Fatal("a free name is not given")
	}
	if b.claim("ada", "other", "c9") {
		t.Error("a name is given to another while its holder lives")
	}
	begun := time.Now()
	b.reapUntil("the dead one's users are gone", func() bool { return b.count(room) == 1 && b.count(lone) == 0 })
	if took := time.Since(begun); took < lease/2 {
		t.Errorf("gone after %v of a lease of %v", took, lease)
	}
	b.wantUsers(room, broker.UserConnections{User: "bob", Connections: 1})
	if got := b.changes(room, 2)[1]; !slices.Equal(got.Left, []string{"ada"}) || got.Count != 1 {
		t.Errorf("told %+v", got)
	}
	if !b.claim("ada", "other", "c9") {
		t.Error("a dead one's name is not free")
	}
	b.reapUntil("its connections have ended", func() bool { return b.kinds(broker.EventDisconnected) == 2 })
	for _, e := range b.events("") {
		ended := e.Type == broker.EventDisconnected || e.Type == broker.EventLeft || e.Type == broker.EventVacated
		if ended && e.Gateway != dead.gateway || e.Type == broker.EventDisconnected && e.Reason != broker.ReasonGatewayLost {
			t.Errorf("event %+v", e)
		}
	}
	if n := b.kinds(broker.EventLeft); n != 2 {
		t.Errorf("%d have left, want ada twice", n)
	}
}

func leaseRenewed(t *testing.T, s setting) {
	a, b, room := s.pair(t)
	a.come(room, "ada")
	if !a.claim("ada", "key", "c1") {
		t.Fatal("a free name is not given")
	}
	begun := time.Now()
	b.reapUntil("more than a lease has passed", func() bool {
		if !a.announce(lease) {
			t.Fatal("what was said does not stand")
		}
		return time.Since(begun) > lease+lease/2
	})
	if b.count(room) != 1 || b.claim("ada", "other", "c9") {
		t.Error("something was taken back while the lease held")
	}
}

func reapedByMany(t *testing.T, s setting) {
	dead, b, room := s.pair(t)
	c := s.crowd(t, Options{Events: 5000, Store: b.store})
	dead.announce(lease)
	names := crowdOf(1500)
	dead.come(room, names...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.reapUntil("the dead one's users are gone", func() bool { return c.count(room) == 0 })
	}()
	b.reapUntil("the dead one's users are gone", func() bool { return b.count(room) == 0 })
	<-done
	var left []string
	b.sink.wait("all have left", func() bool {
		left = nil
		for _, e := range b.sink.changes[room] {
			left = append(left, e.Left...)
		}
		return len(left) >= len(names)
	})
	slices.Sort(left)
	if !slices.Equal(left, names) {
		t.Errorf("%d of %d users were told to have left", len(left), len(names))
	}
}

func saidAnew(t *testing.T, s setting) {
	slow, b, room := s.pair(t)
	slow.announce(lease)
	slow.come(room, "ada", "bob")
	slow.connections(broker.ConnectionChange{Connection: "c1", User: "ada"})
	b.reapUntil("the slow one's users are gone", func() bool { return b.count(room) == 0 && b.kinds(broker.EventDisconnected) == 1 })
	// It goes on as if nothing had been.
	if err := slow.SetPresence(t.Context(), slow.gateway, []broker.RoomUsers{{Room: room, Users: each(1, []string{"cleo"})}}); err == nil {
		t.Error("what is said of a part is taken, though the rest is lost")
	}
	if slow.announce(time.Minute) {
		t.Fatal("what was said is said to stand")
	}
	if !slow.announce(time.Minute) {
		t.Error("the loss is told twice")
	}
	slow.come(room, "ada", "cleo")
	b.reapUntil("nothing is taken back", func() bool { return true })
	b.wantUsers(room, broker.UserConnections{User: "ada", Connections: 1}, broker.UserConnections{User: "cleo", Connections: 1})
}

func saidAnewInTime(t *testing.T, s setting) {
	slow, b, room := s.pair(t)
	slow.announce(lease)
	slow.come(room, "ada", "bob", "ghost")
	slow.connections(broker.ConnectionChange{Connection: "c1", User: "ada"}, broker.ConnectionChange{Connection: "c2", User: "bob"})
	if !slow.claim("ada", "key", "c1") {
		t.Fatal("a free name is not given")
	}
	b.pass(lease + lease/2) // and nobody reaps
	if slow.announce(time.Minute) {
		t.Fatal("a lease that ran out is said to stand")
	}
	slow.come(room, "ada", "bob")
	slow.connections(broker.ConnectionChange{Connection: "c1", User: "ada"})
	if !slow.claim("ada", "key", "c1") {
		t.Fatal("it does not get its own name again")
	}
	b.wantUsers(room, broker.UserConnections{User: "ada", Connections: 1}, broker.UserConnections{User: "bob", Connections: 1},
		broker.UserConnections{User: "ghost", Connections: 1})
	// What it did not say again goes in the end, and only that.
	b.reapUntil("the ghost is gone", func() bool { return b.count(room) == 2 && b.kinds(broker.EventDisconnected) > 0 })
	if got := b.changes(room, 2)[1]; !slices.Equal(got.Left, []string{"ghost"}) {
		t.Errorf("told %+v", got)
	}
	if b.claim("ada", "other", "c9") {
		t.Error("the name that was claimed again went with the old lease")
	}
	for _, e := range b.events("") {
		if e.Type == broker.EventDisconnected && e.Connection != "c2" {
			t.Errorf("event %+v", e)
		}
	}
	if n := b.kinds(broker.EventConnected); n != 2 {
		t.Errorf("%d connections began, want 2", n)
	}
}

func withdraws(t *testing.T, s setting) {
	a, b, room := s.pair(t)
	a.announce(time.Minute)
	a.come(room, "ada")
	if !a.claim("ada", "key", "c1") {
		t.Fatal("a free name is not given")
	}
	if err := a.Broker.(broker.Fleet).Withdraw(t.Context(), a.gateway); err != nil {
		t.Fatal(err)
	}
	if b.count(room) != 0 || !b.claim("ada", "other", "c9") {
		t.Error("something stayed")
	}
	members, err := b.Broker.(broker.Fleet).Members(t.Context())
	if err != nil || slices.ContainsFunc(members, func(m broker.Member) bool { return m.ID == a.gateway }) {
		t.Errorf("members %+v, %v", members, err)
	}
}

func oneForAll(t *testing.T, s setting) {
	a, b, _ := s.pair(t)
	if !a.claim("ada", "key", "c1") || b.claim("ada", "other", "c2") {
		t.Error("a name has two holders")
	}
	if !b.claim("ada", "key", "c2") {
		t.Error("the key does not take the name over on another gateway")
	}
	a.release("ada", "c1", 0)
	if a.claim("ada", "other", "c3") {
		t.Error("the one before it gave it back")
	}
	r := a.revocation("jti", "", 100*s.unit)
	b.revoked()
	a.revoke(r)
	if got := b.revoked(); !got["jti/"].Until.Equal(r.Until) {
		t.Errorf("the other knows %+v", got)
	}
}
