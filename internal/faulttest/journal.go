package faulttest

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// kind says what an entry of a journal is.
type kind uint8

const (
	joined  kind = iota // the gateway said where the client stands
	message             // a message was delivered
	gap                 // a run will not be delivered
	reset               // the log began anew
	left                // the connection ended
)

func (k kind) String() string {
	return [...]string{"joined", "message", "gap", "reset", "left"}[k]
}

// position is a place in a room's log.
type position = protocol.Position

// entry is one thing that a client was told about its room.
type entry struct {
	at       time.Duration // since the run began
	kind     kind
	position          // of a gap: its first seq
	to       uint64   // of a gap: its last seq
	number   uint64   // of a message: which it is
	since    position // of joined: what was asked for, no epoch for nothing; of reset: previous
	recovery protocol.Recovery
	reason   string // of a gap, or why a connection ended
}

// journal is what one client was told, in the order it was told.
type journal struct {
	client  int
	room    string
	entries []entry
}

// ack is a publisher's acknowledgement of one message.
type ack struct {
	at time.Duration
	position
	duplicate bool
}

// attempt is one sending of a message over one connection.
type attempt struct {
	sent     time.Duration
	answered time.Duration // 0: never
	conn     int           // which connection, over all publishers
	order    int           // which request on it
	refusal  protocol.Code // of an error reply
}

// publication is one numbered message and what its publisher knows of it.
type publication struct {
	number   uint64
	room     string
	attempts []attempt
	acks     []ack
}

// evidence is all that the judge has.
type evidence struct {
	journals     []*journal
	publications []*publication
	// faultEnd is when the fault was over, since the run began.
	faultEnd time.Duration
	// keeps is how many messages the log of a room keeps at least.
	keeps func(room string) uint64
	// strays are replies that no request was waiting for, one line each.
	strays []string
}

// violation is a promise that was not kept.
type violation struct {
	invariant string // one of the names below
	detail    string
}

// The invariants, as violations name them.
const (
	silentLoss = "silent loss"
	disorder   = "order"
	duplicate  = "duplicate"
	dishonest  = "dishonest ack"
	reused     = "seq used again"
	badReset   = "wrong reset"
	badGap     = "wrong gap"
	badResume  = "wrong resume"
	tooLate    = "not caught up"
	notReady   = "readiness"
	unbounded  = "unbounded"
	sentAway   = "sent away"
	noRight    = "right of redis"
	ghost      = "online list"
	doubled    = "user name"
	unrevoked  = "revocation"
)
