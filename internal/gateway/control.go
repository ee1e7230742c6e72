package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// control is what gateways tell each other, one JSON object. A newer gateway may
// say what this one does not know: it is counted and does nothing.
//
//	{"type":"revoke","revocation":{"jti":"…","until":"…"}}
//	{"type":"disconnect","user":"…"}
//	{"type":"look"}
//	{"type":"yield","user":"…"}
type control struct {
	Type       string             `json:"type"`
	User       string             `json:"user,omitempty"`
	Revocation *broker.Revocation `json:"revocation,omitempty"`
}

const (
	controlRevoke     = "revoke"
	controlDisconnect = "disconnect"
	controlLook       = "look"
	controlYield      = "yield"

	// maxControl bounds what is looked at of a message.
	maxControl = 4 << 10
)

// parseControl reads a message whole: a field that is not known may narrow what is
// meant.
func parseControl(message []byte) (c control, ok bool) {
	if len(message) > maxControl || json.Unmarshal(message, &c, json.RejectUnknownMembers(true)) != nil {
		return c, false
	}
	switch c.Type {
	case controlRevoke:
		return c, c.Revocation != nil && c.User == ""
	case controlDisconnect, controlYield:
		return c, c.User != "" && c.Revocation == nil
	case controlLook:
		return c, c.User == "" && c.Revocation == nil
	}
	return c, false
}

// heard is told what any gateway of the fleet says, by the broker's goroutine.
func (g *Gateway) heard(message []byte) {
	c, ok := parseControl(message)
	switch {
	case !ok:
		g.cfg.Metrics.ControlHeard(metrics.ControlIgnored)
	case c.Type == controlRevoke:
		g.cfg.Metrics.ControlHeard(metrics.ControlRevoke)
		g.revoked(*c.Revocation)
	case c.Type == controlLook:
		g.cfg.Metrics.ControlHeard(metrics.ControlLook)
		g.looked.Store(time.Now().UnixNano())
	case c.Type == controlYield:
		g.cfg.Metrics.ControlHeard(metrics.ControlYield)
		if g.people != nil {
			g.people.yield(c.User)
		}
	default:
		g.cfg.Metrics.ControlHeard(metrics.ControlDisconnect)
		g.disconnect(c.User)
	}
}

// tell says something to every gateway of the fleet, this one included.
func (g *Gateway) tell(ctx context.Context, c control) error {
	message, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("tell: %w", err)
	}
	if shared, ok := g.cfg.Broker.(broker.Fleet); ok {
		return shared.Tell(ctx, message)
	}
	g.heard(message)
	return nil
}

// Disconnect closes a user's connections on every gateway, with 4005. It returns
// when all that are reached have been told.
func (g *Gateway) Disconnect(ctx context.Context, user string) error {
	return g.tell(ctx, control{Type: controlDisconnect, User: user})
}

// Revoke makes tokens invalid on every gateway, until the revocation runs out: who
// came by one is closed with 4001. A gateway that does not hear of it at once
// reads it within revocationsEvery.
func (g *Gateway) Revoke(ctx context.Context, r broker.Revocation) error {
	if g.people == nil {
		return errNoPeople
	}
	if err := g.people.Revoke(ctx, r); err != nil {
		return err
	}
	g.revoked(r)
	if err := g.tell(ctx, control{Type: controlRevoke, Revocation: &r}); err != nil {
		g.cfg.Log.Warn("a revocation was kept, and not told at once", "error", err)
	}
	return nil
}

// revoked takes revocations in, and looks for whom they are about.
func (g *Gateway) revoked(rs ...broker.Revocation) {
	news := false
	for _, r := range rs {
		changed, err := g.revocations.Add(auth.Revocation(r))
		if err != nil {
			g.cfg.Metrics.RevocationsRefused.Inc()
			continue
		}
		news = news || changed
	}
	g.cfg.Metrics.Revocations.Set(int64(g.revocations.Len()))
	if news {
		for _, s := range g.shards {
			s.loop.Post(huntRevoked{})
		}
	}
}

