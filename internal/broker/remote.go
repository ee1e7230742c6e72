package broker

import (
	"context"
	"time"
)

// Tail is where a room's log ends.
type Tail struct {
	Position
	Stamp uint64 // of the newest message, if it is kept; else 0
}

// Remote is what a broker has besides that is another process: its relay may
// lose messages without a word, and its logs may be rewound, by a failover to a
// replica that lagged.
type Remote interface {
	Broker
	// Tails reads where the logs of rooms end, many in one round trip, in the order
	// of rooms.
	Tails(ctx context.Context, rooms []string) ([]Tail, error)
	// Renew begins a new epoch of a room's log if it still is of that epoch: it was
	// found to be rewound. What it keeps stays, as the new epoch's. Subscribers
	// everywhere are told by Sink.Reset. It is no error if another was quicker.
	Renew(ctx context.Context, room, epoch string) error
}

// Member is a gateway of a fleet.
type Member struct {
	ID          string  `json:"id"`
	Version     string  `json:"version"`
	Connections int     `json:"connections"`
	Rooms       int     `json:"rooms"`
	Load        float64 `json:"load"` // how busy it is, 0 to 1
	Draining    bool    `json:"draining"`

	Survey *Survey `json:"survey,omitempty"` // nil: nobody looks
}

// Fleet is what gateways know of each other, kept by the broker they share.
type Fleet interface {
	// Announce says that the gateway is alive, for as long as the lease. It returns
	// false if what the gateway said to the People before no longer stands, all or
	// some of it: then it has to be said again.
	Announce(ctx context.Context, m Member, lease time.Duration) (stands bool, err error)
	// Withdraw ends the lease, and with it what the gateway said.
	Withdraw(ctx context.Context, id string) error
	// Members is the gateways whose lease has not run out.
	Members(ctx context.Context) ([]Member, error)
	// Tell sends a control message to every gateway, this one included. It is not
	// kept for who is away.
	Tell(ctx context.Context, message []byte) error
	// Listen names who takes control messages; it must not block. Called before
	// Start.
	Listen(func(message []byte))
}
