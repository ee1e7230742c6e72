package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// errForbidden says what the token or the room's class does not allow. One stands
// for each verb.
var errForbidden = [...]*protocol.Error{
	auth.Join:    {Code: protocol.Forbidden, Message: "joining this room is not allowed", Field: "room"},
	auth.Publish: {Code: protocol.Forbidden, Message: "publishing to this room is not allowed", Field: "room"},
	auth.History: {Code: protocol.Forbidden, Message: "reading this room's history is not allowed", Field: "room"},
	auth.Members: {Code: protocol.Forbidden, Message: "seeing this room's members is not allowed", Field: "room"},
}

// may decides about a verb in a room, of which the session is a member or not.
func (ses *session) may(v auth.Verb, room string, member bool) bool {
	c := auth.Caller{Identity: ses.identity(), Member: member}
	return auth.Allowed(c, v, room, ses.shard.gw.Rules(room))
}

// mayRead is may for what a member asks for, and who will be one: a join that
// waits for the room's log was allowed.
func (ses *session) mayRead(v auth.Verb, room string) bool {
	lr := ses.shard.rooms[room]
	return ses.may(v, room, lr != nil && (ses.memberOf(lr) || lr.waits(ses)))
}

func (ses *session) memberOf(lr *localRoom) bool { return ses.membership([]byte(lr.shared.name)) >= 0 }

// mayJoin decides about a join with all that it asks for: the history of since and
// last, and the presence events, are those of a member.
func (ses *session) mayJoin(j *joining, room string) *protocol.Error {
	switch {
	case !ses.may(auth.Join, room, false):
		return errForbidden[auth.Join]
	case (j.since != nil || j.last > 0) && !ses.may(auth.History, room, true):
		return errForbidden[auth.History]
	case j.watch && !ses.may(auth.Members, room, true):
		return errForbidden[auth.Members]
	}
	return nil
}

// judge ends the memberships that are not allowed any more, for the session's token
// or the room's class are others: each is told by an error and by left, without a
// request_id, as nobody has asked. Who may stay and not see the members is told of
// them no more.
func (ses *session) judge() {
	for i := len(ses.rooms) - 1; i >= 0; i-- {
		lr := ses.rooms[i].room
		switch name := lr.shared.name; {
		case !ses.may(auth.Join, name, true):
			ses.fail(nil, errForbidden[auth.Join])
			lr.depart(ses, nil)
			s := ses.shard
			s.payload = protocol.AppendLeft(s.payload[:0], nil, name)
			s.send(ses.conn, s.payload)
			lr.leaveIfEmpty()
		case ses.rooms[i].watch != 0 && !ses.may(auth.Members, name, true):
			ses.fail(nil, errForbidden[auth.Members])
			ses.watch(i, false)
		}
	}
}
