package protocol

import "time"

// The types of what a gateway sends, for [Server.Type].
const (
	ServerPong          = "pong"
	ServerEcho          = "echo"
	ServerJoined        = "joined"
	ServerLeft          = "left"
	ServerPublished     = "published"
	ServerHistory       = "history"
	ServerMembers       = "members"
	ServerRegistered    = "registered"
	ServerAuthenticated = "authenticated"
	ServerWelcome       = "welcome"
	ServerMessage       = "message"
	ServerPresence      = "presence"
	ServerGap           = "gap"
	ServerReset         = "reset"
	ServerReconnect     = "reconnect"
	ServerError         = "error"
)

// Recovery is the field recovered of a joined reply.
type Recovery uint8

const (
	NotAsked     Recovery = iota // the join had no since: the field is absent
	Recovered                    // true: everything after since follows
	NotRecovered                 // false: some of it is lost
)

// Joined is the reply to a join. Position says where the connection stands:
// what follows begins with Seq + 1.
type Joined struct {
	Room string
	Position
	Recovery Recovery
	Members  int
}

// Published is the reply to a publish, and the result of one.
type Published struct {
	Room string
	Position
	Duplicate bool // the id was known: Position is the first publish's
}

// History is the reply to a history request.
type History struct {
	Room, Epoch string
	Messages    []Message // ascending
	First, Last uint64    // what the log keeps; First is Last+1 where it keeps nothing
}

// Members is the reply to a members request: a page of who is in a room.
type Members struct {
	Room   string
	Count  int // of all users in the room, each once
	Users  []Member
	Cursor string // of the next page; empty: this is the last
}

// Member is a user in a room, and by how many connections it is there.
type Member struct {
	User        string
	Connections int
}

// Registered is the reply to a register.
type Registered struct {
	Username string // in NFC
	Key      string // with which the name is taken back after the connection ended
}

// Authenticated is the reply to an auth.
type Authenticated struct {
	User      string
	ExpiresAt int64 // Unix milliseconds; 0: the token never runs out
}

// Welcome is the first frame of every connection.
type Welcome struct {
	Connection, User, Gateway string
	UsernameKey               string        // Registered.Key of the name that the URL asked for; empty: it asked for none
	HeartbeatInterval         time.Duration // whole milliseconds on the wire
	HeartbeatTimeout          time.Duration
	MessageBytes              int64 // limit of a message; 0: none
	Rooms                     int   // limit of rooms per connection; 0: none
}

// Message is one message of a room's log.
type Message struct {
	Room, Epoch string
	Seq         uint64
	Time        int64 // Unix milliseconds, the broker's clock
	From        string
	Event       string // empty: none
	Data        []byte // raw JSON
}

// Presence says which users came to a room and which left it. Nobody stands in
// both.
type Presence struct {
	Room         string
	Joined, Left []string
	Count        int  // of users in the room, after it
	Incomplete   bool // others may have come or left, too: the list has to be read to know
}

// GapReason says why messages were skipped.
type GapReason string

const (
	GapSlowConsumer GapReason = "slow_consumer"
	GapHistoryLost  GapReason = "history_lost"
	GapConflated    GapReason = "conflated"
)

// Gap names a run of messages, From to To inclusive, that will not come.
type Gap struct {
	Room, Epoch string
	From, To    uint64
	Reason      GapReason
}

// Reset says that a room's log began anew; Position is where the connection
// now stands, Previous where the old log ended for it.
type Reset struct {
	Room string
	Position
	Previous Position
}

// AppendPong appends the reply to a ping.
func AppendPong(dst, id []byte, unixMilli int64) []byte {
	dst = open(dst, ServerPong, id)
	dst = intMember(dst, `"time":`, unixMilli)
	return append(dst, "}}"...)
}

// AppendEcho appends the reply to an echo; value is raw JSON, nil: the request
// had no payload, and neither has the reply.
func AppendEcho(dst, id, value []byte) []byte {
	dst = openBare(dst, ServerEcho, id)
	if value != nil {
		dst = append(dst, `,"payload":`...)
		dst = append(dst, value...)
	}
	return append(dst, '}')
}

// AppendJoined appends the reply to a join.
func AppendJoined(dst, id []byte, j Joined) []byte {
	dst = open(dst, ServerJoined, id)
	dst = strMember(dst, `"room":`, j.Room)
	dst = position(append(dst, ','), j.Position)
	switch j.Recovery {
	case Recovered:
		dst = append(dst, `,"recovered":true`...)
	case NotRecovered:
		dst = append(dst, `,"recovered":false`...)
	}
	dst = intMember(dst, `,"members":`, int64(j.Members))
	return append(dst, "}}"...)
}

// AppendLeft appends the reply to a leave.
func AppendLeft(dst, id []byte, room string) []byte {
	dst = open(dst, ServerLeft, id)
	dst = strMember(dst, `"room":`, room)
	return append(dst, "}}"...)
}

// AppendPublished appends the reply to a publish.
func AppendPublished(dst, id []byte, room string, p Position, duplicate bool) []byte {
	dst = open(dst, ServerPublished, id)
	dst = strMember(dst, `"room":`, room)
	dst = position(append(dst, ','), p)
	if duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	return append(dst, "}}"...)
}

// AppendHistory appends the reply to a history request. Each of its messages
// has the payload that it had as a message frame.
func AppendHistory(dst, id []byte, h History) []byte {
	dst = openBare(dst, ServerHistory, id)
	dst = AppendHistoryPayload(append(dst, `,"payload":`...), &h)
	return append(dst, '}')
}

