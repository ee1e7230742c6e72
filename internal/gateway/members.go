package gateway

import (
	"context"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

var (
	errNoList  = &protocol.Error{Code: protocol.Forbidden, Message: "who is in this room is not kept", Field: "room"}
	errNoUsers = &protocol.Error{Code: protocol.Unavailable, Message: "the members could not be read in time"}
	errCursor  = &protocol.Error{Code: protocol.InvalidRequest, Message: "cursor: not that of a page of members", Field: "cursor"}
)

// membersRequest is a request for a page of who is in a room.
type membersRequest struct {
	asking
	room, after string
	limit       int
}

// askMembers hands a members request over. A page's cursor is the name of its last
// user: who comes and goes meanwhile does not move the rest. Who was told that they
// joined is in the list.
func (ses *session) askMembers(r *protocol.Request) {
	name, after := ses.shard.roomName(r.Room), string(r.Cursor)
	g := ses.shard.gw
	switch {
	case !ses.mayRead(auth.Members, name):
		ses.fail(r.ID, errForbidden[auth.Members])
	case !g.live().Classes.Of(name).Presence:
		ses.fail(r.ID, errNoList)
	case after != "" && !protocol.ValidUser(after):
		ses.fail(r.ID, errCursor)
	default:
		if wait := ses.takeHistory(); wait > 0 {
			ses.refuse(r.ID, wait)
			return
		}
		q := &membersRequest{ses.asking(r), name, after, r.Limit}
		g.people.settle(g.hub.find(name), func() { g.hub.ask(q) })
	}
}

func (r *membersRequest) read(ctx context.Context, h *hub) (payload []byte, problem *protocol.Error) {
	if h.people == nil {
		return nil, errNoUsers
	}
	page, err := h.people.Online(ctx, r.room, r.after, r.limit)
	if err != nil {
		h.log.Debug("members not read", "error", err)
		return nil, errNoUsers
	}
	out := protocol.Members{Room: r.room, Count: page.Count, Users: make([]protocol.Member, len(page.Users))}
	for i, u := range page.Users {
		out.Users[i] = protocol.Member(u)
	}
	if page.More {
		out.Cursor = page.Users[len(page.Users)-1].User
	}
	return protocol.AppendMembers(nil, r.id, out), nil
}
