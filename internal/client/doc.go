// Package client is the Go client of a Fanfare gateway. The commands tail and
// publish, the load generator and tests stand on it.
//
//	c, err := client.Connect(ctx, client.Config{URL: "https://gateway.example"})
//	defer c.Close()
//	room, err := c.Join(ctx, client.Subscription{Room: "lobby", Last: 50, Fill: true})
//	for m := range room.Messages(ctx) {
//		at, err := room.Publish(ctx, answer(m), client.PublishOptions{})
//	}
//
// [Connect] gives a [Client], which keeps a connection: it resumes every room
// where it stood, and comes back with back-off and full jitter for as long as
// PROTOCOL.md section 7 says that coming back makes sense. [New] and [Client.Run]
// are the same for who runs it. [Dial] gives one connection alone, a [Conn], which
// ends when that does.
//
// # What the application gets
//
// Events, in order, from [Room.Events], or those of all rooms one at a time through
// [Config.OnEvent]. Of each room every message exactly once, or a [Gap] or [Reset]
// that says what is missing, also over any number of connections: a message at or
// before the position is dropped, and where the gateway skipped some without a word
// there is a [Fault] and a [Gap]. With [Subscription.Fill] the history is asked for
// the messages of a gap before that is told. What every client does alike is the
// table internal/protocol/testdata/conformance.json.
//
// # Goroutines
//
// A connection has its reader, which also answers pings, watches the heartbeat
// (by read deadlines) and calls OnEvent, and a joiner that ends once the name is
// registered and the rooms are joined; with a token also one that renews it.
// [Conn.Close] ends them and waits for them. Rooms that are joined later have a
// joiner each until they are. Client adds none: Run is the caller's, or that of
// Connect. Writes are made by whoever writes, one at a time.
//
// An application that does not take its events holds the connection up, and with it
// the gateway's view of how slow it is. The one exception: while a request of its
// own waits for the reply, events are kept for it, so that a loop over events may
// publish.
//
// The package never reads the environment, never logs a query string, a payload
// or a token, and never sends anything twice that has no id.
package client
