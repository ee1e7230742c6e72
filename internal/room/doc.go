// Package room holds what a gateway keeps of a room: a bounded log of framed
// messages, and the cursors of its members.
//
// A Log is appended to by one goroutine at a time (the caller sees to that) and
// read by any number without a lock: frames lie one behind another in chunks
// that are written once, a chunk's count of readable frames is moved after its
// bytes, and chunks are linked forward. A Cursor belongs to one goroutine, that
// of its member's event loop. It holds on to its own chunk, so what it has still
// to send cannot be taken from under it, however the log is trimmed; what bounds
// the memory is the window, past which Fall moves a slow cursor forward and
// names what it skipped.
//
// What a member asked for when it joined, its backlog, is a list of runs of the
// same bytes. It holds the bytes of those chunks and nothing that came after
// them, is sent whole, and the window counts from its end.
//
// The package knows no sockets, no broker and no envelope: frames are bytes.
package room
