package loop

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// Conn is one connection. It is owned by its loop: every method runs on the
// loop's goroutine. After Handler.Closed its methods do nothing.
type Conn struct {
	// What a room's flush touches comes first, in one cache line.
	hold       hold
	state      state
	why        metrics.CloseReason
	unanswered uint8 // pings since the last pong
	flags      flags
	fd         int32
	slot       uint32
	loop       *Loop
	out        *outbox // nil while nothing is queued, and the socket is not full

	secure *secure // nil: the bytes are the socket's own

	// Data is the handler's own.
	Data any

	partial  *partial // nil unless a part of the request head, of a frame or of a message has come
	lastSeen int64    // when something was last received, or the socket adopted
	pingAt   int64    // the last ping
	due      int64    // of the state, or the next look at it

	id      uint64
	address [16]byte

	// Links of the wheel are slots: small, and nothing for the collector to follow.
	wheelNext uint32 // one more than the slot of who comes next; 0: nobody
	wheelPrev uint32
	wheelSlot uint16
	port      uint16
}

// partial is what has come of something that is not whole. It exists only until
// that is.
type partial struct {
	head   []byte       // of the request
	reader frame.Reader // inside a frame, or a message in fragments
	since  int64        // when that frame or message began; 0 is none
}

// hold is why shared bytes may not be written now. It is one byte so that Ready
// is one comparison.
type hold uint8

const (
	holdState   hold = 1 << iota // not open
	holdQueued                   // own bytes go first
	holdBlocked                  // the socket is full
)

type state uint8

const (
	handshaking state = iota
	open
	closing
	closed
)

type flags uint32

const (
	flagDeflate flags = 1 << iota // these two index Loop.readers
	flagBinary
	flagTimed    // in the wheel
	flagArmed    // registered for writability
	flagFlush    // in Loop.flushes
	flagLeaving  // in Loop.leaving
	flagAdmitted // has a place at the gate
	flagCounted  // which counts for its address too
	flagPreface  // a PROXY header comes first
	flagProxied  // what is said in its header of whom it is for is believed
	flagOpened   // Open was called; Closed is owed
	flagDiscard  // what comes is thrown away: after a violation, a refusal or the peer's close
	flagUnpinged // no ping yet: the first one comes early, spread by jitter
	flagRefused  // counted in Loop.refused
	flagReset    // the descriptor ends by a reset
	flagIPv4
	flagSaid  // the peer's close frame was the last that there was to read
	flagInner // made by Connect
)

// Loop is the loop that owns c.
func (c *Conn) Loop() *Loop { return c.loop }

// ID is unique in this process.
func (c *Conn) ID() uint64 { return c.id }

// Deflate says whether permessage-deflate was negotiated.
func (c *Conn) Deflate() bool { return c.flags&flagDeflate != 0 }

// LastSeen is when something was last received, as Loop.Now.
func (c *Conn) LastSeen() int64 { return c.lastSeen }

// CloseReason is why c has left the open state. It is known from Handler.Closed on.
func (c *Conn) CloseReason() metrics.CloseReason { return c.why }

// Ready says whether shared bytes may be written now: c is open, has nothing of
// its own queued, and the socket is not full.
func (c *Conn) Ready() bool { return c.hold == 0 }

// WriteShared writes bytes that live in a log straight to the socket, without a
// copy, and returns how many it took. Fewer than all: the socket is full and,
// where a frame was begun, its rest is owed to Finish before anything else is
// called. Ready is false while the socket is full, until Drained; through TLS it
// may be so with all of them taken. A socket that has failed takes 0, and Closed
// comes later in the turn.
func (c *Conn) WriteShared(run []byte) int {
	if c.hold != 0 {
		return 0
	}
	n, err := c.put(run)
	c.loop.bytesSent += n
	if n != len(run) || err != nil {
		c.short(n, err)
	}
	return n
}

// put gives the socket b, as poll.Write or seal.
func (c *Conn) put(b []byte) (n int, err error) {
	if c.secure != nil {
		return c.seal(b)
	}
	if c.flags&flagSaid != 0 {
		return poll.WriteLast(int(c.fd), b)
	}
	return poll.Write(int(c.fd), b)
}

// short is what a write comes to that did not take all: the socket is full, or
// gone.
func (c *Conn) short(n int, err error) {
	if err != nil && err != poll.ErrAgain {
		c.loop.failed(c, err)
		return
	}
	c.box().blockedAt = c.loop.now
	c.hold |= holdBlocked
	if c.flags&flagArmed != 0 {
		return
	}
	if err := c.loop.poller.Watch(int(c.fd), c.token(), true); err != nil {
		c.loop.failed(c, err)
		return
	}
	c.flags |= flagArmed
}

// Blocked says whether the socket is full, and since when it has taken nothing.
func (c *Conn) Blocked() (since int64, ok bool) {
	if c.hold&holdBlocked == 0 || c.out == nil {
		return 0, false
	}
	return c.out.blockedAt, true
}

// midSince is when the unfinished message or frame began; 0 is none.
func (c *Conn) midSince() int64 {
	if c.partial == nil {
		return 0
	}
	return c.partial.since
}

func (c *Conn) token() poll.Token { return poll.NewToken(c.slot, c.loop.generations[c.slot]) }
