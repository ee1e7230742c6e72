package gateway

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/frame"
)

// told lets a gateway tell backends, by a broker that keeps the events.
func told(c *setup) {
	c.Events = true
	c.tap.Broker, c.tap.People = memory.New(memory.Config{}), memory.New(memory.Config{Events: 1000})
	c.Broker = c.tap
}

// events are all of these types, as type user room reason.
func (s *service) events(types ...string) (all []string) {
	s.t.Helper()
	events, _, err := s.tap.People.Events(s.t.Context(), "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range events {
		if slices.Contains(types, e.Type) {
			all = append(all, fmt.Sprintf("%s %s %s %s", e.Type, e.User, e.Room, e.Reason))
		}
	}
	return all
}

func TestBackendsAreToldWhichConnectionsBeginAndEnd(t *testing.T) {
	i := newIssuer(t)
	s := run(t, told, listed, i.trusted)
	a := s.connect(withToken(i.of("ada")))
	until(t, "ada is connected", func() bool { return len(s.events(broker.EventConnected)) == 1 })
	g := s.dial()
	n := s.connect(named("bob", "&room=r"))
	n.expect("joined")
	_ = a.write(frame.OpClose, []byte{3, 232})
	a.closed(1000)
	g.conn.Close()
	if err := s.gw.Disconnect(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	n.closed(4005)
	s.pass(leaveGrace)
	want := []string{
		"connected ada  ", "connected bob  ", "connected " + g.welcome.User + "  ",
		"disconnected ada  normal", "disconnected bob  operator", "disconnected " + g.welcome.User + "  eof",
		"joined bob r ", "left bob r ", "room_occupied  r ", "room_vacated  r ",
	}
	var got []string
	until(t, "all is told", func() bool {
		s.pass(leaveGrace)
		got = s.events(broker.EventConnected, broker.EventDisconnected, broker.EventJoined, broker.EventLeft, broker.EventOccupied, broker.EventVacated)
		return len(got) >= len(want)
	})
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	s.untilMetric("fanfare_lifecycle_written_total", 6)
	s.untilMetric("fanfare_lifecycle_queue_depth", 0)
}

// The events of one connection come in the order of its life.
func TestAConnectionIsToldBeforeItsUsersRooms(t *testing.T) {
	s := run(t, told, listed)
	c := s.connect(dialing{path: "/ws?room=r"})
	c.expect("joined")
	who := c.welcome.User
	until(t, "its user is told to be in the room", func() bool { return len(s.events(broker.EventJoined)) == 1 })
	c.conn.Close()
	until(t, "its user is told to have left", func() bool { return len(s.events(broker.EventLeft)) == 1 })
	want := []string{
		"connected " + who + "  ", "room_occupied  r ", "joined " + who + " r ",
		"disconnected " + who + "  eof", "left " + who + " r ", "room_vacated  r ",
	}
	got := s.events(broker.EventConnected, broker.EventDisconnected, broker.EventJoined, broker.EventLeft, broker.EventOccupied, broker.EventVacated)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Users' rooms do not wait for connections that the broker does not take.
func TestRoomsAreToldWhereConnectionsAreNot(t *testing.T) {
	s := run(t, told, listed, func(c *setup) {
		c.tap.writing = func([]broker.ConnectionChange) error { return broker.ErrUnavailable }
	})
	for n := range 3 {
		s.connect(dialing{path: "/ws?room=r"}).expect("joined")
		until(t, "its user is told to be in the room", func() bool { return len(s.events(broker.EventJoined)) == n+1 })
	}
}

func TestWithoutEventsNothingIsGathered(t *testing.T) {
	s := run(t)
	s.dial().conn.Close()
	s.untilMetric("fanfare_connections", 0)
	if n := s.metric("fanfare_lifecycle_queue_depth") + s.metric("fanfare_lifecycle_written_total"); n != 0 {
		t.Errorf("%v", n)
	}
}

// What could not be written is tried again in its order, also at the very end.
func TestLifecycleEventsAreWrittenInTheirOrderUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	var tries atomic.Int64
	s := run(t, told, func(c *setup) {
		c.tap.writing = func([]broker.ConnectionChange) error {
			if tries.Add(1); away.Load() {
				return broker.ErrUnavailable
			}
			return nil
		}
	})
	away.Store(true)
	var want []string
	for range 3 {
		c := s.dial()
		want = append(want, "connected "+c.welcome.User+"  ", "disconnected "+c.welcome.User+"  eof")
		c.conn.Close()
		s.untilMetric("fanfare_connections", 0)
	}
	until(t, "it was tried again", func() bool { return tries.Load() > 2 })
	away.Store(false)
	until(t, "all is written", func() bool { return len(s.events(broker.EventConnected, broker.EventDisconnected)) == len(want) })
	if got := s.events(broker.EventConnected, broker.EventDisconnected); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	last := s.dial()
	s.stop()
	got := s.events(broker.EventConnected, broker.EventDisconnected)
	if n := len(got); n != len(want)+2 || got[n-2] != "connected "+last.welcome.User+"  " {
		t.Errorf("at the end: %q", got)
	}
}

func TestEventsForWhichThereIsNoRoomAreCounted(t *testing.T) {
	l := lifecycle{wake: make(chan struct{}, 1)}
	for n := range lifecycleMost {
		if waiting, ok := l.add(broker.ConnectionChange{Connection: fmt.Sprint(n)}); !ok || waiting != n+1 {
			t.Fatalf("%d: %d %v", n, waiting, ok)
		}
	}
	if _, ok := l.add(broker.ConnectionChange{}); ok {
		t.Error("one too many was taken")
	}
	for want := 0; want < lifecycleMost; {
		batch := l.first()
		if len(batch) == 0 || len(batch) > lifecycleBatch {
			t.Fatalf("a batch of %d", len(batch))
		}
		for _, c := range batch {
			if c.Connection != fmt.Sprint(want) {
				t.Fatalf("%s, want %d", c.Connection, want)
			}
			want++
		}
		l.done(len(batch))
	}
	if l.changes != nil {
		t.Error("it is not empty")
	}
}