// revocationsEvery is how often all revocations are read: a gateway may not have
// heard of one.
const revocationsEvery = 2 * time.Second

// readRevocations keeps the table that of the broker, until ctx ends.
func (g *Gateway) readRevocations(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if err := g.readRevocationsOnce(ctx); err != nil && ctx.Err() == nil {
			g.cfg.Log.Debug("revocations not read", "error", err)
		}
		pause.Reset(revocationsEvery)
		if g.uninformed() {
			pause.Reset(fillRetry)
		}
	}
}

var errUninformed = errors.New("what is revoked was not read yet")

// uninformed says that the gateway has not heard yet what is revoked. It takes
// nobody then: a token that was revoked while it was down would be let in.
func (g *Gateway) uninformed() bool {
	return g.people != nil && g.hub.remote != nil && !g.people.informed.Load()
}

// brokerReady says why the broker cannot be relied upon now.
func (g *Gateway) brokerReady() error {
	if err := g.cfg.Broker.Ready(); err != nil {
		return err
	}
	if g.uninformed() {
		return errUninformed
	}
	return nil
}

func (g *Gateway) readRevocationsOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rangeWait)
	defer cancel()
	rs, err := g.people.Revocations(ctx)
	if err != nil {
		return err
	}
	g.revoked(rs...)
	g.people.informed.Store(true)
	return nil
}

// disconnect closes a user's connections on this gateway.
func (g *Gateway) disconnect(user string) {
	for _, s := range g.shards {
		s.loop.Post(huntUser(user))
	}
}

// huntRevoked and huntUser are posts: the connections of who was revoked, or of a
// user, must end.
type (
	huntRevoked struct{}
	huntUser    string
)

const (
	// huntSlice is how many connections are looked at in a turn.
	huntSlice = 1024
	// huntMost bounds the users that are looked for at a time.
	huntMost = 4096
)

// quarry is what a hunt looks for.
type quarry struct {
	revoked bool
	changed bool // rooms' classes: who may not be where they are
	users   map[string]struct{}
	guests  map[uint64]struct{} // those of users that are guests here, by their connections
}

func (q *quarry) empty() bool { return !q.revoked && !q.changed && len(q.users) == 0 }

// hunt looks for those who must end among a loop's connections, a part of them in
// each turn. What comes meanwhile is looked for next: who has gone by before it
// came might be it.
type hunt struct {
	at        int
	now, next quarry
}

// hunted adds to what is looked for next.
func (s *shard) hunted(user huntUser) {
	q := &s.hunt.next
	if len(q.users) >= huntMost {
		s.gw.cfg.Metrics.DisconnectsDropped.Inc()
		return
	}
	if q.users == nil {
		q.users, q.guests = make(map[string]struct{}), make(map[uint64]struct{})
	}
	q.users[string(user)] = struct{}{}
	if id, ok := s.gw.guest(string(user)); ok {
		q.guests[id] = struct{}{}
	}
}

// hunts looks at the next part, and returns true while there is more.
func (s *shard) hunts() bool {
	h := &s.hunt
	if h.now.empty() {
		if h.next.empty() {
			return false
		}
		h.now, h.next, h.at = h.next, quarry{}, 0
	}
	h.at = s.loop.Walk(h.at, huntSlice, s.strike)
	if h.at == 0 {
		h.now = quarry{}
	}
	return !h.now.empty() || !h.next.empty()
}

// strike ends a connection that is looked for.
func (s *shard) strike(c *loop.Conn) {
	ses, ok := c.Data.(*session)
	if !ok {
		return
	}
	q := &s.hunt.now
	if q.revoked && s.gw.revocations.Revoked(ses.identity()) {
		c.Close(protocol.CloseToken, "the token was revoked", metrics.CloseTokenRevoked)
		return
	}
	if ses.caller == nil {
		_, ok = q.guests[c.ID()]
	} else {
		_, ok = q.users[ses.caller.user]
	}
	if ok {
		c.Close(protocol.CloseOperator, "disconnected by an operator", metrics.CloseOperator)
		return
	}
	if q.changed {
		ses.judge()
	}
}
