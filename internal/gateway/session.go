package gateway

import (
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// session is one connection's conversation. It is its loop's. There may be very
// many: its numbers are as small as their bounds.
type session struct {
	shard    *shard
	conn     *loop.Conn
	greeting *greeting // until it is open; nil where its URL asks for nothing
	caller   *caller   // nil: a guest
	quota    *quota    // nil: it has used nothing that is shared with others

	rooms    []membership
	messages bucket
	bytes    bucket
	until    uint32 // when it is too old, in seconds of the loop's clock; 0: never
	held     int32  // bytes of publishes that wait behind joins
	pending  uint16 // rooms with joins that wait for a log
	queued   uint16 // requests that wait so
	refused  uint8  // by the rate limit, in a row: at most refusedMost
	gone     bool
}

// membership says where a session's cursor in a room is.
type membership struct {
	room  *localRoom
	at    int32 // in room.members
	watch int32 // behind its place in room.watchers; 0: not told who comes and goes
}

func newSession(s *shard, c *loop.Conn, g *greeting) *session {
	return &session{shard: s, conn: c, greeting: g}
}

// message answers one message of the client.
func (ses *session) message(payload []byte) {
	if ses.greeting != nil {
		ses.early(payload)
		return
	}
	s := ses.shard
	r := &s.request
	problem := s.decoder.Decode(payload, r)
	if wait := ses.overspent(len(payload)); wait > 0 {
		ses.refuse(r.ID, wait)
		return
	}
	ses.refused = 0
	if problem != nil {
		ses.fail(r.ID, problem)
		return
	}
	switch r.Type {
	case protocol.TypePing:
		s.payload = protocol.AppendPong(s.payload[:0], r.ID, time.Now().UnixMilli())
		s.send(ses.conn, s.payload)
	case protocol.TypeEcho:
		s.payload = protocol.AppendEcho(s.payload[:0], r.ID, r.Value)
		s.send(ses.conn, s.payload)
	case protocol.TypeJoin:
		ses.join(r)
	case protocol.TypeLeave:
		ses.leave(r)
	case protocol.TypePublish:
		ses.publish(r)
	case protocol.TypeHistory:
		ses.askHistory(r)
	case protocol.TypeMembers:
		ses.askMembers(r)
	case protocol.TypeRegister:
		ses.register(r)
	case protocol.TypeAuth:
		ses.authenticate(r)
	}
}

// fail replies with an error.
func (ses *session) fail(id []byte, e *protocol.Error) {
	s := ses.shard
	s.payload = protocol.AppendError(s.payload[:0], id, e)
	s.send(ses.conn, s.payload)
	s.m.ErrorSent(string(e.Code))
}

// refusedMost is how many frames in a row the rate limit refuses before it ends
// the connection.
const refusedMost = 100

// spend counts n frames, of data or control, against the rates of the connection,
// its user and its address.
func (ses *session) spend(n int) {
	s := ses.shard
	set := s.gw.settings.Load()
	over := metrics.LimitConnectionMessages
	s.wait = ses.messages.take(s.loop.Now(), int64(n), doubled(int64(set.Limits.MessagesPerSecond)))
	if s.wait == 0 {
		s.wait, over = ses.share(set, useMessages, n)
	}
	if s.wait > 0 {
		ses.overrun(over)
	}
}

// overspent says how long the client has to wait, if it is over a rate.
func (ses *session) overspent(bytes int) time.Duration {
	if wait := ses.shard.wait; wait > 0 {
		return wait
	}
	set := ses.shard.gw.settings.Load()
	over := metrics.LimitConnectionBytes
	wait := ses.bytes.take(ses.shard.loop.Now(), int64(bytes), doubled(set.Limits.BytesPerSecond))
	if wait == 0 {
		wait, over = ses.share(set, useBytes, bytes)
	}
	if wait > 0 {
		ses.overrun(over)
	}
	return wait
}

// overrun counts a frame over a rate, and ends who does not stop.
func (ses *session) overrun(over metrics.Limit) {
	m := ses.shard.m
	m.Limited(over)
	if over == metrics.LimitConnectionMessages || over == metrics.LimitConnectionBytes {
		m.RateLimited.Inc()
	}
	ses.refused++
	if ses.refused == refusedMost {
		ses.conn.Close(protocol.CloseRate, "rate limit", metrics.CloseRateLimit)
	}
}

func (ses *session) refuse(id []byte, wait time.Duration) {
	ses.fail(id, &protocol.Error{Code: protocol.RateLimited, Message: "too much at once", RetryAfter: wait})
}

// hopeless ends a member of a room whose policy for slow ones is to disconnect.
func (ses *session) hopeless() {
	ses.conn.Close(protocol.CloseSlow, "slow consumer", metrics.CloseSlowConsumer)
}

// resume goes on in all rooms after the socket was full.
func (ses *session) resume() {
	for i := range ses.rooms {
		m := &ses.rooms[i]
		m.room.flush(int(m.at))
		ses.catchUp(m)
	}
}

// membership returns the index in ses.rooms, or -1.
func (ses *session) membership(name []byte) int {
	for i, m := range ses.rooms {
		if m.room.shared.name == string(name) {
			return i
		}
	}
	return -1
}

// membershipOf returns the index in ses.rooms of a room that is joined.
func (ses *session) membershipOf(lr *localRoom) int {
	return slices.IndexFunc(ses.rooms, func(m membership) bool { return m.room == lr })
}

// closed ends the session: nothing of it stays.
func (ses *session) closed() {
	ses.gone = true
	if ses.greeting == nil {
		ses.shard.gw.people.disconnected(ses)
	}
	if c := ses.caller; c != nil {
		ses.shard.expiries.remove(c)
		ses.shard.gw.people.departed(c)
		if c.key != "" {
			ses.shard.gw.people.letGo(ses, c.user)
		}
	}
	for i := range ses.rooms {
		lr := ses.rooms[i].room
		ses.watch(i, false)
		if lr.listed {
			ses.shard.gw.people.close(lr.shared, ses.user(), ses.caller == nil)
		}
		lr.remove(int(ses.rooms[i].at))
		lr.leaveIfEmpty()
	}
	ses.rooms = nil
	ses.shard.guest = guestName{}
	ses.shard.gw.leave(ses.quota)
	ses.quota = nil
}
