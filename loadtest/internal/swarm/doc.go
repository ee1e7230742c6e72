// Package swarm is very many clients on one goroutine: an epoll loop over raw
// sockets that speaks the protocol as real clients do. It joins with since where
// it stood, waits before it comes back as PROTOCOL.md section 7 wants it, follows
// reconnect hints, answers pings and watches the heartbeat. What it is sent goes
// to an account.Book; what it publishes follows a schedule that does not wait for
// answers.
//
// A [Swarm] and everything in it belongs to the goroutine that calls its methods,
// which must call [Swarm.Turn] again and again. It starts others for TLS handshakes
// alone.
//
// Its cost must stay below that of the gateway which it loads: a socket that has
// become readable costs one system call, each frame in it a comparison with the
// bytes that another member got before (account.Member.Next) and one count in a
// histogram; nothing is decoded or allocated but for the first copy.
package swarm
