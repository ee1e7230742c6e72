package gateway

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func TestARankingKeepsTheFirstInOrder(t *testing.T) {
	for n := range 3 * surveyTop {
		want := rand.Perm(n)
		r := ranking[int]{by: cmp.Compare[int]}
		for _, v := range want {
			r.add(v)
		}
		slices.Sort(want)
		if got := r.all(); !slices.Equal(got, want[:min(n, surveyTop)]) || got == nil {
			t.Errorf("of %d: %v", n, got)
		}
	}
}

// freshly forgets the survey that is kept, so that the next is new.
func (s *service) freshly() broker.Survey {
	s.t.Helper()
	s.gw.surveys.mu.Lock()
	s.gw.surveys.newest = nil
	s.gw.surveys.mu.Unlock()
	for _, m := range s.gw.Look(s.t.Context()) {
		if m.ID == s.gw.cfg.ID {
			return *m.Survey
		}
	}
	s.t.Fatal("a gateway does not show itself")
	return broker.Survey{}
}

func TestASurveyShowsTheFullestRoomsAndTheSlowestConnections(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2; c.slow(room.Drop, 8, 0) })
	slow, quick := s.connect(dialing{small: true}), s.dial()
	slow.joinInto("full")
	quick.joinInto("full")
	quick.joinInto("other")
	if seen := s.freshly(); len(seen.Slow) != 0 || seen.Blocked != 0 || seen.Dropped != 0 {
		t.Errorf("while all read: %+v", seen)
	}
	var last broker.Position
	until(t, "it is slow", func() bool {
		last = s.store("full", sized(0, 30<<10))
		quick.expect("message")
		return len(s.freshly().Slow) > 0 && s.freshly().Dropped > 0
	})
	seen := s.freshly()
	if got := seen.Rooms; len(got) != 2 || got[0] != (broker.RoomSurvey{Room: "full", Connections: 2, Epoch: last.Epoch, Seq: last.Seq}) ||
		got[1].Room != "other" || got[1].Connections != 1 {
		t.Errorf("rooms %+v", got)
	}
	c := seen.Slow[0]
	if len(seen.Slow) != 1 || seen.Blocked != 1 || c.User != slow.welcome.User || c.Connection != slow.welcome.Connection || c.Rooms != 1 ||
		c.Frames < 1 || c.Bytes < 30<<10 || c.Dropped != seen.Dropped {
		t.Errorf("slow %+v of %d, %d dropped", seen.Slow, seen.Blocked, seen.Dropped)
	}
	if seen.Opened != 2 || seen.Received < 3 || seen.Sent < last.Seq || seen.SentBytes < last.Seq*30<<10 || seen.Fanout.Count < last.Seq {
		t.Errorf("counters %+v", seen)
	}
	if seen.Relay != nil || seen.Broker != "" {
		t.Errorf("a broker of its own is shown as %+v, %q", seen.Relay, seen.Broker)
	}
}

func TestWhatALoopLooksAtIsBounded(t *testing.T) {
	s := run(t, nil...)
	stripe := &stripe{rooms: make(map[string]*hubRoom)}
	for n := range 2 * surveyRooms {
		name := fmt.Sprint(n)
		stripe.rooms[name] = newHubRoom(name, s.gw.live().Classes.Of(name), 1, &s.set.PresenceUnsaid)
	}
	seen := 0
	top := ranking[broker.RoomSurvey]{by: func(broker.RoomSurvey, broker.RoomSurvey) int { seen++; return 0 }}
	stripe.survey(&top)
	if seen > surveyRooms+surveyTop*surveyTop || len(top.first) != surveyTop {
		t.Errorf("%d comparisons for %d", seen, len(top.first))
	}
}

// Nothing is gathered while nobody looks, whoever looks sees all gateways, and the
// others are told of it once for many looks.
func TestTheFleetShowsItselfWhileSomebodyLooks(t *testing.T) {
	t.Parallel()
	b, one, two := runTwo(t)
	two.dial().joinInto("r")
	two.announce()
	shown := func() map[string]broker.Member {
		all := make(map[string]broker.Member)
		for _, m := range one.gw.Look(t.Context()) {
			all[m.ID] = m
		}
		return all
	}
	if all := shown(); all["other"].Survey != nil || all["gw"].Survey == nil || len(all) != 2 {
		t.Errorf("at first %+v", all)
	}
	two.untilMetric(`fanfare_control_messages_total{type="look"}`, 1)
	two.announce()
	all := shown()
	if other := all["other"]; other.Survey == nil || other.Connections != 1 || len(other.Survey.Rooms) != 1 || other.Survey.Rooms[0].Room != "r" {
		t.Errorf("then %+v", all)
	}
	if members, err := one.gw.Gateways(t.Context()); err != nil || len(members) != 2 || members[0].Survey != nil || members[1].Survey != nil {
		t.Errorf("the list of gateways: %+v, %v", members, err)
	}
	one.untilMetric(`fanfare_control_messages_total{type="look"}`, 1) // it was told once, itself included

	one.gw.surveys.mu.Lock()
	one.gw.surveys.told = time.Now().Add(time.Hour) // and it is not told again
	one.gw.surveys.mu.Unlock()
	two.gw.looked.Store(time.Now().Add(-lookFor).UnixNano())
	two.announce()
	if other := shown()["other"]; other.Survey != nil {
		t.Errorf("long after the last look it is shown still: %+v", other)
	}
	b.mu.Lock()
	b.deaf = true
	b.mu.Unlock()
	if all := shown(); len(all) != 1 || all["gw"].Survey == nil {
		t.Errorf("where the broker is away: %+v", all)
	}
}

func TestTheOthersAreToldOnceForManyLooks(t *testing.T) {
	var s surveys
	now := time.Now()
	if !s.tell(now) {
		t.Error("the first look is not told")
	}
	if s.tell(now.Add(lookAgain - 1)) {
		t.Error("told again too soon")
	}
	if !s.tell(now.Add(lookAgain)) {
		t.Error("not told again")
	}
	if lookFor < 2*lookAgain {
		t.Error("one that is lost ends the show")
	}
}
