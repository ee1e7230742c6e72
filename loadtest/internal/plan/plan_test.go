package plan

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func common() Common {
	c := Defaults(30 * time.Second)
	c.Targets = []string{"ws://localhost:8080"}
	return c
}

func TestAFileIsAPlan(t *testing.T) {
	const text = `
description: some
duration: 10s
groups:
  - name: people
    connections: 100
    rooms: {prefix: "x:", count: 5, skew: 1.2}
    each: 2
  - name: visitors
    arrive: 10
    stay: 2s
    rooms: {prefix: "x:", count: 5}
streams:
  - name: talk
    from: people
    rate: 4
    arrival: poisson
    payload_max: 300
`
	p, err := Parse("f.yaml", []byte(text), common(), 0.5)
	if err != nil {
		t.Fatal(err)
	}
	people, visitors, talk := p.Groups[0], p.Groups[1], p.Streams[0]
	if p.Duration != 10*time.Second || p.Warmup != 2*time.Second || people.Connections != 50 || people.Each != 2 || people.Target != -1 {
		t.Errorf("plan %+v", p)
	}
	if visitors.Arrive != 5 || visitors.Connections < 15 || visitors.Each != 1 {
		t.Errorf("visitors %+v", visitors)
	}
	if talk.Rate != 2 || talk.Rooms != people.Rooms || talk.Payload != 128 || talk.PayloadMax != 300 || talk.Publishers != 0 {
		t.Errorf("talk %+v", talk)
	}
}

func TestWhatIsWrongInAFileHasItsLine(t *testing.T) {
	const group = "groups:\n  - name: a\n    connections: 5\n    rooms: {prefix: x}\n"
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "groups:\n  - name: a\n   connections: 3\n", "f.yaml:3: connections:"},
		{"unknown key", "groups:\n  - name: a\n    conections: 5\n", `f.yaml:3: conections: unknown field "conections"`},
		{"a word for a number", "groups:\n  - name: a\n    connections: many\n", "f.yaml:3: many: want a whole number"},
		{"a bare number for a duration", "duration: 5\n" + group, "f.yaml:1: 5: want a duration, such as 60s or 1m30s"},
		{"a value out of range", "duration: 5s\ngroups:\n  - name: a\n    connections: 5\n    stalled: 2\n    rooms: {prefix: x}\n", "f.yaml:5: groups[0].stalled: want a share from 0 to 1"},
		{"in the second of a list", group + "  - name: b\n    connections: -1\n    rooms: {prefix: x}\n", "f.yaml:6: groups[1].connections: want at least 1"},
		{"a key that is missing", group + "streams:\n  - name: s\n    rooms: {prefix: x}\n", "f.yaml:6: streams[0].rate: want a rate above 0"},
		{"a group that is not there", group + "streams:\n  - name: s\n    rate: 1\n    from: b\n", `f.yaml:8: streams[0].from: there is no group "b"`},
		{"two of a name", group + strings.TrimPrefix(group, "groups:\n"), `f.yaml:5: groups[1].name: there are two groups "a"`},
		{"in a nested key", "groups:\n  - name: a\n    connections: 5\n    rooms:\n      prefix: x\n      skew: 0.5\n", "f.yaml:6: groups[0].rooms.skew: want 0"},
		{"a gateway that is not there", group + "    gateway: 1\n", "f.yaml:5: groups[0].gateway: there are 1 gateways"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(tt.text), common(), 1)
			var problem *Problem
			if !errors.As(err, &problem) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s…", err, tt.want)
			}
		})
	}
}

func TestScenariosCanBePlayed(t *testing.T) {
	c := common()
	for _, p := range []*Plan{
		(&Fanout{Common: c, Members: 10, Publishers: 1, Rate: 5}).Plan(),
		(&Fanout{Common: c, Members: 10, Publishers: 1, UnderWay: 16}).Plan(),
		(&ManyRooms{Common: c, Rooms: 10, Members: 5, Publishers: 2, Rate: 5}).Plan(),
		(&Idle{Common: c, Connections: 10, Rooms: 2}).Plan(),
		(&Churn{Common: c, Connects: 10, Stay: time.Second, Rooms: 3, Regulars: 5, Rate: 5}).Plan(),
		(&Storm{Common: c, Connections: 10, Rooms: 2, Rate: 5, After: time.Second}).Plan(),
		(&Slow{Common: c, Members: 10, Share: 0.1, Rate: 5}).Plan(),
		(&Fleet{Common: c, Members: 10, Publishers: 1, Rate: 5}).Plan(),
	} {
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", p.Scenario, err)
		}
	}
}

func TestImpossiblePlansAreRefused(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(p *Plan)
	}{
		{"url: no gateway", func(p *Plan) { p.Targets = nil }},
		{"url: want ws://", func(p *Plan) { p.Targets = []string{"localhost:8080"} }},
		{"url: has no host", func(p *Plan) { p.Targets = []string{"ws:///ws"} }},
		{"duration: ", func(p *Plan) { p.Duration = 0 }},
		{"groups: ", func(p *Plan) { p.Groups = nil }},
		{"groups[0].each: a connection cannot join", func(p *Plan) { p.Groups[0].Each = 2 }},
		{"groups[0].stay: an arriving group", func(p *Plan) { p.Groups[0].Arrive = 1 }},
		{"streams[0].payload: want at least", func(p *Plan) { p.Streams[0].Payload = 10 }},
		{"streams[0].rate: ", func(p *Plan) { p.Streams[0].UnderWay = 1 }},
		{"streams[0].arrival: ", func(p *Plan) { p.Streams[0].Arrival = "often" }},
		{"streams[0].burst: ", func(p *Plan) { p.Streams[0].Arrival = Burst }},
		{"streams[0].publishers: ", func(p *Plan) { p.Streams[0].Publishers = 0 }},
		{"streams[0].gateway: ", func(p *Plan) { p.Streams[0].Target = 1 }},
		{"cut.after: ", func(p *Plan) { p.Cut = &Cut{After: time.Hour} }},
		{"sources: ", func(p *Plan) { p.Sources = []string{"here"} }},
	} {
		p := (&Fanout{Common: common(), Members: 10, Publishers: 1, Rate: 5}).Plan()
		tt.change(p)
		if err := p.Check(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s…", err, tt.want)
		}
	}
}

func TestPartsMakeTheWhole(t *testing.T) {
	p := (&ManyRooms{Common: common(), Rooms: 10, Members: 7, Publishers: 5, Rate: 100}).Plan()
	p.ConnectRate = 30
	p.Streams = append(p.Streams, Stream{Name: "one", Publishers: 1, Rate: 8, Rooms: p.Groups[0].Rooms, Arrival: Even, Payload: 128})
	for _, n := range []int{1, 2, 3, 7} {
		connections, publishers, rate, connect := 0, 0, 0.0, 0.0
		for i := range n {
			part := p.Part(i, n)
			connections += part.Groups[0].Connections
			publishers += part.Publishers()
			connect += part.ConnectRate
			for _, s := range part.Streams {
				rate += s.Rate
				if s.Divided != (n == 1 || s.Name != "one" && n <= 5) {
					t.Errorf("%d parts: stream %s divided %v", n, s.Name, s.Divided)
				}
			}
		}
		if connections != 70 || publishers != 6 || rate < 107.99 || rate > 108.01 || connect < 29.99 || connect > 30.01 {
			t.Errorf("%d parts: %d connections, %d publishers, %v messages and %v connects a second", n, connections, publishers, rate, connect)
		}
	}
}
