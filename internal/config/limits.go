package config

import (
	"slices"
	"time"
)

// Limits bound what clients may cost. 0 is none, for each.
type Limits struct {
	Connections          int
	MessageBytes         int64 // of one message, also once inflated
	MessageFragments     int   // frames of one message
	RoomsPerConnection   int
	MembersPerRoom       int
	QueuedBytes          int64 // of what waits for single connections, in all
	ReplyBytes           int64 // unread replies of one connection
	MessagesPerSecond    int   // of one connection; the burst is twice that
	BytesPerSecond       int64 // of one connection; the burst is twice that
	HistoryPerSecond     int   // of one connection; the burst is twice that
	User                 Usage
	Address              Usage
	RoomMessages         int   // published to one room, a second; the burst is twice that
	MemoryBytes          int64 // of the process
	Handshakes           int   // unfinished, in all
	HandshakesPerAddress int   // unfinished, of one address
	HandshakeTimeout     time.Duration
	HandshakeBytes       int64 // of one request head
	HandshakeHeaders     int   // of one request head
}

// Usage bounds what all connections of one user, or of one address, use together
// on one gateway. 0 is none, for each; the burst of a rate is twice that.
type Usage struct {
	Connections       int
	ConnectsPerSecond int
	MessagesPerSecond int
	BytesPerSecond    int64
	Rooms             int
	HistoryPerSecond  int
}

// limitOptions are the keys of what clients may use.
func (c *Config) limitOptions() []option {
	l := &c.Limits
	return slices.Concat([]option{
		{key: "limits.connections", def: "100000", value: integer(&l.Connections, 0, maxCount),
			what: "connections in all; 0 is no limit",
			why:  "idle ones cost about 100 MiB then, and the kernel's memory for sockets some times that"},
		{key: "limits.message_bytes", def: "64KiB", value: size(&l.MessageBytes, 0),
			what: "bytes of one message, also once inflated; 0 is no limit",
			why:  "far above a chat message; what is larger belongs elsewhere, with its address in the message"},
		{key: "limits.message_fragments", def: "1024", value: integer(&l.MessageFragments, 0, maxCount),
			what: "frames that one message may come in; 0 is no limit",
			why:  "clients stream in pieces of some KiB; a flood of tiny pieces costs more than it carries"},
		{key: "limits.rooms_per_connection", def: "128", value: integer(&l.RoomsPerConnection, 0, maxCount),
			what: "rooms that one connection may have joined; 0 is no limit",
			why:  "each is a place in a room's log that is kept; enough for a page with many widgets"},
		{key: "limits.members_per_room", def: "0", value: integer(&l.MembersPerRoom, 0, maxCount),
			what: "connections that may have joined one room; 0 is no limit",
			why:  "broadcast to everyone in one room is what Fanfare is for"},
		{key: "limits.queued_bytes", def: "512MiB", value: size(&l.QueuedBytes, 0),
			what: "bytes that wait for single connections, in all: unread replies, and what they missed; past it those that hold the most and take nothing are closed; 0 is no limit",
			why:  "leaves room for the connections and the rooms in a container of 1 GiB"},
		{key: "limits.reply_bytes", def: "1MiB", value: size(&l.ReplyBytes, 0),
			what: "unread replies of one connection, which is closed past it; 0 is no limit",
			why:  "replies are never dropped, so who does not read them must go; room for 16 of the largest"},
		{key: "limits.messages_per_second", def: "10000", value: integer(&l.MessagesPerSecond, 0, maxCount),
			what: "messages and control frames of one connection in a second, twice that at once; 0 is no limit",
			why:  "no person or page sends so much; a program that publishes in bulk may"},
		{key: "limits.bytes_per_second", def: "64MiB", value: size(&l.BytesPerSecond, 0),
			what: "bytes received of one connection in a second, twice that at once; 0 is no limit",
			why:  "half a gigabit: a publisher in bulk is not slowed, and one connection alone cannot fill the usual link"},
		{key: "limits.history_per_second", def: "128", value: integer(&l.HistoryPerSecond, 0, maxCount),
			what: "requests of one connection for history, or for a page of members, and joins with since or last, in a second, twice that at once; 0 is no limit",
			why:  "each may be a read of the broker; a client that comes back to limits.rooms_per_connection rooms may resume in all and fill a gap in each at once"},
		{key: "limits.memory_bytes", def: "0", value: size(&l.MemoryBytes, 0),
			what: "memory that the process may use, looked at each second: past it upgrades are refused with 503, and of the connections" +
				" that take nothing those that hold the most are closed; 0 is no limit",
			why: "how much there is only who runs it knows; set it, and GOMEMLIMIT above it, to what the container has less a tenth or two"},
		{key: "limits.handshakes", def: "10000", value: integer(&l.Handshakes, 0, maxCount),
			what: "unfinished handshakes, and HTTP requests that are being answered, in all; 0 is no limit",
			why:  "a fleet that reconnects at once fits; at 16 KiB each they hold no more than 160 MiB"},
		{key: "limits.handshakes_per_address", def: "1000", value: integer(&l.HandshakesPerAddress, 0, maxCount),
			what: "the same of one address (of one /64 in IPv6); 0 is no limit",
			why:  "many clients come from one NAT or balancer; one address still cannot take all of limits.handshakes"},
		{key: "limits.handshake_timeout", def: "10s", value: duration(&l.HandshakeTimeout, 0),
			what: "time for the whole request head; 0 is no limit",
			why:  "ample for a bad mobile link, short for who holds sockets open"},
		{key: "limits.handshake_bytes", def: "16KiB", value: size(&l.HandshakeBytes, 0),
			what: "bytes of one request head; 0 is no limit",
			why:  "cookies and a token fit; balancers take about as much"},
		{key: "limits.handshake_headers", def: "100", value: integer(&l.HandshakeHeaders, 0, maxCount),
			what: "header lines of one request head; 0 is no limit",
			why:  "far more than a browser sends and several proxies add"},
	}, usageOptions("limits.user", "of one user", &l.User, whyUser), usageOptions("limits.address", "of one address", &l.Address, whyAddress), []option{
		{key: "limits.room.messages_per_second", def: "0", value: integer(&l.RoomMessages, 0, maxCount),
			what: "messages published to one room in a second through this gateway, also by HTTP, twice that at once; 0 is no limit." +
				" publish_rate of a class of rooms goes before it",
			why: "how lively a room may be is the application's to know"},
	})
}

