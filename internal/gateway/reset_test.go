package gateway

import (
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func TestMembersAreToldInOrderThatTheLogBeganAnew(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	c, d := s.dial(), s.dial()
	c.join("r", "")
	old := s.storeN("r", 3, 10)
	d.join("r", `,"last":1`)
	if err := s.memory.Forget(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	now := s.storeN("r", 2, 10)
	if now.Epoch == old.Epoch || now.Seq != 2 {
		t.Fatalf("at %+v after %+v", now, old)
	}
	for i, m := range []*client{c, d} {
		m.messages("r", uint64(1+2*i), 3)
		r := m.expect("reset").Reset
		if r.Room != "r" || r.Epoch != now.Epoch || r.Seq != 0 || r.Previous != protocol.Position(old) {
			t.Errorf("reset %+v", r)
		}
		m.messages("r", 1, 2)
		m.sync()
	}
	e := s.dial()
	if j := e.join("r", since(old.Epoch, 3)); j.Recovery != protocol.NotRecovered || j.Seq != 0 || j.Epoch != now.Epoch {
		t.Errorf("joined %+v", j)
	}
	e.messages("r", 1, 2)
	if v := s.metric("fanfare_resets_total"); v != 2 {
		t.Errorf("%v resets counted", v)
	}
}

// A member that is behind has its last place in the old log in previous; what it
// lacked of that one is lost, of the new one nothing.
func TestASlowMemberIsToldWhereTheOldLogEndedForIt(t *testing.T) {
	for _, more := range []string{``, `,"last":300`} {
		s := run(t, func(c *setup) { c.slow(room.Drop, 8, 0); c.history(1000, 0, 0) })
		s.storeN("r", 300, 30<<10)
		c := s.connect(dialing{small: true})
		l := newLedger(nil)
		c.sendf(`{"type":"join","payload":{"room":"r"%s}}`, more)
		s.untilMetric("fanfare_memberships", 1)
		s.storeN("r", 300, 30<<10)
		if err := s.memory.Forget(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		last := s.storeN("r", 5, 10)
		a := c.upTo(l, "r", protocol.Position(last))
		if a.resets != 1 || a.delivered == 0 {
			t.Errorf("%+v", a)
		}
		c.sync()
		if n := s.gw.backlogBytes.Load(); n != 0 {
			t.Errorf("%d bytes of backlog are left", n)
		}
	}
}

// One loop is in the middle of a pass over a room with many members when the log
// begins anew: those it had visited are visited again.
func TestALogThatBeginsAnewDuringAPassReachesAll(t *testing.T) {
	t.Parallel()
	s := run(t)
	const all = flushSlice + 300
	members := make([]*client, all)
	for i := range members {
		members[i] = s.connect(dialing{path: "/ws?room=r"})
		members[i].buf = make([]byte, 1024)
	}
	s.untilMetric("fanfare_memberships", all)
	for round := range 5 {
		s.store("r", `"`+strings.Repeat("x", 100)+`"`)
		members[0].upTo(ledgerOf(members[0]), "r", protocol.Position(s.tail("r")))
		if err := s.memory.Forget(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		last := s.store("r", `"new"`)
		for i, c := range members {
			a := c.upTo(ledgerOf(c), "r", protocol.Position(last))
			if a.resets != round+1 {
				t.Fatalf("member %d had %d resets in round %d", i, a.resets, round)
			}
		}
	}
}

func (s *service) tail(name string) broker.Position {
	s.t.Helper()
	p, err := s.memory.Range(s.t.Context(), broker.Query{Room: name, Newest: true, Limit: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return broker.Position{Epoch: p.Epoch, Seq: p.Last}
}

// ledgerOf is the client's own ledger.
func ledgerOf(c *client) *ledger {
	if c.ledger == nil {
		c.ledger = newLedger(nil)
	}
	return c.ledger
}

// A read may be quicker than the news of the same new epoch.
func TestALateResetOfTheEpochThatTheLogHasChangesNothing(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	at := s.storeN("r", 3, 10)
	c.messages("r", 1, 3)
	s.gw.hub.Reset("r", broker.Position{Epoch: at.Epoch})
	s.storeN("r", 1, 10)
	c.messages("r", 4, 4)
	c.sync()
}
