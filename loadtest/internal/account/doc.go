// Package account accounts for every message of a run. A [Book] holds what was
// published and where the gateway said that it stands; a [Member] is one
// connection's place in one room, moved by what that connection is sent. Whatever
// a member is owed ends in one column of [Counts]: delivered, named by a gap,
// behind a reset, or unexplained; whatever it is sent beyond that is a duplicate,
// out of order, or stray.
//
// The first copy of a message that arrives is decoded and checked in full: its
// data must be what was published, it must stand where its acknowledgement says,
// and nowhere else. A message frame is the same bytes for every member, so that
// all other copies are compared with the first, which is what makes accounting
// for each of a million deliveries a second affordable.
//
// The package does no I/O and has no clock. A Book and all that comes from it
// belong to one goroutine.
package account