// AppendMembers appends the reply to a members request.
func AppendMembers(dst, id []byte, m Members) []byte {
	dst = open(dst, ServerMembers, id)
	dst = strMember(dst, `"room":`, m.Room)
	dst = intMember(dst, `,"count":`, int64(m.Count))
	dst = append(dst, `,"users":[`...)
	for i, u := range m.Users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strMember(dst, `{"user":`, u.User)
		dst = intMember(dst, `,"connections":`, int64(u.Connections))
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	if m.Cursor != "" {
		dst = strMember(dst, `,"cursor":`, m.Cursor)
	}
	return append(dst, "}}"...)
}

// AppendRegistered appends the reply to a register.
func AppendRegistered(dst, id []byte, r Registered) []byte {
	dst = open(dst, ServerRegistered, id)
	dst = strMember(dst, `"username":`, r.Username)
	dst = strMember(dst, `,"key":`, r.Key)
	return append(dst, "}}"...)
}

// AppendAuthenticated appends the reply to an auth.
func AppendAuthenticated(dst, id []byte, a Authenticated) []byte {
	dst = open(dst, ServerAuthenticated, id)
	dst = strMember(dst, `"user":`, a.User)
	if a.ExpiresAt != 0 {
		dst = intMember(dst, `,"expires_at":`, a.ExpiresAt)
	}
	return append(dst, "}}"...)
}

// AppendWelcome appends the first frame of a connection.
func AppendWelcome(dst []byte, w Welcome) []byte {
	dst = open(dst, ServerWelcome, "")
	dst = strMember(dst, `"connection":`, w.Connection)
	dst = strMember(dst, `,"user":`, w.User)
	if w.UsernameKey != "" {
		dst = strMember(dst, `,"username_key":`, w.UsernameKey)
	}
	dst = strMember(dst, `,"gateway":`, w.Gateway)
	dst = intMember(dst, `,"heartbeat":{"interval_ms":`, w.HeartbeatInterval.Milliseconds())
	dst = intMember(dst, `,"timeout_ms":`, w.HeartbeatTimeout.Milliseconds())
	dst = intMember(dst, `},"limits":{"message_bytes":`, w.MessageBytes)
	dst = intMember(dst, `,"rooms":`, int64(w.Rooms))
	return append(dst, "}}}"...)
}

// AppendMessage appends a message frame's envelope: the same bytes for every
// member of the room.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = open(dst, ServerMessage, "")
	dst = messagePayload(dst, m)
	return append(dst, "}}"...)
}

func messagePayload(dst []byte, m *Message) []byte {
	dst = strMember(dst, `"room":`, m.Room)
	dst = position(append(dst, ','), Position{m.Epoch, m.Seq})
	dst = intMember(dst, `,"time":`, m.Time)
	dst = strMember(dst, `,"from":`, m.From)
	if m.Event != "" {
		dst = strMember(dst, `,"event":`, m.Event)
	}
	dst = append(dst, `,"data":`...)
	return append(dst, m.Data...)
}

// AppendPresence appends the event of users that came and left.
func AppendPresence(dst []byte, p Presence) []byte {
	dst = open(dst, ServerPresence, "")
	dst = strMember(dst, `"room":`, p.Room)
	dst = names(append(dst, `,"joined":`...), p.Joined)
	dst = names(append(dst, `,"left":`...), p.Left)
	dst = intMember(dst, `,"count":`, int64(p.Count))
	if p.Incomplete {
		dst = append(dst, `,"incomplete":true`...)
	}
	return append(dst, "}}"...)
}

func names(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, name := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
	}
	return append(dst, ']')
}

// AppendGap appends the event that names skipped messages.
func AppendGap(dst []byte, g Gap) []byte {
	dst = open(dst, ServerGap, "")
	dst = strMember(dst, `"room":`, g.Room)
	dst = strMember(dst, `,"epoch":`, g.Epoch)
	dst = uintMember(dst, `,"from":`, g.From)
	dst = uintMember(dst, `,"to":`, g.To)
	dst = strMember(dst, `,"reason":`, g.Reason)
	return append(dst, "}}"...)
}

// AppendReset appends the event that says that a log began anew.
func AppendReset(dst []byte, r Reset) []byte {
	dst = open(dst, ServerReset, "")
	dst = strMember(dst, `"room":`, r.Room)
	dst = position(append(dst, ','), r.Position)
	dst = position(append(dst, `,"previous":{`...), r.Previous)
	return append(dst, "}}}"...)
}

// AppendReconnect appends the event before a close: come back after that long.
// Reason is a word for logs.
func AppendReconnect(dst []byte, after time.Duration, reason string) []byte {
	dst = open(dst, ServerReconnect, "")
	dst = intMember(dst, `"after_ms":`, after.Milliseconds())
	dst = strMember(dst, `,"reason":`, reason)
	return append(dst, "}}"...)
}

// AppendError appends an error: the reply to the request with that id, or,
// with none, the event for what could not be read.
func AppendError(dst, id []byte, e *Error) []byte {
	dst = open(dst, ServerError, id)
	dst = strMember(dst, `"code":`, e.Code)
	dst = strMember(dst, `,"message":`, e.Message)
	if e.Field != "" {
		dst = strMember(dst, `,"field":`, e.Field)
	}
	if e.RetryAfter > 0 {
		// Rounded up: who comes back on the millisecond must not be early.
		ms := (e.RetryAfter + time.Millisecond - 1) / time.Millisecond
		dst = intMember(dst, `,"retry_after_ms":`, int64(ms))
	}
	return append(dst, "}}"...)
}
