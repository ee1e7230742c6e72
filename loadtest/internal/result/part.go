// Package result is what a load test found: each process's part, the parts
// merged, what the gateways' processes used meanwhile, and the verdict. It is
// kept as JSON, from which results are compared and reports drawn.
//
// The package does no I/O; its values belong to one goroutine at a time.
package result

import (
	"cmp"
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
)

// Part is what one process found. Parts are merged in any order.
type Part struct {
	Agents int            `json:"agents"` // processes
	Counts account.Counts `json:"counts"`

	Connections Connections    `json:"connections"`
	Closes      map[string]int `json:"closes,omitempty"` // connections that the gateway or the network ended, by how
	Errors      map[string]int `json:"errors,omitempty"` // what else went wrong, by what

	// Delivery is from when a message was to be sent to when a member had read it;
	// only of those that were to be sent while it was measured, and of members that
	// read. By gateway it is of the members on it.
	Delivery latency.Histogram `json:"delivery"`
	Gateways []Gateway         `json:"gateways,omitempty"`
	Ack      latency.Histogram `json:"ack"`       // from when a message was to be sent to its acknowledgement
	Lag      latency.Histogram `json:"lag"`       // from when a message was to be sent to when this side sent it
	Connect  latency.Histogram `json:"connect"`   // from when a connection was to be made to its welcome
	Join     latency.Histogram `json:"join"`      // to the last of its rooms being joined
	Back     latency.Histogram `json:"back"`      // after a lost connection: from the loss to the last of the rooms being joined again
	CaughtUp latency.Histogram `json:"caught_up"` // and to having what was missed

	Window  Window   `json:"window"`
	Samples []Sample `json:"samples"`
}

// Connections counts them.
type Connections struct {
	Opened   int `json:"opened"`   // that got a welcome
	Most     int `json:"most"`     // open at a time
	Back     int `json:"back"`     // opened again after one was lost
	Lost     int `json:"lost"`     // ended otherwise than by this side
	GaveUp   int `json:"gave_up"`  // clients that were told not to come back
	Away     int `json:"away"`     // clients not connected, or not in all their rooms, when it was over
	Arrivals int `json:"arrivals"` // clients of arriving groups
	Late     int `json:"late"`     // of them, had to wait for a place
}

// Gateway is one gateway as its members saw it.
type Gateway struct {
	ID       string            `json:"id"`
	Members  int               `json:"members"` // connections that it had
	Delivery latency.Histogram `json:"delivery"`
}

// Window is what happened while it was measured.
type Window struct {
	Seconds   float64 `json:"seconds"`
	Delivered uint64  `json:"delivered"`
	Published uint64  `json:"published"`
	Opened    uint64  `json:"opened"` // connections
	User      float64 `json:"user_seconds"`
	System    float64 `json:"system_seconds"` // the generator's own processor time
}

// Sample is about one second. At is when it ends, from when measuring began.
type Sample struct {
	At           time.Duration     `json:"at_ns"`
	Published    uint64            `json:"published"`
	Acknowledged uint64            `json:"acknowledged"`
	Delivered    uint64            `json:"delivered"`
	Opened       uint64            `json:"opened"`
	Broken       uint64            `json:"broken"`
	Connections  int               `json:"connections"`
	Lag          time.Duration     `json:"lag_ns"`  // the longest
	CPU          float64           `json:"cpu"`     // processors that the generator used
	Latency      latency.Histogram `json:"latency"` // of deliveries in this second
}

// Merge adds another process's part.
func (p *Part) Merge(o *Part) {
	p.Agents += o.Agents
	p.Counts.Add(&o.Counts)
	p.Connections.add(&o.Connections)
	p.Closes = addCounts(p.Closes, o.Closes)
	p.Errors = addCounts(p.Errors, o.Errors)
	p.Delivery.Merge(&o.Delivery)
	p.Ack.Merge(&o.Ack)
	p.Lag.Merge(&o.Lag)
	p.Connect.Merge(&o.Connect)
	p.Join.Merge(&o.Join)
	p.Back.Merge(&o.Back)
	p.CaughtUp.Merge(&o.CaughtUp)
	p.mergeGateways(o.Gateways)
	p.Window.merge(&o.Window)
	p.mergeSamples(o.Samples)
}

func (c *Connections) add(o *Connections) {
	c.Opened += o.Opened
	c.Most += o.Most
	c.Back += o.Back
	c.Lost += o.Lost
	c.GaveUp += o.GaveUp
	c.Away += o.Away
	c.Arrivals += o.Arrivals
	c.Late += o.Late
}

func addCounts(to, from map[string]int) map[string]int {
	if to == nil && len(from) > 0 {
		to = make(map[string]int)
	}
	for k, n := range from {
		to[k] += n
	}
	return to
}

func (p *Part) mergeGateways(o []Gateway) {
	for i := range o {
		at := slices.IndexFunc(p.Gateways, func(g Gateway) bool { return g.ID == o[i].ID })
		if at < 0 {
			at = len(p.Gateways)
			p.Gateways = append(p.Gateways, Gateway{ID: o[i].ID})
		}
		p.Gateways[at].Members += o[i].Members
		p.Gateways[at].Delivery.Merge(&o[i].Delivery)
	}
	slices.SortFunc(p.Gateways, func(a, b Gateway) int { return cmp.Compare(a.ID, b.ID) })
}

func (w *Window) merge(o *Window) {
	w.Seconds = max(w.Seconds, o.Seconds)
	w.Delivered += o.Delivered
	w.Published += o.Published
	w.Opened += o.Opened
	w.User += o.User
	w.System += o.System
}

// mergeSamples adds those of the same second; each process's begin at the same
// moment and are taken at the same distances.
func (p *Part) mergeSamples(o []Sample) {
	for i := range o {
		if i == len(p.Samples) {
			p.Samples = append(p.Samples, Sample{At: o[i].At})
		}
		s := &p.Samples[i]
		s.Published += o[i].Published
		s.Acknowledged += o[i].Acknowledged
		s.Delivered += o[i].Delivered
		s.Opened += o[i].Opened
		s.Broken += o[i].Broken
		s.Connections += o[i].Connections
		s.Lag = max(s.Lag, o[i].Lag)
		s.CPU += o[i].CPU
		s.Latency.Merge(&o[i].Latency)
	}
}
