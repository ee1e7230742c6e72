package brokertest

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// peopleTests is what holds for one gateway.
var peopleTests = []promise{
	{"users that come and go are told once", toldOnce},
	{"what is said again changes nothing", saidAgain},
	{"several connections are one user", oneUser},
	{"pages of users are ascending and whole", userPages},
	{"pages of users stand who comes and goes between them", userPagesStand},
	{"counts come in the order of the rooms", countsInOrder},
	{"active rooms are listed once each", activeRooms},
	{"a name has one holder", oneHolder},
	{"who knows the key takes the name over", keyTakesOver},
	{"a name is kept for its grace", nameGrace},
	{"a revocation is kept until it runs out", revocationsRunOut},
	{"a revocation again reaches further, never less", revocationsGrow},
	{"events tell what happened in its order", eventsInOrder},
	{"events are read in pages from any place", eventPages},
	{"events are bounded", eventsBounded},
	{"people end with their context and the broker", peopleEnd},
}

// crowd is a broker of people, of a gateway.
type crowd struct {
	*rig
	broker.People
	gateway string
	store   string
}

// crowd starts a broker whose store no other test knows, unless o names one.
func (s setting) crowd(t *testing.T, o Options) *crowd {
	t.Helper()
	if o.Store == "" {
		o.Store = newStore()
	}
	r := s.rig(t, o)
	people, ok := r.Broker.(broker.People)
	if !ok {
		t.Fatalf("%T is no broker.People", r.Broker)
	}
	return &crowd{rig: r, People: people, store: o.Store, gateway: strings.ToLower(rand.Text()[:10])}
}

func newStore() string { return "t" + strings.ToLower(rand.Text()[:12]) }

// set says how many connections users have in a room, which must succeed.
func (c *crowd) set(room string, users ...broker.UserConnections) {
	c.t.Helper()
	if err := c.SetPresence(c.t.Context(), c.gateway, []broker.RoomUsers{{Room: room, Users: users}}); err != nil {
		c.t.Fatalf("set presence: %v", err)
	}
}

// come and leave say that users have one connection, or none.
func (c *crowd) come(room string, users ...string)  { c.t.Helper(); c.set(room, each(1, users)...) }
func (c *crowd) leave(room string, users ...string) { c.t.Helper(); c.set(room, each(0, users)...) }

func each(connections int, users []string) []broker.UserConnections {
	all := make([]broker.UserConnections, len(users))
	for i, user := range users {
		all[i] = broker.UserConnections{User: user, Connections: connections}
	}
	return all
}

// page is Online that must succeed.
func (c *crowd) page(room, after string, limit int) broker.Online {
	c.t.Helper()
	page, err := c.Online(c.t.Context(), room, after, limit)
	if err != nil {
		c.t.Fatalf("online: %v", err)
	}
	return page
}

// wantUsers checks the whole list of a room.
func (c *crowd) wantUsers(room string, want ...broker.UserConnections) {
	c.t.Helper()
	page := c.page(room, "", 1000)
	if page.Count != len(want) || page.More || !slices.Equal(page.Users, want) {
		c.t.Fatalf("%s: %+v, want %+v", room, page, want)
	}
}

// claim is ClaimName that must succeed.
func (c *crowd) claim(name, key, connection string) bool {
	c.t.Helper()
	ok, err := c.ClaimName(c.t.Context(), c.hold(name, key, connection))
	if err != nil {
		c.t.Fatalf("claim: %v", err)
	}
	return ok
}

func (c *crowd) hold(name, key, connection string) broker.NameClaim {
	return broker.NameClaim{Name: name, Key: key, Connection: connection, Gateway: c.gateway}
}

// changes waits for n changes of a room's users.
func (c *crowd) changes(room string, n int) []broker.PresenceEvent {
	c.t.Helper()
	var got []broker.PresenceEvent
	c.sink.wait("changes of "+room, func() bool {
		got = slices.Clone(c.sink.changes[room])
		return len(got) >= n
	})
	if len(got) > n {
		c.t.Fatalf("%s changed %d times, want %d: %+v", room, len(got), n, got)
	}
	return got
}

// events reads all events from a cursor on.
func (c *crowd) events(cursor string) []broker.Event {
	c.t.Helper()
	var all []broker.Event
	for {
		page, next, err := c.Events(c.t.Context(), cursor, 7)
		if err != nil {
			c.t.Fatalf("events: %v", err)
		}
		if len(page) == 0 {
			return all
		}
		all, cursor = append(all, page...), next
	}
}

// told is an event as a line, without what a test cannot know.
func told(e broker.Event) string {
	words := []string{e.Type}
	for _, word := range []string{e.Connection, e.User, e.Room, e.Reason} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func lines(events []broker.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = told(e)
	}
	return all
}
