package room

import "time"

// Policy is what happens to a member that falls behind its window.
type Policy uint8

const (
	Drop       Policy = iota // skip the oldest, so that the newest window remains
	Conflate                 // skip all but the newest
	Disconnect               // close the connection
)

// String is the word of the configuration.
func (p Policy) String() string { return [...]string{"drop", "conflate", "disconnect"}[p] }

// History is what a room keeps for those who join or resume. Once any bound is
// passed the oldest go. A bound of 0 is none, but Messages 0 keeps nothing.
type History struct {
	Messages int
	Bytes    int64 // of the messages' data
	Age      time.Duration
}

// Window is the send queue of a member: how far it may fall behind. A bound of
// 0 is none.
type Window struct {
	Policy   Policy
	Messages int
	Bytes    int64 // of frames
}

// Class says how the rooms are kept whose names match.
type Class struct {
	Match   string // literal but for *, which stands for any run of characters
	History History
	Slow    Window
}