const (
	whyUser    = "how many devices and how much traffic one person has is the application's to know"
	whyAddress = "a whole office or a mobile network may share one, and so does everyone behind a proxy that trusted_proxies does not name"
)

// whose says what counts as one.
var whose = map[string]string{
	"limits.user": " Guests, who have no name, have the limits of their connection and address alone. A registered name is" +
		" not counted here, as one connection has it at a time; it has limits of its own for what it does",
	"limits.address": " In IPv6 a /64 is one",
}

// usageOptions are the keys of what is used together on one gateway.
func usageOptions(section, of string, u *Usage, why string) []option {
	rate := ", all its connections to this gateway together, in a second, twice that at once; 0 is no limit"
	return []option{
		{key: section + ".connections", def: "0", value: integer(&u.Connections, 0, maxCount),
			what: "connections " + of + " to this gateway; others get 429. 0 is no limit." + whose[section], why: why},
		{key: section + ".connects_per_second", def: "0", value: integer(&u.ConnectsPerSecond, 0, maxCount),
			what: "upgrades asked for " + of + " in a second, twice that at once; others get 429 and Retry-After. 0 is no limit", why: why},
		{key: section + ".messages_per_second", def: "0", value: integer(&u.MessagesPerSecond, 0, maxCount),
			what: "messages and control frames " + of + rate, why: why},
		{key: section + ".bytes_per_second", def: "0", value: size(&u.BytesPerSecond, 0),
			what: "bytes received " + of + rate, why: why},
		{key: section + ".rooms", def: "0", value: integer(&u.Rooms, 0, maxCount),
			what: "rooms joined by the connections " + of + " to this gateway, each counted for each connection; 0 is no limit", why: why},
		{key: section + ".history_per_second", def: "0", value: integer(&u.HistoryPerSecond, 0, maxCount),
			what: "requests for history, for pages of members, and joins with since or last, " + of + rate, why: why},
	}
}
