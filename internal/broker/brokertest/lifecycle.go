package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// connections is Connections that must succeed.
func (c *crowd) connections(changes ...broker.ConnectionChange) {
	c.t.Helper()
	if err := c.Connections(c.t.Context(), c.gateway, changes); err != nil {
		c.t.Fatalf("connections: %v", err)
	}
}

func eventsInOrder(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{Events: 1000}), newRoom()
	c.connections(broker.ConnectionChange{Connection: "c1", User: "ada"}, broker.ConnectionChange{Connection: "c2", User: "Zoë"})
	c.come(room, "ada")
	c.come(room, "ada", "Zoë")
	c.leave(room, "ada")
	c.leave(room, "Zoë")
	c.connections(broker.ConnectionChange{Connection: "c1", User: "ada", Ended: true, Reason: "client"})
	events := c.events("")
	want := []string{
		"connected c1 ada", "connected c2 Zoë", "disconnected c1 ada client",
		"room_occupied " + room, "joined ada " + room, "joined Zoë " + room, "left ada " + room, "left Zoë " + room, "room_vacated " + room,
	}
	// Of connections and of each room in their order; which is first is not promised.
	got := lines(events)
	slices.SortStableFunc(got, func(a, b string) int { return kindOf(a) - kindOf(b) })
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	for _, e := range events {
		if e.Gateway != c.gateway || e.ID == "" || e.Time == 0 {
			t.Errorf("event %+v", e)
		}
		if s.fake && e.Time != c.clock.Now().UnixMilli() || !s.fake && time.Since(time.UnixMilli(e.Time)).Abs() > time.Minute {
			t.Errorf("time %d", e.Time)
		}
	}
}

// kindOf tells events of connections from those of rooms.
func kindOf(line string) int {
	if line[0] == 'c' || line[0] == 'd' {
		return 0
	}
	return 1
}

func eventPages(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{Events: 1000}), newRoom()
	names := crowdOf(20)
	c.come(room, names[:10]...)
	_, now, err := c.Events(t.Context(), "$", 10)
	if err != nil || now == "" {
		t.Fatal(now, err)
	}
	c.come(room, names[10:]...)
	all, late := c.events(""), c.events(now)
	if len(all) != 21 || len(late) != 10 {
		t.Fatalf("%d events, %d of them late: %q", len(all), len(late), lines(all))
	}
	seen := make(map[string]bool)
	for _, e := range all {
		seen[e.ID] = true
	}
	if len(seen) != len(all) {
		t.Errorf("%d IDs of %d events", len(seen), len(all))
	}
	if got := c.events(all[10].ID); !slices.Equal(got, late) {
		t.Errorf("behind %s: %q", all[10].ID, lines(got))
	}
	page, end, err := c.Events(t.Context(), all[20].ID, 10)
	if err != nil || len(page) != 0 || end == "" {
		t.Errorf("at the end %+v, %q, %v", page, end, err)
	}
	for _, junk := range []string{"x", "-1", " ", "1-", "$$", "名"} {
		if _, _, err := c.Events(t.Context(), junk, 10); !errors.Is(err, broker.ErrCursor) {
			t.Errorf("cursor %q: %v", junk, err)
		}
	}
}

func eventsBounded(t *testing.T, s setting) {
	c, room := s.crowd(t, Options{Events: 50}), newRoom()
	cursor := ""
	for i := range 400 {
		user := fmt.Sprint("user", i)
		c.come(room, user)
		c.leave(room, user)
		if i == 0 {
			_, next, err := c.Events(t.Context(), "", 1)
			if err != nil {
				t.Fatal(err)
			}
			cursor = next
		}
	}
	events := c.events("")
	if len(events) < 50 || len(events) > 400 {
		t.Errorf("%d events are kept of 1600, want about 50", len(events))
	}
	if last := told(events[len(events)-1]); last != "room_vacated "+room {
		t.Errorf("the last is %q", last)
	}
	if got := c.events(cursor); !slices.Equal(got, events) {
		t.Errorf("behind what is gone: %d events, kept %d", len(got), len(events))
	}
	quiet := s.crowd(t, Options{})
	quiet.come(room, "ada")
	quiet.connections(broker.ConnectionChange{Connection: "c1", User: "ada"})
	if got := quiet.events(""); len(got) != 0 {
		t.Errorf("where none are kept: %q", lines(got))
	}
}
