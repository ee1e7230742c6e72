// Package loop is the event loops: they own the sockets, the sockets' state
// machine and all timers. They know no rooms.
//
// A Loop is one goroutine, the one that calls Run, with one poller, one read
// buffer, one timing wheel and its own connections. Nothing of it is locked: a
// Handler's methods and a Conn's are called on that goroutine and never block.
// Other goroutines reach a loop by Post, Adopt and Stop alone. An Acceptor is one
// more goroutine, which hands what it accepts to the loop with the fewest
// connections.
//
// # States
//
// A connection is handshaking, open, closing or closed, and each state has its
// deadline in the wheel. Handshaking: the request head is collected, capped in
// bytes, in time and in number (a Gate). A WebSocket upgrade opens, another
// request is handed to Config.Plain, anything wrong is answered and closes.
// Closing: the close frame goes out behind what is queued, the peer's is awaited
// (RFC 6455 section 7.1.1), the writing side is shut and the socket read until
// the peer ends it too, for a close on unread bytes would be a reset that
// overtakes our last frame. All that within Config.Linger.
//
// An open connection that is idle holds neither buffer nor goroutine: what it
// costs is its Conn. Buffers come and go with unfinished heads, unfinished
// messages and bytes that the socket did not take.
//
// # TLS
//
// Where a Terminator stands between the Acceptor and the loops, the handshake is
// done in a goroutine that ends with it, and the loop gets the descriptor with its
// tls.Conn. That has, instead of a socket, one that does not block: a read that
// finds nothing is a timeout, after which a tls.Conn can be read again, and what it
// writes is collected and given to the socket by the loop, whose rest the outbox
// keeps. So a connection by TLS has neither goroutine nor descriptor more than
// another, and the same states, deadlines, windows and limits; what it costs is
// its keys and one buffer (go test -bench IdleTLS ./internal/gatewaybench).
//
// # A turn
//
// Wait; adopt new sockets; for each event write, then read; posts; deadlines;
// Handler.Turn; flush the connections that queued something; tell what has left
// the open state, free what has ended. Descriptors and slots are freed only at
// the end of a turn, and a slot has a generation, so an event never meets
// another connection than its own.
//
// # Time
//
// The loop's clock is monotonic and virtual: over a stop of the process or of the
// machine it goes on by about a second. Deadlines are judged only once the
// sockets that were ready have been read, so that a stall ends nobody who has
// answered in the meantime. They are precise to 25 ms.
//
// Pings wait for each other, a sixty-fourth of their interval at most. Those that go
// out together have pongs that come together, which wake the loop once: of two
// gateways side by side with 9,000 connections each that did nothing else, one that
// sent each ping at its 25 ms took 1.74 µs of processor time for a connection and
// second, this one 0.75.
//
// # Waiting
//
// The loop parks in Go's own poller rather than in epoll_wait, which keeps its
// processor until the runtime takes it away. Ping-pong over loopback with a
// goroutine of the same process (go test ./internal/poll -bench Wait -cpu 1,2):
// with one connection 18 µs a round against 245 µs on one processor, 19 against
// 87 on two; with 64 connections 15 against 27 µs, and 8 against 10.
//
// # What a connection takes
//
// A Conn has 128 bytes, two cache lines. With 208, of which the state of a frame
// reader, of an unfinished head and of blocking took 80 that idle connections have
// no use for, and sessions of 144 instead of 96, a connection of the gateway's had
// 521 bytes that were live instead of 393 (19,000 in one room). Conns as values in
// the slots were not made: handlers keep pointers to them, and the slots would be
// copied as they grow.
//
// What a burst of handshakes leaves is given back once it is quiet (cmd/fanfare):
// 844 bytes of resident memory for each of 19,000 became 627 by that alone.
//
// # What coming and going takes
//
// Nine system calls for a client that connects, joins a room and leaves, which is as
// few as there can be: accept4, epoll_ctl, three reads with a write each, close. A
// server in C that makes these and does nothing else took 51 µs of processor time, a
// gateway 82, of which 50 are the kernel's, and 111 (60) before it had this, each of
// which was measured in turn with what was before:
//
//	0.95  close(2) does not enter the scheduler, whose monitor looked every 20 µs
//	0.91  the 101 is written without having a library read the request once more
//	0.90  the close frame and the FIN in one segment, where the peer's close was its last word
//	0.95  who has sent nothing yet is not accepted (TCP_DEFER_ACCEPT)
//
// (Medians of 7 or 9 interleaved rounds of some 6,000 connections, on a machine with
// much else to do.) Of what is left 65 % are those system calls, 8 % memory and its
// collector, and 4 % the acceptor beside accept4.
//
// # What was looked at and left
//
// To accept all that wait in one go, for a connection each takes Go's poller's locks:
// 1.02. To read a socket as it is adopted, which has its request by then: 1.05, for
// it is in the poller's list anyway. TCP_QUICKACK off, so that replies bring the
// acknowledgements: 1.02 to 1.07 in C.
//
// io_uring and writev: in a loop in C the one took a tenth off, in Go nothing that
// stands out of the noise; the other is no better than a write of joined bytes,
// which a log's run of frames is anyway.
package loop
