package protocol

// What a client sends. An empty id leaves request_id out.

// Join is a request to join a room.
type Join struct {
	Room     string
	Since    *Position // nil: from now on
	Last     int       // with no Since: begin that many messages back; 0: none
	Presence bool
}

// Publish is a request to publish.
type Publish struct {
	Room  string
	Data  []byte // one JSON value, sent as it is
	Event string // empty: none
	ID    string // empty: none; makes it safe to send again
}

// HistoryRequest asks for messages that the log keeps.
type HistoryRequest struct {
	Room   string
	After  *uint64 // nil: not said
	Before *uint64
	Limit  int // 0: not said
}

// MembersRequest asks who is in a room.
type MembersRequest struct {
	Room   string
	Limit  int    // 0: not said
	Cursor string // that of the page before; empty: from the first
}

// AppendPing appends a ping, for who cannot see WebSocket pings.
func AppendPing(dst []byte, id string) []byte {
	return append(openBare(dst, "ping", id), '}')
}

// AppendEchoRequest appends an echo of one raw JSON value; nil: none.
func AppendEchoRequest(dst []byte, id string, value []byte) []byte {
	dst = openBare(dst, "echo", id)
	if value != nil {
		dst = append(dst, `,"payload":`...)
		dst = append(dst, value...)
	}
	return append(dst, '}')
}

// AppendJoin appends a join.
func AppendJoin(dst []byte, id string, j Join) []byte {
	dst = open(dst, "join", id)
	dst = strMember(dst, `"room":`, j.Room)
	if j.Since != nil {
		dst = position(append(dst, `,"since":{`...), *j.Since)
		dst = append(dst, '}')
	} else if j.Last > 0 {
		dst = intMember(dst, `,"last":`, int64(j.Last))
	}
	if j.Presence {
		dst = append(dst, `,"presence":true`...)
	}
	return append(dst, "}}"...)
}

// AppendLeave appends a leave.
func AppendLeave(dst []byte, id, room string) []byte {
	dst = open(dst, "leave", id)
	dst = strMember(dst, `"room":`, room)
	return append(dst, "}}"...)
}

// AppendPublish appends a publish.
func AppendPublish(dst []byte, id string, p Publish) []byte {
	dst = open(dst, "publish", id)
	dst = strMember(dst, `"room":`, p.Room)
	if p.Event != "" {
		dst = strMember(dst, `,"event":`, p.Event)
	}
	if p.ID != "" {
		dst = strMember(dst, `,"id":`, p.ID)
	}
	dst = append(dst, `,"data":`...)
	dst = append(dst, p.Data...)
	return append(dst, "}}"...)
}

// AppendHistoryRequest appends a history request.
func AppendHistoryRequest(dst []byte, id string, h HistoryRequest) []byte {
	dst = open(dst, "history", id)
	dst = strMember(dst, `"room":`, h.Room)
	if h.After != nil {
		dst = uintMember(dst, `,"after":`, *h.After)
	}
	if h.Before != nil {
		dst = uintMember(dst, `,"before":`, *h.Before)
	}
	if h.Limit > 0 {
		dst = intMember(dst, `,"limit":`, int64(h.Limit))
	}
	return append(dst, "}}"...)
}

// AppendMembersRequest appends a members request.
func AppendMembersRequest(dst []byte, id string, m MembersRequest) []byte {
	dst = open(dst, "members", id)
	dst = strMember(dst, `"room":`, m.Room)
	if m.Limit > 0 {
		dst = intMember(dst, `,"limit":`, int64(m.Limit))
	}
	if m.Cursor != "" {
		dst = strMember(dst, `,"cursor":`, m.Cursor)
	}
	return append(dst, "}}"...)
}

// AppendRegister appends a register; key is that of an earlier reply, empty:
// none.
func AppendRegister(dst []byte, id, username, key string) []byte {
	dst = open(dst, "register", id)
	dst = strMember(dst, `"username":`, username)
	if key != "" {
		dst = strMember(dst, `,"key":`, key)
	}
	return append(dst, "}}"...)
}

// AppendAuth appends an auth, which renews or changes the connection's token.
func AppendAuth(dst []byte, id, token string) []byte {
	dst = open(dst, "auth", id)
	dst = strMember(dst, `"token":`, token)
	return append(dst, "}}"...)
}
