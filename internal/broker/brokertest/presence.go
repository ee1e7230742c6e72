package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func toldOnce(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{}), newRoom()
	c.subscribe(room)
	c.come(room, "ada", "bob")
	c.come(room, "cleo", "ada")
	c.set(room, broker.UserConnections{User: "bob"}, broker.UserConnections{User: "dan", Connections: 1})
	c.leave(room, "ada", "cleo", "dan", "nobody")
	got := c.changes(room, 4)
	for i, want := range []broker.PresenceEvent{
		{Joined: []string{"ada", "bob"}, Count: 2},
		{Joined: []string{"cleo"}, Count: 3},
		{Joined: []string{"dan"}, Left: []string{"bob"}, Count: 3},
		{Left: []string{"ada", "cleo", "dan"}},
	} {
		if g := got[i]; !slices.Equal(g.Joined, want.Joined) || !slices.Equal(g.Left, want.Left) || g.Count != want.Count || g.Room != room {
			t.Errorf("change %d is %+v, want %+v", i, g, want)
		}
	}
}

func saidAgain(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{}), newRoom()
	c.subscribe(room)
	for range 3 {
		c.set(room, broker.UserConnections{User: "ada", Connections: 2})
	}
	for range 3 {
		c.leave(room, "ada", "bob")
	}
	c.come(room, "last")
	if got := c.changes(room, 3); got[1].Count != 0 || got[2].Count != 1 {
		t.Errorf("changes %+v", got)
	}
}

func oneUser(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{}), newRoom()
	c.subscribe(room)
	for _, n := range []int{1, 3, 2} {
		c.set(room, broker.UserConnections{User: "ada", Connections: n})
		c.wantUsers(room, broker.UserConnections{User: "ada", Connections: n})
	}
	c.leave(room, "ada")
	c.wantUsers(room)
	c.changes(room, 2)
}

// crowdOf is names that are in order, some beyond ASCII, one the beginning of
// another.
func crowdOf(n int) []string {
	names := []string{"a", "a-", "aa", "Zoë", "zoë", "Ωmega", "名前"}
	for i := range n - len(names) {
		names = append(names, fmt.Sprintf("user%03d", i))
	}
	slices.Sort(names)
	return names
}

func userPages(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{}), newRoom()
	names := crowdOf(40)
	c.come(room, names...)
	for _, limit := range []int{1, 7, 40, 1000} {
		var got []string
		for after, more := "", true; more; {
			page := c.page(room, after, limit)
			if page.Count != len(names) || len(page.Users) > limit || len(page.Users) == 0 {
				t.Fatalf("a page of %d behind %q: %+v", limit, after, page)
			}
			for _, u := range page.Users {
				got = append(got, u.User)
			}
			after, more = got[len(got)-1], page.More
		}
		if !slices.Equal(got, names) {
			t.Errorf("pages of %d: %q", limit, got)
		}
	}
	if page := c.page(newRoom(), "", 10); page.Count != 0 || page.More || len(page.Users) != 0 {
		t.Errorf("a room that nobody is in: %+v", page)
	}
}

func userPagesStand(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{}), newRoom()
	names := crowdOf(20)
	c.come(room, names...)
	first := c.page(room, "", 10)
	c.leave(room, names[2], names[9]) // the last one of the page among them
	c.come(room, "0 new")
	second := c.page(room, first.Users[9].User, 10)
	if second.More || second.Count != 19 || len(second.Users) != 10 || second.Users[0].User != names[10] {
		t.Errorf("second page %+v", second)
	}
}

func countsInOrder(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	rooms, want := make([]string, 300), make([]int, 300)
	var all []broker.RoomUsers
	for i := range rooms {
		rooms[i] = newRoom()
		if want[i] = i % 3; want[i] > 0 {
			all = append(all, broker.RoomUsers{Room: rooms[i], Users: each(1, crowdOf(7)[:want[i]])})
		}
	}
	if err := c.SetPresence(t.Context(), c.gateway, all); err != nil {
		t.Fatal(err)
	}
	got, err := c.OnlineCounts(t.Context(), rooms)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.OnlineCounts(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of no rooms: %v, %v", got, err)
	}
}

func activeRooms(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	want := make(map[string]int)
	for i := range 30 {
		room := newRoom()
		c.come(room, crowdOf(10)[:1+i%3]...)
		want[room] = 1 + i%3
	}
	gone, said := newRoom(), newRoom()
	c.come(gone, "ada")
	c.leave(gone, "ada")
	c.come(said, "ada")
	want[said] = 1
	stored := c.say(said, `1`, `2`)[1]
	for _, limit := range []int{1, 4, 100} {
		got := make(map[string]int)
		for cursor, more := "", true; more; more = cursor != "" {
			rooms, next, err := c.ActiveRooms(t.Context(), cursor, limit)
			if err != nil || len(rooms) > limit {
				t.Fatal(len(rooms), err)
			}
			for _, r := range rooms {
				if _, twice := got[r.Room]; twice || r.Users != want[r.Room] || !validEpoch(r.Epoch) {
					t.Errorf("pages of %d: %+v, want %d users", limit, r, want[r.Room])
				}
				if r.Room == said && r.Position != stored.Position {
					t.Errorf("%+v, want %+v", r.Position, stored.Position)
				}
				got[r.Room] = r.Users
			}
			cursor = next
		}
		if len(got) != len(want) {
			t.Errorf("pages of %d hold %d rooms, want %d", limit, len(got), len(want))
		}
	}
}

func peopleEnd(t *testing.T, s setting) {
	c := s.crowd(t, Options{Events: 10})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func(context.Context) error{
		"set": func(ctx context.Context) error {
			return c.SetPresence(ctx, c.gateway, []broker.RoomUsers{{Room: "a", Users: each(1, []string{"ada"})}})
		},
		"online": func(ctx context.Context) error { _, err := c.Online(ctx, "a", "", 1); return err },
		"counts": func(ctx context.Context) error { _, err := c.OnlineCounts(ctx, []string{"a"}); return err },
		"rooms":  func(ctx context.Context) error { _, _, err := c.ActiveRooms(ctx, "", 1); return err },
		"claim":  func(ctx context.Context) error { _, err := c.ClaimName(ctx, c.hold("ada", "k", "c")); return err },
		"release": func(ctx context.Context) error {
			return c.ReleaseName(ctx, c.hold("ada", "k", "c"), 0)
		},
		"revoke":      func(ctx context.Context) error { return c.Revoke(ctx, c.revocation("jti", "", s.unit)) },
		"revocations": func(ctx context.Context) error { _, err := c.Revocations(ctx); return err },
		"connections": func(ctx context.Context) error {
			return c.Connections(ctx, c.gateway, []broker.ConnectionChange{{Connection: "c"}})
		},
		"events": func(ctx context.Context) error { _, _, err := c.Events(ctx, "", 1); return err },
		"reap":   func(ctx context.Context) error { _, err := c.Reap(ctx); return err },
	}
	for name, call := range calls {
		if err := call(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	c.close()
	for name, call := range calls {
		if err := call(t.Context()); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%s after close: %v", name, err)
		}
	}
}
