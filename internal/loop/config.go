package loop

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// Config is what the connections of a loop live under. All loops of a gateway
// share one. A limit or a duration of 0 is none unless said.
type Config struct {
	Limits
	Gate *Gate // caps unfinished handshakes and plain requests over all loops; nil is none

	// Trusted says whether an address is a proxy's whose word about its clients is
	// believed (Conn.Client). It is called on the loop's goroutine; nil: none is.
	Trusted func(netip.Addr) bool
	// ProxyProtocol: what such a proxy sends begins with a PROXY header, or is
	// refused with 400. From elsewhere one is not believed: it is no request.
	ProxyProtocol bool

	HeartbeatInterval time.Duration // a ping after that long without anything received
	HeartbeatTimeout  time.Duration // without anything received, inside one message, or with a blocked socket: the end
	Linger            time.Duration // for the closing handshake; 0 is 2 s. A slow consumer has slowLinger
	Deflate           bool          // permessage-deflate, where Admission wants it too

	// Plain takes a connection whose request is no WebSocket upgrade. It first
	// yields the bytes already read. Plain is called on the loop's goroutine and
	// must not block. Without it such requests are refused with 426.
	Plain func(net.Conn)

	Log   *slog.Logger // nil is silent
	Clock func() int64 // monotonic nanoseconds; nil is the machine's. For tests
}

// Limits is the part of a Config that may change while the loop runs, by
// Loop.SetLimits.
type Limits struct {
	Head             frame.HeadLimits // of the request head; beyond it 431
	HandshakeTimeout time.Duration    // for all of the head, not per read; beyond it 408
	MessageBytes     int64            // of a client's message, also inflated; beyond it 1009
	Fragments        int              // frames of one message
	ReplyBytes       int              // queued by Send and not taken by the socket; beyond it 4003
}

func (c Config) withDefaults() Config {
	if c.Linger == 0 {
		c.Linger = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		start := time.Now()
		c.Clock = func() int64 { return int64(time.Since(start)) }
	}
	return c
}

// Admission is what a handler grants to an upgrade.
type Admission struct {
	Subprotocol string // chosen where the client offers it
	Deflate     bool   // accept permessage-deflate where it is offered
	Binary      bool   // take binary messages, which else end in 1003
}

// Handler is what a loop serves. It has one of its own; all calls come on the
// loop's goroutine and must not block. A panic in a call for a connection ends
// that connection with 1011, is counted and logged, and the loop goes on.
type Handler interface {
	// Upgrade decides on a WebSocket request whose handshake is right. c may only be
	// asked for its ID, Client, Proxied, Secure and Loop, and given its Data. An
	// Admission is followed by Open at once, a refusal by no further call.
	Upgrade(c *Conn, r *frame.Request) (Admission, *frame.Refusal)
	// Open: the 101 is queued, Send goes behind it.
	Open(c *Conn)
	// Control comes before Message and says that n frames were read, of data or of
	// control, for rate limits.
	Control(c *Conn, n int)
	// Message is a whole message. payload is valid during the call.
	Message(c *Conn, binary bool, payload []byte)
	// Drained: the socket was blocked; the connection's own queue is out and it
	// takes bytes again: Ready is true.
	Drained(c *Conn)
	// Closed is the last call for a connection that Open was called for, later in
	// the turn in which it left the open state, whoever ended it; never from within
	// a method of Conn. The loop alone sees the socket to its end. What Finish was
	// given has been copied.
	Closed(c *Conn)
	// Posted brings what Post was given, in order. The slice is valid during the
	// call.
	Posted(posts []any)
	// Turn ends each turn, after reads and posts: shared bytes are written here,
	// within a budget. True means that there is more: the next turn comes without
	// blocking.
	Turn() bool
	// Tick comes about once a second. now is as Loop.Now.
	Tick(now int64)
}
