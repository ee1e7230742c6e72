// Package plan says what a load test does, as values: which connections there
// are and what they join, what is published and when, what is cut. Every scenario
// is a Plan; that of mixed is read from YAML. A Plan goes over the wire to agents
// as JSON and into the result, so that a result says how it was made.
//
// The package does no I/O.
package plan

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Plan is a whole load test.
type Plan struct {
	Scenario    string   `json:"scenario"`
	Description string   `json:"description,omitempty"`
	Targets     []string `json:"targets"` // URLs of the gateways, ws://host:port/ws

	ConnectRate    float64       `json:"connect_rate"` // new connections per second, over all agents; 0: as fast as they are answered
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	Warmup         time.Duration `json:"warmup_ns"`   // published before it counts
	Duration       time.Duration `json:"duration_ns"` // measured
	Drain          time.Duration `json:"drain_ns"`    // at most, until everyone has everything

	Groups  []Group  `json:"groups"`
	Streams []Stream `json:"streams,omitempty"`
	Cut     *Cut     `json:"cut,omitempty"`

	Acks    bool     `json:"acks"` // publishers ask for an acknowledgement of each message
	IDs     bool     `json:"ids"`  // messages have ids, so that they may be sent again after a lost connection
	Spin    bool     `json:"spin"` // never sleep while it is measured
	Sources []string `json:"sources,omitempty"`
}

// Group is connections that behave alike.
type Group struct {
	Name        string  `json:"name"`
	Connections int     `json:"connections"`      // of a standing group, and at most of an arriving one
	Rooms       Rooms   `json:"rooms"`            // one is picked for each connection, or several
	Each        int     `json:"each"`             // rooms that a connection joins
	Last        int     `json:"last,omitempty"`   // messages back that a first join asks for
	Target      int     `json:"gateway"`          // index of the gateway; -1: all in turn
	Stalled     float64 `json:"stalled"`          // share that stops reading while it is measured
	Arrive      float64 `json:"arrive,omitempty"` // new connections per second, open loop; 0: the group stands

	// Stay is how long a connection stays: of an arriving group each, of a standing
	// one the mean, after which another client takes its place; 0: to the end.
	Stay time.Duration `json:"stay_ns,omitempty"`
}

// Rooms is a family of rooms, Prefix0 to Prefix(Count-1).
type Rooms struct {
	Prefix string  `json:"prefix"`
	Count  int     `json:"count"`
	Skew   float64 `json:"skew,omitempty"` // 0: all alike; above 1: Zipf's exponent, the first ones being the popular ones
}

// Name is the name of room i.
func (r Rooms) Name(i int) string { return fmt.Sprintf("%s%d", r.Prefix, i) }

// Stream is messages published on a schedule of its own.
type Stream struct {
	Name       string  `json:"name"`
	Rooms      Rooms   `json:"rooms"`
	Rate       float64 `json:"rate,omitempty"`        // messages a second over all publishers, open loop
	UnderWay   int     `json:"under_way,omitempty"`   // instead of a rate: so many messages that not everyone has yet, closed loop
	Arrival    Arrival `json:"arrival"`               // how the messages of a rate are spread
	Burst      int     `json:"burst,omitempty"`       // messages at once, of the arrival burst
	Payload    int     `json:"payload"`               // bytes of data
	PayloadMax int     `json:"payload_max,omitempty"` // above Payload: a size at random between
	Publishers int     `json:"publishers,omitempty"`  // connections that do nothing else
	From       string  `json:"from,omitempty"`        // instead of them: the group whose members publish
	Target     int     `json:"gateway"`               // index of the publishers' gateway; -1: all in turn

	// Divided is set in a part of a plan: every process has publishers of this
	// stream, so that each can publish to rooms of its own.
	Divided bool `json:"divided,omitempty"`
}

// Arrival is how messages are spread in time.
type Arrival string

const (
	Even    Arrival = "even"    // at equal distances
	Poisson Arrival = "poisson" // at random, as many people do
	Burst   Arrival = "burst"   // several at once
)

// Cut is the loss of all connections at one moment.
type Cut struct {
	After time.Duration `json:"after_ns"` // from when measuring begins
}

// Least bytes of data of a message: the run, the publisher, the number, the time
// and a sum over them.
const leastPayload = 96

// ConnectionLimit is how many connections one process holds: with the usual limit
// of 20,000 descriptors.
const ConnectionLimit = 19_000

// Part returns what agent i of n does: its share of the connections and of the
// publishers, with their share of the rates.
func (p *Plan) Part(i, n int) *Plan {
	part := *p
	part.ConnectRate = p.ConnectRate / float64(n)
	part.Groups = slices.Clone(p.Groups)
	for g := range part.Groups {
		part.Groups[g].Connections = share(p.Groups[g].Connections, i, n)
		part.Groups[g].Arrive = p.Groups[g].Arrive / float64(n)
	}
	part.Streams = nil
	for _, s := range p.Streams {
		switch {
		case s.From != "":
			s.Rate /= float64(n)
			s.Divided = true
		default:
			all := s.Publishers
			if s.Publishers = share(all, i, n); s.Publishers == 0 {
				continue
			}
			s.Rate *= float64(s.Publishers) / float64(all)
			s.Divided = all >= n
		}
		part.Streams = append(part.Streams, s)
	}
	return &part
}

// share is how many of total are agent i's of n.
func share(total, i, n int) int { return (total + n - 1 - i) / n }

// Publishers is how many connections only publish.
func (p *Plan) Publishers() int {
	n := 0
	for _, s := range p.Streams {
		n += s.Publishers
	}
	return n
}

// Connections is how many connections there are at most.
func (p *Plan) Connections() int {
	n := p.Publishers()
	for _, g := range p.Groups {
		n += g.Connections
	}
	return n
}

