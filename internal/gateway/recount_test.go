package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
)

// elsewhere says that a user has come to a room by another gateway, gone if by 0
// connections.
func (s *service) elsewhere(room, user string, connections int) {
	s.t.Helper()
	err := s.tap.People.SetPresence(s.t.Context(), "other", []broker.RoomUsers{{Room: room, Users: []broker.UserConnections{{User: user, Connections: connections}}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// The event that was lost was the last one: no other follows whose count would show
// it.
func TestALostPresenceEventOfAQuietRoomIsFound(t *testing.T) {
	s := run(t, listed)
	c := s.dial()
	c.join("r", watching)
	c.presence("r", []string{c.welcome.User}, nil, 1)
	s.dial().join("unwatched", "")
	s.cool()
	s.tap.unheard.Store(true)
	s.elsewhere("r", "ada", 1)
	s.elsewhere("unwatched", "ada", 1)
	s.gw.people.recount(time.Now()) // too early: it was heard of a moment ago
	c.sync()
	s.gw.people.recount(time.Now().Add(recountEvery))
	c.incomplete("r", 2)
	s.cool()
	s.gw.people.recount(time.Now().Add(recountEvery))
	s.gw.people.recount(time.Now().Add(2 * recountEvery)) // nothing was lost since
	c.sync()
	if n := s.metric("fanfare_presence_repaired_total"); n != 1 {
		t.Errorf("%v rooms repaired", n)
	}
	s.tap.unheard.Store(false)
	s.elsewhere("r", "ben", 1)
	c.presence("r", []string{"ben"}, nil, 3)
}

func TestUsersThatCannotBeCountedAreCountedLater(t *testing.T) {
	kept := newForgetful()
	s := run(t, listed, func(c *setup) {
		m := memory.New(memory.Config{})
		c.tap.Broker, c.tap.People = m, kept
		c.Broker = c.tap
	})
	c := s.dial()
	c.join("r", watching)
	c.presence("r", []string{c.welcome.User}, nil, 1)
	s.cool()
	s.tap.unheard.Store(true)
	s.elsewhere("r", "ada", 1)
	kept.setAway(true)
	s.gw.people.recount(time.Now().Add(recountEvery))
	c.sync()
	kept.setAway(false)
	s.gw.people.recount(time.Now().Add(recountEvery))
	c.incomplete("r", 2)
}

// parted is people of which a part may be away: that of the rooms whose name begins
// with a.
type parted struct {
	broker.People
	away  atomic.Bool
	tried chan struct{}
}

func (p *parted) Parts() int { return 2 }

func (p *parted) Part(room string) int {
	if room[0] == 'a' {
		return 1
	}
	return 0
}

func (p *parted) SetPresence(ctx context.Context, gateway string, rooms []broker.RoomUsers) error {
	if p.away.Load() && slices.ContainsFunc(rooms, func(r broker.RoomUsers) bool { return p.Part(r.Room) == 1 }) {
		select {
		case p.tried <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		<-ctx.Done() // no answer comes
		return ctx.Err()
	}
	return p.People.SetPresence(ctx, gateway, rooms)
}

func TestAPartOfTheBrokerThatIsAwayHoldsUpNoOther(t *testing.T) {
	p := &parted{tried: make(chan struct{})}
	s := run(t, listed, func(c *setup) {
		m := memory.New(memory.Config{})
		p.People = m
		c.tap.Broker, c.tap.People = m, p
		c.Broker = c.tap
	})
	p.away.Store(true)
	c := s.dial()
	c.join("away", "")
	receive(t, p.tried) // and is not answered
	for _, name := range []string{"b", "c", "d"} {
		c.join(name, "")
		s.untilUsers(name, c.welcome.User+":1")
	}
	if users := s.users("away"); len(users) != 0 {
		t.Errorf("%v are in a room whose part is away: it is not", users)
	}
	p.away.Store(false)
	s.untilUsers("away", c.welcome.User+":1")
}

// revoker is a broker of many gateways that keeps people, and may not say what is
// revoked.
type revoker struct {
	*remote
	broker.People
	dumb atomic.Bool
}

func (r *revoker) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	if r.dumb.Load() {
		return nil, broker.ErrUnavailable
	}
	return r.People.Revocations(ctx)
}

// A gateway that begins, and cannot read what is revoked, would let in by it.
func TestWithoutTheRevocationsNobodyIsLetIn(t *testing.T) {
	r := new(revoker)
	r.dumb.Store(true)
	_, s := runRemote(t, func(c *setup, b *remote) {
		r.remote, r.People = b, b.Broker.(*memory.Broker)
		c.Broker = r
	})
	if _, res := s.handshake(dialing{}); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	broker := func() Check { return s.gw.Checks()[1] }
	if c := broker(); c.OK || c.Error != errUninformed.Error() {
		t.Errorf("%+v", c)
	}
	r.dumb.Store(false)
	until(t, "it is ready", func() bool { return broker().OK })
	s.dial()
	r.dumb.Store(true) // what was read holds
	s.dial()
	if err := r.remote.Ready(); err != nil || errors.Is(s.gw.brokerReady(), errUninformed) {
		t.Error(err)
	}
}
