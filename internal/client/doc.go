// Package client is the Go client of a Fanfare gateway. The commands tail and
// publish, the load generator and tests stand on it.
//
// [Dial] gives one connection, a [Conn]: it joins rooms, publishes, and ends
// when the connection does. A [Client] keeps one: [Client.Run] dials, resumes
// every room where it stood, and comes back with back-off and full jitter for
// as long as PROTOCOL.md section 7 says that coming back makes sense.
//
// # What the application gets
//
// Events, one at a time and in order, through [Config.OnEvent]. Of each room
// every message exactly once, or a [Gap] or [Reset] that says what is missing,
// also over any number of connections: a message at or before the position is
// dropped, and one that the gateway skipped without a word is a [Fault].
//
// # Goroutines
//
// A connection has its reader, which also answers pings, watches the heartbeat
// (by read deadlines) and calls OnEvent, and a joiner that ends once the name is
// registered and the rooms are joined; with a token also one that renews it.
// [Conn.Close] ends them and waits for them. Client adds none: Run is the
// caller's. Writes are made by whoever writes, one at a time.
//
// The package never reads the environment, never logs a query string, a payload
// or a token, and never sends anything twice that has no id.
package client
