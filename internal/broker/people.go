package broker

import (
	"context"
	"errors"
	"time"
)

// People is what a broker keeps of users, for all the gateways that share it:
// who is in the rooms, who holds which name, whose tokens are revoked, and what
// backends are told. All that a gateway says stands under its lease, which it
// renews by Fleet.Announce: once that has run out, a survivor's Reap takes it
// back. Where Announce says that something was lost, by a lease that ran out or by
// the broker, the gateway says all again: its users, its names and its connections.
// Methods may block until ctx ends; an error wraps ErrUnavailable, ErrClosed or
// ErrCursor, or is the context's, and what was asked for may or may not have been
// done.
type People interface {
	Presence
	Names
	Revoker
	Lifecycle
	// Reap takes back what gateways said whose lease has run out: their users leave,
	// their names are free, and their leavings are written as events. Each gateway
	// calls it every few seconds; it does a bounded piece of work and is called
	// again at once while more is true, also where there is an error: a part of the
	// broker may be away.
	Reap(ctx context.Context) (more bool, err error)
}

// Presence is who is in the rooms. A user is in a room once, however many
// connections and gateways it is there by.
type Presence interface {
	// Parts is how many parts the rooms lie in that may be away each by itself, and
	// Part the one of a room, from 0 on.
	Parts() int
	Part(room string) int
	// SetPresence says how many connections users have in rooms on one gateway. The
	// numbers are absolute, so that it may be said again, and after an error has to
	// be. Calls of one gateway about rooms of one part are done one after another.
	SetPresence(ctx context.Context, gateway string, rooms []RoomUsers) error
	// Online is a page of a room's users, ascending by the bytes of their names,
	// behind the user after ("": from the first).
	Online(ctx context.Context, room, after string, limit int) (Online, error)
	// OnlineCounts is how many users are in rooms, in the order of rooms.
	OnlineCounts(ctx context.Context, rooms []string) ([]int, error)
	// ActiveRooms is a page of the rooms that have users, in an order of the broker's,
	// from a cursor ("": from the first). next is the cursor of what follows; "" at
	// the end.
	ActiveRooms(ctx context.Context, cursor string, limit int) (rooms []ActiveRoom, next string, err error)
	// WatchPresence names who hears of users that came to or left rooms, on any
	// gateway: those to which this broker is subscribed at least. It must not block.
	// Called before Start. A call may be lost with the relay's connection: Subscribed
	// comes again then.
	WatchPresence(func(PresenceEvent))
}

// RoomUsers is users of one room.
type RoomUsers struct {
	Room  string
	Users []UserConnections
}

// UserConnections is a user and its connections in a room; 0: it has left.
type UserConnections struct {
	User        string
	Connections int
}

// Online is a page of the users in a room.
type Online struct {
	Count int // of all users in the room
	Users []UserConnections
	More  bool // others follow behind the last
}

// ActiveRoom is a room that has users.
type ActiveRoom struct {
	Room  string
	Users int
	Position
}

// PresenceEvent says who came to a room and who left it, over all gateways.
type PresenceEvent struct {
	Room   string
	Joined []string
	Left   []string
	Count  int // of users, after it
}

// Names are user names that only one client holds.
type Names interface {
	// ClaimName takes a name. It returns false while another holds it, or held it
	// within its grace. One that failed, and is not asked for again, is given back by
	// the broker. Names are compared as they are given.
	ClaimName(ctx context.Context, c NameClaim) (bool, error)
	// ReleaseName gives a name back, if this connection still holds it. For the grace
	// only who knows the key can take it again.
	ReleaseName(ctx context.Context, c NameClaim, grace time.Duration) error
}

// NameClaim is one connection's hold on a name.
type NameClaim struct {
	Name       string
	Key        string // known to the client that holds it, who may take the name over; empty: to none
	Connection string
	Gateway    string // under whose lease it stands
}

// Revoker keeps revocations until they run out.
type Revoker interface {
	// Revoke keeps a revocation, of MostRevocations at most. The gateways hear of it by
	// Fleet.Tell, which is not its work, and by reading Revocations from time to time,
	// which costs little while they are the same.
	Revoke(ctx context.Context, r Revocation) error
	// Revocations is all that have not run out, in no order.
	Revocations(ctx context.Context) ([]Revocation, error)
}

// MostRevocations bounds what a Revoker keeps. One more is refused: to forget
// another instead would let its token in.
const MostRevocations = 10000

// Revocation says that tokens are not valid any more: one by its id, or those of
// a user that were issued up to Before. Times are kept to the millisecond.
type Revocation struct {
	TokenID string    `json:"jti,omitempty"`
	User    string    `json:"user,omitempty"`
	Before  time.Time `json:"before,omitzero"` // with User
	Until   time.Time `json:"until"`           // when it may be forgotten
}

// Lifecycle is what backends are told: a bounded log of events, each written at
// least once.
type Lifecycle interface {
	// Connections says which connections of a gateway began and ended. Their events
	// are written with it; those of rooms are written with SetPresence.
	Connections(ctx context.Context, gateway string, changes []ConnectionChange) error
	// Events is a page of events from a cursor ("": from the oldest kept, "$": from
	// now on, or the ID of an event: from behind it), and the cursor behind them. A
	// page may be empty, and more come later. After an ID some events may come again.
	Events(ctx context.Context, cursor string, limit int) (events []Event, next string, err error)
}

// ConnectionChange is a connection that began, or ended for a reason.
type ConnectionChange struct {
	Connection string
	User       string
	Ended      bool
	Reason     string // of the end; a label of the metric of closed connections
}

// Event is a lifecycle event.
type Event struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Time       int64  `json:"time"` // Unix milliseconds, by the broker's clock
	Gateway    string `json:"gateway,omitempty"`
	Connection string `json:"connection,omitempty"`
	User       string `json:"user,omitempty"`
	Room       string `json:"room,omitempty"`
	Reason     string `json:"reason,omitempty"` // disconnected: why
}

// ErrCursor answers a cursor that none of the broker's pages gave.
var ErrCursor = errors.New("no such cursor")

// The types of events.
const (
	EventConnected    = "connected"
	EventDisconnected = "disconnected"
	EventJoined       = "joined"
	EventLeft         = "left"
	EventOccupied     = "room_occupied" // its first user came
	EventVacated      = "room_vacated"  // its last one left
)

// ReasonGatewayLost is why a connection ended whose gateway did not live to say so.
const ReasonGatewayLost = "gateway_lost"
