package gateway

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// quota is what a session uses of limits that it shares with others of its user or
// address, and of one of its own that few come near. A session has one only where
// there are such limits, so that an idle one costs a pointer for them.
type quota struct {
	user    *budget[string]     // nil: a guest, or nothing of users is limited
	address *budget[netip.Addr] // nil: nothing of addresses is limited
	history bucket
}

// The limits of each use, for the operator.
var (
	userLimits = [uses]metrics.Limit{
		useConnects: metrics.LimitUserConnects, useMessages: metrics.LimitUserMessages, useBytes: metrics.LimitUserBytes,
		useHistory: metrics.LimitUserHistory, useConnections: metrics.LimitUserConnections, useRooms: metrics.LimitUserRooms,
	}
	addressLimits = [uses]metrics.Limit{
		useConnects: metrics.LimitAddressConnects, useMessages: metrics.LimitAddressMessages, useBytes: metrics.LimitAddressBytes,
		useHistory: metrics.LimitAddressHistory, useConnections: metrics.LimitAddressConnections, useRooms: metrics.LimitAddressRooms,
	}
)

var (
	errUserRooms       = &protocol.Error{Code: protocol.LimitExceeded, Message: "too many rooms on this user's connections", Field: "room"}
	errAddressRooms    = &protocol.Error{Code: protocol.LimitExceeded, Message: "too many rooms on the connections of this address", Field: "room"}
	errUserConnections = &protocol.Error{Code: protocol.LimitExceeded, Message: "too many connections of this user"}
)

// enterAddress counts a connection of an address that asks for an upgrade, where
// that is limited, or refuses it.
func (s *shard) enterAddress(a netip.Addr) (*quota, *frame.Refusal) {
	limits := &s.gw.live().Limits.Address
	if !limits.limited() {
		return nil, nil
	}
	b, over, wait := s.gw.addresses.enter(loop.Network(a), limits, monotonic())
	if b == nil {
		s.m.Limited(addressLimits[over])
		return nil, tooMany(addressLimits[over], wait)
	}
	return &quota{address: b}, nil
}

// enterUser does the same for whom a token names.
func (s *shard) enterUser(ses *session) *frame.Refusal {
	limits := &s.gw.live().Limits.User
	if ses.caller == nil || !limits.limited() {
		return nil
	}
	b, over, wait := s.gw.users.enter(ses.caller.account(), limits, monotonic())
	if b == nil {
		s.m.Limited(userLimits[over])
		return tooMany(userLimits[over], wait)
	}
	ses.ownQuota().user = b
	return nil
}

// tooMany refuses a handshake for who it is from. After the wait it may succeed;
// 0: nobody knows when.
func tooMany(limit metrics.Limit, wait time.Duration) *frame.Refusal {
	code, message := protocol.LimitExceeded, "too many connections of yours"
	if wait > 0 {
		code, message = protocol.RateLimited, "you connect too often"
	}
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	return &frame.Refusal{
		Status: http.StatusTooManyRequests, Reason: limit.String(), Code: string(code), Message: message,
		Header: [][2]string{{"Retry-After", strconv.Itoa(seconds)}},
	}
}

// leave gives back the connection that a quota counts; nil has none.
func (g *Gateway) leave(q *quota) {
	if q == nil {
		return
	}
	if q.user != nil {
		g.users.leave(q.user, monotonic())
	}
	if q.address != nil {
		g.addresses.leave(q.address, monotonic())
	}
}

// account is under what a caller's use is counted. One connection has a registered
// name, so that of them there is no number to bound; and it proves nothing: it takes
// nothing of a user of that name who has a token.
func (c *caller) account() string {
	if c.identity == nil {
		return "name " + c.user // no user has a space
	}
	return c.user
}

func (ses *session) ownQuota() *quota {
	if ses.quota == nil {
		ses.quota = new(quota)
	}
	return ses.quota
}

