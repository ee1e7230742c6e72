package broker

// Survey is what a gateway looks like from inside, for operators. It names rooms
// and users. Counters are since the gateway began.
type Survey struct {
	Time  int64        `json:"time"`  // Unix milliseconds, by the gateway's clock
	Rooms []RoomSurvey `json:"rooms"` // those with the most connections, the most first
	Slow  []SlowSurvey `json:"slow"`  // connections whose sockets take nothing now, the longest queue first

	Blocked    int    `json:"blocked"`          // such connections in all
	Opened     uint64 `json:"opened"`           // connections
	Received   uint64 `json:"received"`         // messages of clients
	Sent       uint64 `json:"sent"`             // frames to clients
	SentBytes  uint64 `json:"sent_bytes"`       // likewise
	Dropped    uint64 `json:"dropped"`          // frames that slow members will not get
	Resets     uint64 `json:"resets"`           // members told that a log began anew
	Heartbeats Timing `json:"heartbeats"`       // pings that were answered
	Timeouts   uint64 `json:"timeouts"`         // connections that a heartbeat ended
	Fanout     Timing `json:"fanout"`           // from a message's acceptance to the last socket of a loop
	Broker     string `json:"broker,omitempty"` // why it cannot be relied upon; empty: it can
	Relay      *Relay `json:"relay,omitempty"`  // nil: the broker is in the gateway's own process
}

// Timing is how often something was measured, and how long it took in all.
type Timing struct {
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"`
}

// RoomSurvey is a room of one gateway.
type RoomSurvey struct {
	Room        string `json:"room"`
	Connections int    `json:"connections"` // joined there
	Epoch       string `json:"epoch"`
	Seq         uint64 `json:"seq"` // of the newest message there
}

// SlowSurvey is a connection whose socket takes nothing now.
type SlowSurvey struct {
	Connection string `json:"connection"`
	User       string `json:"user"`
	Rooms      int    `json:"rooms"`      // joined
	Frames     int    `json:"frames"`     // that wait for it
	Bytes      int    `json:"bytes"`      // likewise
	Dropped    uint64 `json:"dropped"`    // frames that it will not get
	BlockedMS  int64  `json:"blocked_ms"` // since its socket took something
}

// Relay is how the way through another process fares.
type Relay struct {
	ProbeMS       int64  `json:"probe_ms"`      // age of the oldest proof of delivery
	Lag           Timing `json:"lag"`           // of probes
	Subscriptions int64  `json:"subscriptions"` // rooms
	Reconnects    uint64 `json:"reconnects"`
	Dropped       uint64 `json:"dropped"`
	Gaps          uint64 `json:"gaps"`
}
