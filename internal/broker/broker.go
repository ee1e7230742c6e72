// Package broker says what a gateway wants of a broker: it numbers the messages
// of a room, keeps the newest of them, and hands them to every gateway that
// subscribes to the room.
//
// The package holds the interface and its values only. The brokers are beside
// it: memory, the whole service in one process; brokertest is the contract that
// each of them must pass. A broker runs its own goroutines, ends them in Close,
// and calls its Sink from them.
package broker

import (
	"context"
	"errors"
	"time"
)

// ErrUnavailable answers what the broker could not take or not do in time. The
// same publication may be sent again with the same ID.
var ErrUnavailable = errors.New("broker unavailable")

// ErrClosed answers what came after Close.
var ErrClosed = errors.New("broker closed")

// Position is a place in a room's log: Seq counts from 1 and grows by exactly 1
// within one Epoch. Seq 0 stands before the first message.
type Position struct {
	Epoch string // 1 to 64 characters of A-Z a-z 0-9 _ -
	Seq   uint64
}

// Message is a stored message. All of it is immutable.
type Message struct {
	Room string
	Position
	Time  int64 // Unix milliseconds, by the broker's clock
	From  string
	Event string // empty: none
	Data  []byte // JSON, byte for byte as it was published
	// Stamp tells two messages apart that were given the same Seq of the same
	// Epoch, the second by a log that had been rewound. 0: not known.
	Stamp uint64
	Trace *Trace // of what was delivered, if it is recorded; nil: it is not, or it was read by Range
}

// Trace is where in a recorded trace a message is: the trace, and the span under
// which belongs what is done with the message next. It is immutable.
type Trace struct {
	ID      [16]byte
	Span    [8]byte
	Arrived time.Time // when the broker had it to deliver; not of a Publication
}

// Publication is a message to be stored. The broker keeps Data, which must not
// change afterwards.
type Publication struct {
	Room  string
	From  string
	Event string
	ID    string // makes it idempotent within the room; empty: none
	Data  []byte
	Trace *Trace // goes with the message to whom it is delivered, and is not stored; nil: it is not recorded
	// Ticket comes back in the Result, so that the publisher finds its caller.
	Ticket any
}

// Result answers one Publication.
type Result struct {
	Room string
	Position
	Duplicate bool  // its ID was stored before: Position is that of the first
	Err       error // nil, ErrUnavailable or ErrClosed, possibly wrapped
	Ticket    any
}

// Bounds is what a broker keeps of a room's messages. Once any of them is
// passed the oldest go. A bound of 0 is none, but Messages 0 keeps nothing.
type Bounds struct {
	Messages int
	Bytes    int64 // of Data
	Age      time.Duration
}

// Query asks for messages of one room, ascending.
type Query struct {
	Room   string
	After  uint64 // only messages with a larger Seq
	Before uint64 // only messages with a smaller Seq; 0: no end
	Limit  int    // at most so many; 0: none, only the Page's bounds
	// Newest takes the newest of the range where it holds more than Limit;
	// without it the oldest.
	Newest bool
	// Bytes ends the page before the message that takes the sum of Data past it,
	// but never before the first, counted from the end at which the page begins: the
	// newest message for Newest. 0: no such bound.
	Bytes int64
}

// Page answers a Query.
type Page struct {
	Epoch    string
	First    uint64 // the oldest message kept; Last+1 where none is
	Last     uint64 // the newest message there has been
	Messages []Message
}

// Sink takes what a broker has to say. Calls for one room come one after
// another, in the room's order, from the broker's goroutines; none may block.
// Slices are the broker's again when the call returns.
type Sink interface {
	// Published answers publications, each exactly once.
	Published(results []Result)
	// Subscribed answers Subscribe: from now on every message stored in the rooms
	// is delivered. What was stored before is to be had by Range.
	Subscribed(rooms []string)
	// Deliver hands over messages of subscribed rooms, ascending by Seq within a
	// room. A message may be delivered twice or, where a relay lost it, not at
	// all: a jump in Seq is the receiver's to see and to repair by Range.
	Deliver(messages []Message)
	// Reset says that a room's log began anew: what is delivered next is of the
	// new epoch and stands behind Position.
	Reset(room string, p Position)
}

// Broker numbers, keeps and distributes messages. Its methods may be called
// from any goroutine.
type Broker interface {
	// Start gives the broker its sink and begins its work. Called once, first.
	Start(Sink)
	// Publish takes publications in their order and answers each through
	// Sink.Published. It never blocks: what its queue has no room for is answered
	// with ErrUnavailable. The slice is the caller's again on return. After Close
	// the answer comes from within the call.
	Publish(batch []Publication)
	// Subscribe asks for the rooms' messages. It never blocks and is answered by
	// Sink.Subscribed, as often as it takes until the rooms are unsubscribed.
	Subscribe(rooms ...string)
	// Unsubscribe ends the deliveries of rooms. A few may still come.
	Unsubscribe(rooms ...string)
	// Range reads messages that are kept. It may block until ctx ends.
	Range(ctx context.Context, q Query) (Page, error)
	// Forget drops a room's history and begins a new epoch at seq 0. Subscribers are
	// told by Sink.Reset. Publish IDs stay known with their old positions for the rest
	// of their window, so that a retry does not bring back what was to be forgotten.
	// It may block until ctx ends.
	Forget(ctx context.Context, room string) error
	// Ready says whether the broker can be relied upon now; nil is yes. The error
	// is one line for an operator.
	Ready() error
	// Close ends the broker's goroutines and waits for them. Publications still
	// queued are answered with ErrClosed.
	Close()
}