// meter sees that the session is counted where there are limits now: they may have
// been set when it was open already. That takes until its next frame, which may
// be the answer to a ping.
func (ses *session) meter(limits *Limits) *quota {
	g, q := ses.shard.gw, ses.ownQuota()
	if q.address == nil && limits.Address.limited() {
		q.address = g.addresses.attach(loop.Network(ses.conn.Client().Addr()))
		q.address.rooms.Add(int64(len(ses.rooms)))
	}
	if q.user == nil && ses.caller != nil && limits.User.limited() {
		q.user = g.users.attach(ses.caller.account())
		q.user.rooms.Add(int64(len(ses.rooms)))
	}
	return q
}

// share takes n of a rate that the session has together with others, or says how
// long until it could.
func (ses *session) share(set *inForce, of use, n int) (wait time.Duration, over metrics.Limit) {
	if !set.shared {
		return 0, 0
	}
	now, q := monotonic(), ses.meter(&set.Limits)
	if q.address != nil {
		if wait := q.address.take(of, now, int64(n), &set.Limits.Address); wait > 0 {
			return wait, addressLimits[of]
		}
	}
	if q.user != nil {
		if wait := q.user.take(of, now, int64(n), &set.Limits.User); wait > 0 {
			return wait, userLimits[of]
		}
	}
	return 0, 0
}

// enterRoom counts a room that the session joins, or says why it cannot.
func (ses *session) enterRoom() *protocol.Error {
	q, s := ses.quota, ses.shard
	if q == nil {
		return nil
	}
	limits := &s.gw.live().Limits
	if q.address != nil && !q.address.join(&limits.Address) {
		s.m.Limited(metrics.LimitAddressRooms)
		return errAddressRooms
	}
	if q.user != nil && !q.user.join(&limits.User) {
		if q.address != nil {
			q.address.rooms.Add(-1)
		}
		s.m.Limited(metrics.LimitUserRooms)
		return errUserRooms
	}
	return nil
}

// leaveRoom is owed for each enterRoom.
func (q *quota) leaveRoom() {
	if q == nil {
		return
	}
	if q.address != nil {
		q.address.rooms.Add(-1)
	}
	if q.user != nil {
		q.user.rooms.Add(-1)
	}
}

// mayBecome says why the session cannot count for another user, who may have all
// the connections there may be.
func (ses *session) mayBecome(user string) *protocol.Error {
	limits := Usage{Connections: ses.shard.gw.live().Limits.User.Connections}
	if !limits.limited() || ses.caller != nil && ses.caller.account() == user {
		return nil
	}
	g := ses.shard.gw
	b, _, _ := g.users.enter(user, &limits, monotonic())
	if b == nil {
		ses.shard.m.Limited(metrics.LimitUserConnections)
		return errUserConnections
	}
	ses.countFor(b)
	return nil
}

// countFor makes the session one of another user's, nil of nobody's.
func (ses *session) countFor(b *budget[string]) {
	q := ses.ownQuota()
	if b != nil {
		b.rooms.Add(int64(len(ses.rooms)))
	}
	if was := q.user; was != nil {
		was.rooms.Add(-int64(len(ses.rooms)))
		ses.shard.gw.users.leave(was, monotonic())
	}
	q.user = b
}

// recount follows a session that has become another user's. Where it has been
// counted for that one by mayBecome, all is done.
func (ses *session) recount() {
	q := ses.quota
	switch {
	case q == nil || q.user == nil:
	case ses.caller == nil:
		ses.countFor(nil)
	case ses.caller.account() != q.user.key:
		ses.countFor(ses.shard.gw.users.attach(ses.caller.account()))
	}
}

// takeHistory takes one request for history, or for a page of members, which is as
// much work; or says how long until it could.
func (ses *session) takeHistory() time.Duration {
	s := ses.shard
	set := s.gw.settings.Load()
	if per := int64(set.Limits.HistoryPerSecond); per > 0 {
		if wait := ses.ownQuota().history.take(s.loop.Now(), 1, doubled(per)); wait > 0 {
			s.m.Limited(metrics.LimitConnectionHistory)
			return wait
		}
	}
	wait, over := ses.share(set, useHistory, 1)
	if wait > 0 {
		s.m.Limited(over)
	}
	return wait
}
