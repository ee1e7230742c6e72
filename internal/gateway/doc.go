// Package gateway puts the parts together: it is one running gateway.
//
// The hub owns the rooms. It subscribes them at the broker, keeps their logs and
// tells the event loops which of them have grown. It is called on the broker's
// goroutines and on its own few; a room's log is appended to under the room's
// lock.
//
// A shard is the handler of one event loop and runs on that loop's goroutine
// only. It owns the loop's sessions, one connection's conversation each, and
// the loop's part of each room's members. Nothing in a shard is locked and
// nothing in it may block: what takes time (a history read) is done by the hub's
// goroutines and comes back as a post.
//
// What the broker keeps of users is seen to by people, whose goroutines may wait
// for it: presence is said by one and told by another, names are claimed and
// released by a few, each name by the same, revocations are read, what dead gateways
// said is taken back, and backends are told which connections begin and end. Loops
// only leave word with them. Gateways tell each other what must be done at once by
// control messages.
//
// The way of a message is: shard.Message, session.publish, the shard's outbox,
// Broker.Publish once a turn; then hub.Deliver, which frames the message once
// and appends it to the room's log, a post to each loop that has members, and
// localRoom.flush, which writes each member from its cursor to the head.
//
// The package reads no configuration, serves no HTTP of its own beyond handing
// requests that are no upgrade to the handler it was given, and knows no broker
// but by its interface.
package gateway
