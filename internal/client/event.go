package client

import (
	"fmt"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Event is something the application learns: a [Message], [Gap], [Reset],
// [Presence], [Joined], [Registered], [Refused], [State] or [Fault].
type Event interface{ event() }

// Message is the next message of a room.
type Message struct{ protocol.Message }

// Gap names messages that will not come. From is the first one not yet seen.
type Gap struct{ protocol.Gap }

// GapUnannounced is the Reason of a Gap that the gateway did not tell: what came
// next was not what had to. A Fault goes before it. It is never on the wire.
const GapUnannounced protocol.GapReason = "unannounced"

// Reset says that a room's log began anew, while the room was joined or since it
// was: then behind its Joined.
type Reset struct{ protocol.Reset }

// Presence says who came to a room and who left it, where the Subscription
// asked for it. Who was there when the room was joined, Members tells.
type Presence struct{ protocol.Presence }

// Registered says which name the connection has from now on.
type Registered struct{ protocol.Registered }

// Joined says that a room was joined, again after each reconnection, and where
// the connection stands in it.
type Joined struct {
	protocol.Joined
	// Since is what was resumed; nil: nothing.
	Since *protocol.Position
}

// Refused says that a room could not be joined, which is not tried again, or the
// name not be had, which the next connection tries.
type Refused struct {
	Room string // empty: it was the name
	Err  *protocol.Error
}

// Status is what a State event is about.
type Status uint8

const (
	Connecting   Status = iota // an attempt begins
	Connected                  // the gateway said welcome
	Disconnected               // the connection ended, or the attempt failed
)

// String returns the status's name, for logs.
func (s Status) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	default:
		return "disconnected"
	}
}

// State says how the connection fares.
type State struct {
	Status  Status
	Attempt int              // Connecting: 0 for the first since the back-off's base
	Welcome protocol.Welcome // Connected
	Err     error            // Disconnected: why
	Final   bool             // Disconnected: Run returns
	Wait    time.Duration    // Disconnected and not Final: until the next attempt
}

// Fault says that the gateway broke the protocol's promises, or that it could
// not read something we sent. What can be delivered still is.
type Fault struct {
	Room string            // empty: of no room
	Have protocol.Position // of a room: where the client stood
	Err  error
}

// Error describes the fault.
func (f Fault) Error() string {
	if f.Room == "" {
		return f.Err.Error()
	}
	return fmt.Sprintf("room %s at %s: %v", f.Room, f.Have, f.Err)
}

func (Message) event()    {}
func (Gap) event()        {}
func (Reset) event()      {}
func (Presence) event()   {}
func (Registered) event() {}
func (Joined) event()     {}
func (Refused) event()    {}
func (State) event()      {}
func (Fault) event()      {}
