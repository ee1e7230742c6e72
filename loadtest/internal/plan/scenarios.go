package plan

import (
	"fmt"
	"time"
)

// Common is what every scenario's flags may change.
type Common struct {
	Targets        []string
	Duration       time.Duration
	Warmup         time.Duration
	Drain          time.Duration
	ConnectTimeout time.Duration
	ConnectRate    float64
	Payload        int
	Acks, IDs      bool
	Spin           bool
	Sources        []string
}

// Defaults are the values of a scenario's flags where nothing is said.
func Defaults(duration time.Duration) Common {
	return Common{
		Duration: duration, Warmup: 2 * time.Second, Drain: 10 * time.Second, ConnectTimeout: time.Minute,
		Payload: 128, Acks: true, IDs: true,
	}
}

func (c *Common) plan(scenario string) *Plan {
	return &Plan{
		Scenario: scenario, Targets: c.Targets,
		ConnectRate: c.ConnectRate, ConnectTimeout: c.ConnectTimeout,
		Warmup: c.Warmup, Duration: c.Duration, Drain: c.Drain,
		Acks: c.Acks, IDs: c.IDs, Spin: c.Spin, Sources: c.Sources,
	}
}

// Fanout is one room with many members.
type Fanout struct {
	Common
	Members    int
	Publishers int
	Rate       float64 // messages a second
	UnderWay   int     // instead of a rate
}

// Plan returns the plan.
func (f *Fanout) Plan() *Plan {
	p := f.plan("fanout")
	p.Description = fmt.Sprintf("one room of %d members", f.Members)
	room := Rooms{Prefix: "load:fanout:", Count: 1}
	p.Groups = []Group{{Name: "members", Connections: f.Members, Rooms: room, Each: 1, Target: -1}}
	p.Streams = []Stream{f.stream(room, f.Rate, f.UnderWay, f.Publishers)}
	return p
}

func (c *Common) stream(rooms Rooms, rate float64, underWay, publishers int) Stream {
	s := Stream{Name: "publishers", Rooms: rooms, Rate: rate, Arrival: Even, Payload: c.Payload, Publishers: publishers, Target: -1}
	if underWay > 0 {
		s.Rate, s.UnderWay = 0, underWay
	}
	return s
}

// ManyRooms is many rooms with few members each.
type ManyRooms struct {
	Common
	Rooms, Members, Publishers int
	Rate                       float64 // messages a second, over all rooms
	UnderWay                   int
}

// Plan returns the plan.
func (r *ManyRooms) Plan() *Plan {
	p := r.plan("rooms")
	p.Description = fmt.Sprintf("%d rooms of %d members", r.Rooms, r.Members)
	rooms := Rooms{Prefix: "load:rooms:", Count: r.Rooms}
	p.Groups = []Group{{Name: "members", Connections: r.Rooms * r.Members, Rooms: rooms, Each: 1, Target: -1}}
	p.Streams = []Stream{r.stream(rooms, r.Rate, r.UnderWay, r.Publishers)}
	return p
}

// Idle is connections that have joined and do nothing: what they cost in memory,
// and what their heartbeats cost.
type Idle struct {
	Common
	Connections, Rooms int
}

// Plan returns the plan.
func (i *Idle) Plan() *Plan {
	p := i.plan("idle")
	p.Description = fmt.Sprintf("%d connections that do nothing, in %d rooms", i.Connections, i.Rooms)
	p.Groups = []Group{{Name: "idle", Connections: i.Connections, Rooms: Rooms{Prefix: "load:idle:", Count: i.Rooms}, Each: 1, Target: -1}}
	return p
}

// Churn is clients that come, stay a while and go.
type Churn struct {
	Common
	Connects float64 // a second
	Stay     time.Duration
	Rooms    int
	Regulars int     // members that stay, so that every message is accounted for also by them
	Rate     float64 // messages a second
}

// Plan returns the plan.
func (c *Churn) Plan() *Plan {
	p := c.plan("churn")
	p.Description = fmt.Sprintf("%g connects a second, each staying %v", c.Connects, c.Stay)
	rooms := Rooms{Prefix: "load:churn:", Count: c.Rooms}
	if c.Regulars > 0 {
		p.Groups = append(p.Groups, Group{Name: "regulars", Connections: c.Regulars, Rooms: rooms, Each: 1, Target: -1})
	}
	p.Groups = append(p.Groups, Group{Name: "visitors", Connections: places(c.Connects, c.Stay), Rooms: rooms, Each: 1, Target: -1, Arrive: c.Connects, Stay: c.Stay})
	if c.Rate > 0 {
		p.Streams = []Stream{c.stream(rooms, c.Rate, 0, 1)}
	}
	return p
}

// Storm is the loss of all connections at once.
type Storm struct {
	Common
	Connections, Rooms int
	Rate               float64 // messages a second, over all rooms; they go on while all are away
	After              time.Duration
}

// Plan returns the plan.
func (s *Storm) Plan() *Plan {
	p := s.plan("storm")
	p.Description = fmt.Sprintf("%d connections in %d rooms, all cut %v into it", s.Connections, s.Rooms, s.After)
	rooms := Rooms{Prefix: "load:storm:", Count: s.Rooms}
	p.Groups = []Group{{Name: "members", Connections: s.Connections, Rooms: rooms, Each: 1, Target: -1}}
	if s.Rate > 0 {
		p.Streams = []Stream{s.stream(rooms, s.Rate, 0, 1)}
	}
	p.Cut = &Cut{After: s.After}
	return p
}

// Slow is a room some of whose members stop reading.
type Slow struct {
	Common
	Members int
	Share   float64 // that stop
	Rate    float64
}

// Plan returns the plan.
func (s *Slow) Plan() *Plan {
	p := s.plan("slow")
	p.Description = fmt.Sprintf("one room of %d members, %g %% of which stop reading", s.Members, s.Share*100)
	room := Rooms{Prefix: "load:slow:", Count: 1}
	p.Groups = []Group{{Name: "members", Connections: s.Members, Rooms: room, Each: 1, Target: -1, Stalled: s.Share}}
	p.Streams = []Stream{s.stream(room, s.Rate, 0, 1)}
	return p
}

// Fleet is one room on several gateways, published to on the first.
type Fleet struct {
	Common
	Members    int // on each gateway
	Publishers int
	Rate       float64
}

// Plan returns the plan.
func (f *Fleet) Plan() *Plan {
	p := f.plan("fleet")
	p.Description = fmt.Sprintf("one room with %d members on each of %d gateways, published to on the first", f.Members, len(f.Targets))
	room := Rooms{Prefix: "load:fleet:", Count: 1}
	for i := range f.Targets {
		p.Groups = append(p.Groups, Group{Name: fmt.Sprintf("gateway %d", i), Connections: f.Members, Rooms: room, Each: 1, Target: i})
	}
	s := f.stream(room, f.Rate, 0, f.Publishers)
	s.Target = 0
	p.Streams = []Stream{s}
	return p
}
