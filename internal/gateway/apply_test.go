package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// apply puts what a test changes into force.
func (s *service) apply(change func(*Live)) {
	live := *s.gw.live()
	live.Classes = slices.Clone(live.Classes)
	change(&live)
	s.gw.Apply(live)
}

// A member that is behind in a room in use is held against the new window at
// once, and not only when the room's next message comes.
func TestARoomInUseHasTheNewWindow(t *testing.T) {
	const all = 200
	s := run(t, func(c *setup) { c.Loops = 2; c.slow(room.Drop, 10_000, 0) })
	slow, quick := s.connect(dialing{small: true}), s.dial()
	l := newLedger(nil)
	slow.send(`{"type":"join","payload":{"room":"r"}}`)
	m := slow.expect("joined")
	_ = l.take(&m)
	quick.join("r", "")
	last := s.storeN("r", all, 30<<10)
	quick.messages("r", 1, all)
	const dropped = `fanfare_dropped_frames_total{policy="conflate",stage="queue"}`
	if n := s.metric(dropped); n != 0 {
		t.Fatalf("%v dropped within the window", n)
	}
	s.apply(func(live *Live) { live.Classes[0].Slow = room.Window{Policy: room.Conflate, Messages: 4} })
	until(t, "the slow member is moved to the newest", func() bool { return s.metric(dropped) > 0 })
	a := slow.upTo(l, "r", protocol.Position(last))
	if len(a.gaps) != 1 || a.gaps[0].Reason != protocol.GapConflated || a.gaps[0].To != last.Seq-1 {
		t.Errorf("gaps %+v up to %d", a.gaps, last.Seq)
	}
}

func TestARoomInUseHasTheNewHistory(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	s.storeN("r", 100, 10)
	c.messages("r", 1, 100)
	s.apply(func(live *Live) { live.Classes[0].History.Messages = 10 })
	if first := s.gw.hub.find("r").log.Load().First(time.Now()); first != 91 {
		t.Errorf("the log begins at %d of 100", first)
	}
	s.apply(func(live *Live) {
		live.Classes = append(Classes{{Class: room.Class{Match: "r*", History: room.History{Messages: 50}, Slow: live.Classes[0].Slow}}}, live.Classes...)
	})
	s.storeN("r", 100, 10)
	c.messages("r", 101, 200)
	if first := s.gw.hub.find("r").log.Load().First(time.Now()); first != 151 {
		t.Errorf("the log of a class that came in between begins at %d of 200", first)
	}
	late := s.dial()
	late.send(`{"type":"join","payload":{"room":"r","last":200}}`)
	if m := late.expect("joined"); m.Joined.Seq != 150 {
		t.Errorf("joined behind %d, want 150", m.Joined.Seq)
	}
}

func TestLimitsHoldForWhoIsConnected(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	a, b := s.dial(), s.dial()
	large := `{"type":"echo","payload":` + sized(0, 2000) + `}`
	for _, c := range []*client{a, b} {
		c.send(large)
		c.expect("echo")
		c.join("first", "")
	}
	s.apply(func(live *Live) {
		live.Limits.MessageBytes, live.Limits.RoomsPerConn, live.Limits.Connections = 1000, 1, 2
	})
	for _, c := range []*client{a, b} {
		c.sync() // its loop has looked then
		c.fails(`{"type":"join","payload":{"room":"second"}}`, "limit_exceeded", "room")
		c.join("first", "") // which is joined
	}
	if _, res := s.handshake(dialing{}); res.StatusCode != 503 {
		t.Errorf("a third of two: %s", res.Status)
	}
	a.send(large)
	a.closed(1009)
	c := s.dial() // in its place
	if c.welcome.MessageBytes != 1000 || c.welcome.Rooms != 1 {
		t.Errorf("welcome says %+v", c.welcome)
	}
	s.apply(func(live *Live) { live.Limits.MessageBytes = 0 })
	b.sync() // its loop has looked then
	b.send(large)
	b.expect("echo")
}

func TestAppliedOriginsHoldForTheNextHandshake(t *testing.T) {
	s := run(t)
	from := func(origin string) int {
		_, res := s.handshake(dialing{headers: []string{"Origin: " + origin}})
		return res.StatusCode
	}
	if got := from("https://a.example"); got != 403 {
		t.Fatalf("%d before", got)
	}
	s.apply(func(live *Live) { live.Edge = NewEdge(EdgeConfig{Origins: []string{"https://a.example"}}) })
	if got := from("https://a.example"); got != 101 {
		t.Errorf("%d after", got)
	}
	s.apply(func(live *Live) { live.Edge = NewEdge(EdgeConfig{Origins: []string{"https://b.example"}}) })
	if got := from("https://a.example"); got != 403 {
		t.Errorf("%d once it is another", got)
	}
}

// Classes that come and go while rooms are made, written and left: the race
// detector watches, and no room stays without the class that is in force.
func TestApplyingWhileRoomsComeAndGo(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.apply(func(live *Live) { live.Classes[0].History.Messages = i%50 + 1 })
			}
		}
	}()
	c := s.dial()
	c.ledger = newLedger(nil)
	for i := range 200 {
		name := fmt.Sprint("r", i%20)
		c.send(`{"type":"join","request_id":"j","payload":{"room":"` + name + `"}}`)
		c.reply("j")
		s.storeN(name, 20, 10)
		c.send(`{"type":"leave","request_id":"l","payload":{"room":"` + name + `"}}`)
		c.reply("l")
	}
	close(stop)
	<-stopped
	for i := range s.gw.hub.stripes {
		for name, r := range s.gw.hub.stripes[i].rooms {
			if r.class() != s.gw.live().Classes.Of(name) {
				t.Errorf("%s is of %+v", name, r.class())
			}
		}
	}
}

// Alerts hold what is measured against what is set.
func TestWhatIsInForceIsShown(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.Connections = 500; c.slow(room.Drop, 64, 0) })
	for series, want := range map[string]float64{"fanfare_connections_limit": 500, "fanfare_send_window_frames": 64} {
		if v := s.metric(series); v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	s.apply(func(live *Live) {
		live.Limits.Connections = 0
		last := live.Classes[len(live.Classes)-1]
		live.Classes = Classes{last, last, last}
		live.Classes[0].Slow = room.Window{Policy: room.Conflate, Messages: 1}
		live.Classes[1].Slow.Messages = 32
	})
	for series, want := range map[string]float64{"fanfare_connections_limit": 0, "fanfare_send_window_frames": 32} {
		if v := s.metric(series); v != want {
			t.Errorf("applied: %s is %v, want %v", series, v, want)
		}
	}
}
