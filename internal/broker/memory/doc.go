// Package memory is the embedded broker: the whole service in one process, with
// the promises of any other broker and nothing to install. What it keeps is gone
// with the process; the epochs of the next one are others.
//
// It owns the queue of publications and the state of every room: its epoch, its
// numbers, the messages kept, and the publish IDs of the de-duplication window.
// One goroutine, started by Start and ended by Close, takes the queue in batches
// and is the only one that changes that state. Range reads a room from any
// goroutine under the lock of the room's shard, which the goroutine takes only
// to write. No lock is held while the Sink is called, so a Sink may call the
// broker, except Close.
//
// Of one batch the Sink hears Subscribed, then Deliver, then Published: when a
// publisher has its answer, the members' messages, its own among them, are
// already with the Sink. Refusals are the exception: what the queue had no room
// for is answered before the next batch, ahead of what waits.
//
// A room costs memory while it is subscribed to, keeps messages, has publish IDs
// in the window, or was used within Config.Idle; then it is forgotten, and its
// next use is a new epoch. The epoch of a room that is not known is derived from
// a secret, the room's name and a count that rises when a room is forgotten: it
// can be told without being stored, so that reading a room that nobody uses
// leaves nothing behind, and what is published next is still of that epoch.
//
// Past Config.Bytes the history of the rooms that were published to longest ago
// goes first, older half by older half; a room that has then nothing left and no
// subscriber is forgotten. Page.First and the new epoch tell a reader so. Publish
// IDs never go before their window is over, since a retry would be stored twice in
// silence. They may take half of Config.Bytes; past that, and where nothing is left
// that can be given back, a publication that would need memory is refused with
// broker.ErrUnavailable.
//
// Who is in the rooms, the names, the revocations and the lifecycle events lie
// beside that, under locks of their own, and are worked by whoever calls. A user in
// a room is a name and a number in a map. They are bounded by the connections, and
// not by Config.Bytes.
//
// The package does no I/O, and never copies or looks into Data.
package memory