// Check says what makes the plan impossible.
func (p *Plan) Check() error {
	if err := p.checkTargets(); err != nil {
		return err
	}
	if p.Duration <= 0 {
		return &Problem{Key: "duration", What: "want more than 0"}
	}
	if len(p.Groups) == 0 {
		return &Problem{Key: "groups", What: "want at least one"}
	}
	names := map[string]bool{}
	for i, g := range p.Groups {
		where := fmt.Sprintf("groups[%d]", i)
		if names[g.Name] {
			return &Problem{Key: where + ".name", What: fmt.Sprintf("there are two groups %q", g.Name)}
		}
		names[g.Name] = true
		if err := g.check(where, len(p.Targets)); err != nil {
			return err
		}
	}
	for i, s := range p.Streams {
		if err := s.check(fmt.Sprintf("streams[%d]", i), len(p.Targets), names); err != nil {
			return err
		}
	}
	if p.Cut != nil && (p.Cut.After < 0 || p.Cut.After >= p.Duration) {
		return &Problem{Key: "cut.after", What: "want a moment within the duration"}
	}
	for _, s := range p.Sources {
		if _, err := netip.ParseAddr(s); err != nil {
			return &Problem{Key: "sources", What: fmt.Sprintf("%q is no IP address", s)}
		}
	}
	return nil
}

func (p *Plan) checkTargets() error {
	if len(p.Targets) == 0 {
		return &Problem{Key: "url", What: "no gateway: give --url or --gateways"}
	}
	for _, t := range p.Targets {
		u, err := url.Parse(t)
		switch {
		case err != nil:
			return &Problem{Key: "url", What: "does not parse"}
		case u.Scheme != "ws" && u.Scheme != "http" && u.Scheme != "wss" && u.Scheme != "https":
			return &Problem{Key: "url", What: fmt.Sprintf("want ws://host:port or wss://host, not scheme %q", u.Scheme)}
		case u.Hostname() == "":
			return &Problem{Key: "url", What: "has no host"}
		}
	}
	return nil
}

func (g *Group) check(where string, targets int) error {
	switch {
	case g.Connections < 0 || g.Connections == 0 && g.Arrive == 0:
		return &Problem{Key: where + ".connections", What: "want at least 1"}
	case g.Each < 1:
		return &Problem{Key: where + ".each", What: "want at least 1 room for each connection"}
	case g.Rooms.Count < g.Each:
		return &Problem{Key: where + ".each", What: fmt.Sprintf("a connection cannot join %d of %d rooms", g.Each, g.Rooms.Count)}
	case g.Stalled < 0 || g.Stalled > 1:
		return &Problem{Key: where + ".stalled", What: "want a share from 0 to 1"}
	case g.Stay < 0:
		return &Problem{Key: where + ".stay", What: "want no negative time"}
	case g.Arrive < 0:
		return &Problem{Key: where + ".arrive", What: "want no negative rate"}
	case g.Arrive > 0 && g.Stay == 0:
		return &Problem{Key: where + ".stay", What: "an arriving group must say how long each stays"}
	case g.Target < -1 || g.Target >= targets:
		return &Problem{Key: where + ".gateway", What: fmt.Sprintf("there are %d gateways, counted from 0", targets)}
	}
	return g.Rooms.check(where)
}

func (r *Rooms) check(where string) error {
	if len(r.Prefix) == 0 || len(r.Prefix) > 100 {
		return &Problem{Key: where + ".rooms.prefix", What: "want 1 to 100 characters"}
	}
	if r.Count < 1 {
		return &Problem{Key: where + ".rooms.count", What: "want at least 1"}
	}
	if r.Skew != 0 && r.Skew <= 1 {
		return &Problem{Key: where + ".rooms.skew", What: "want 0 (all alike) or more than 1"}
	}
	return nil
}

func (s *Stream) check(where string, targets int, groups map[string]bool) error {
	switch {
	case s.Rate < 0 || s.UnderWay < 0 || (s.Rate > 0) == (s.UnderWay > 0):
		return &Problem{Key: where + ".rate", What: "want a rate above 0, or a number of messages under way"}
	case !slices.Contains([]Arrival{Even, Poisson, Burst}, s.Arrival):
		return &Problem{Key: where + ".arrival", What: fmt.Sprintf("want even, poisson or burst, not %q", s.Arrival)}
	case s.Arrival == Burst && s.Burst < 1:
		return &Problem{Key: where + ".burst", What: "want at least 1 message at once"}
	case s.Payload < leastPayload:
		return &Problem{Key: where + ".payload", What: fmt.Sprintf("want at least %d bytes: each message says who sent it, when, and what its sum is", leastPayload)}
	case s.PayloadMax != 0 && s.PayloadMax < s.Payload:
		return &Problem{Key: where + ".payload_max", What: "want no less than payload"}
	case s.From != "" && !groups[s.From]:
		return &Problem{Key: where + ".from", What: fmt.Sprintf("there is no group %q", s.From)}
	case (s.From != "") == (s.Publishers > 0):
		return &Problem{Key: where + ".publishers", What: "want at least 1, or a group in from"}
	case s.Target < -1 || s.Target >= targets:
		return &Problem{Key: where + ".gateway", What: fmt.Sprintf("there are %d gateways, counted from 0", targets)}
	}
	return s.Rooms.check(where)
}

// Problem is what makes a plan impossible.
type Problem struct {
	Source string // file:line; empty: not from a file
	Key    string
	What   string
}

// Error is one line.
func (p *Problem) Error() string {
	text := p.Key + ": " + p.What
	if p.Source != "" {
		text = p.Source + ": " + text
	}
	return text
}
