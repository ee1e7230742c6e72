// Package floor is the limit of the machine: the plainest possible server, which
// accepts sockets and writes the same bytes to each of a room's, one write each;
// and the comparison that runs it and a gateway in turn, on the same processor,
// with the same clients reading the same frames, so that a result is a ratio.
//
// [Serve] runs in a process of its own and ends with it; its accepting goroutine
// and those of hellos too. [Compare] calls its clients on its caller's goroutine.
package floor
