package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// view is a result as the page shows it.
type view struct {
	Title, Description, Status string
	Verdict                    result.Verdict
	Facts                      []string // under the title
	Cards                      []card
	Bars                       []bar
	Figures                    []row
	Trouble                    []row
	Setting                    []row
	Charts                     charts
}

// card is a number to see first.
type card struct{ Label, Value, Unit, More string }

// bar is a whole in its parts.
type bar struct {
	Label string
	Total uint64
	Parts []slice
}

type slice struct {
	Name, Kind string // Kind is its colour: good, told, warn or bad
	N          uint64
	Share      float64 // percent
}

type row struct{ Name, Value string }

func newView(r *result.Result) *view {
	v := &view{
		Title: r.Plan.Scenario, Description: r.Plan.Description, Verdict: r.Verdict, Status: status(&r.Verdict),
		Cards: cards(r), Bars: bars(r), Charts: newCharts(r),
	}
	v.Facts = []string{
		r.Started.Format("2 January 2006, 15:04:05 MST"),
		fmt.Sprintf("measured for %v", r.Elapsed().Round(100*time.Millisecond)),
		plural(r.Agents, "process making load", "processes making load"),
	}
	for _, f := range r.Figures() {
		v.Figures = append(v.Figures, row{f.Name, Shown(f.Value, f.Unit)})
	}
	for _, kinds := range []map[string]int{r.Closes, r.Errors} {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			v.Trouble = append(v.Trouble, row{kind, Count(uint64(kinds[kind]))})
		}
	}
	v.Setting = setting(r)
	return v
}

func status(v *result.Verdict) string {
	switch v.ExitCode() {
	case 0:
		return "good"
	case 4:
		return "missed"
	}
	return "broken"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// cards picks the numbers that the scenario is about.
func cards(r *result.Result) []card {
	var cs []card
	add := func(label string, f result.Figure, more string) {
		value, unit, _ := strings.Cut(Shown(f.Value, f.Unit), " ")
		cs = append(cs, card{label, value, unit, more})
	}
	figures := map[string]result.Figure{}
	for _, f := range r.Figures() {
		figures[f.Name] = f
	}
	for _, c := range []struct{ figure, label, more string }{
		{"caught up max", "all back and caught up", "after the loss of their connections"},
		{"deliveries", "deliveries", ""},
		{"connections opened", "connections opened", ""},
		{"delivery p50", "half delivered within", ""},
		{"delivery p99", "99 in 100 within", ""},
		{"delivery p99.9", "999 in 1,000 within", ""},
		{"connect p99", "connected within, 99 in 100", ""},
		{"gateway memory per connection", "memory a connection", "of the gateway's process"},
		{"gateway CPU per connection and second", "CPU a connection", "each second"},
		{"gateway CPU per connection opened", "CPU a handshake", "and its join and leave"},
		{"gateway CPU per million deliveries", "gateway CPU", "per million deliveries"},
	} {
		f, ok := figures[c.figure]
		if !ok || len(cs) == 6 || c.figure == "connections opened" && r.Plan.Scenario != "churn" || c.figure == "connect p99" && len(figures) > 8 && r.Plan.Scenario != "churn" {
			continue
		}
		add(c.label, f, c.more)
	}
	return cs
}

// bars are what became of what was published, and of what members were owed.
func bars(r *result.Result) []bar {
	c := &r.Counts
	if c.Published == 0 {
		return nil
	}
	all := []bar{
		{"messages published", c.Published, []slice{
			{"acknowledged", "good", c.Acknowledged, 0}, {"refused", "warn", c.Refused, 0},
			{"unanswered", "bad", c.Unanswered, 0}, {"nobody can know", "told", c.Uncertain, 0},
		}},
		{"deliveries owed", c.Owed(), []slice{
			{"delivered", "good", c.Delivered, 0}, {"announced as gap", "told", c.Gapped, 0},
			{"behind a reset", "warn", c.BehindReset, 0}, {"unexplained", "bad", c.Unexplained, 0},
		}},
	}
	if !r.Plan.Acks {
		all = all[1:]
	}
	for i := range all {
		for j := range all[i].Parts {
			p := &all[i].Parts[j]
			p.Share = 100 * float64(p.N) / float64(max(all[i].Total, 1))
		}
	}
	return all
}

// setting is how the result was made.
func setting(r *result.Result) []row {
	p := r.Plan
	rows := []row{
		{"run", r.Run},
		{"gateways", strings.Join(targets(p.Targets), ", ")},
		{"duration", fmt.Sprintf("%v behind %v of warming up", p.Duration, p.Warmup)},
	}
	for _, g := range p.Groups {
		text := fmt.Sprintf("%s connections, %s", Count(uint64(g.Connections)), plural(g.Rooms.Count, "room", "rooms"))
		if g.Each > 1 {
			text += fmt.Sprintf(", each in %d", g.Each)
		}
		if g.Arrive > 0 {
			text = fmt.Sprintf("%g a second, %s", g.Arrive, plural(g.Rooms.Count, "room", "rooms"))
		}
		if g.Stay > 0 {
			text += fmt.Sprintf(", staying %v", g.Stay)
		}
		if g.Stalled > 0 {
			text += fmt.Sprintf(", %g %% stop reading", g.Stalled*100)
		}
		rows = append(rows, row{"group " + g.Name, text})
	}
	for _, s := range p.Streams {
		text := fmt.Sprintf("%g messages a second, %s", s.Rate, s.Arrival)
		if s.UnderWay > 0 {
			text = fmt.Sprintf("%d under way (closed loop)", s.UnderWay)
		}
		size := fmt.Sprintf(", %d bytes", s.Payload)
		if s.PayloadMax > s.Payload {
			size = fmt.Sprintf(", %d to %d bytes", s.Payload, s.PayloadMax)
		}
		rows = append(rows, row{"stream " + s.Name, text + size})
	}
	m := &r.Machine
	rows = append(rows, row{"machine", strings.Join(slices.DeleteFunc([]string{
		m.Model, plural(m.Processors, "processor", "processors"), m.System, m.Kernel, m.Go,
	}, func(s string) bool { return s == "" }), ", ")})
	if m.Revision != "" {
		rows = append(rows, row{"revision", m.Revision})
	}
	return rows
}

// targets are URLs without what may be a secret.
func targets(urls []string) []string {
	shown := make([]string, len(urls))
	for i, u := range urls {
		shown[i], _, _ = strings.Cut(u, "?")
	}
	return shown
}

// Count writes a number with its thousands apart.
func Count(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Shown writes a figure with its unit, to three digits or so.
func Shown(v float64, unit string) string {
	switch {
	case unit == "B" && math.Abs(v) >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case unit == "ms" && math.Abs(v) >= 1000:
		return fmt.Sprintf("%.2f s", v/1000)
	case v >= 1000:
		return Count(uint64(v+0.5)) + " " + unit
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}

// charts are the plots' data: each a list of x and lists of y, null where there is
// nothing. Times are in seconds, latencies in milliseconds.
type charts struct {
	Until       float64   `json:"until"` // when measuring was over
	Cut         float64   `json:"cut"`   // when everyone was cut off; 0: never
	Time        []float64 `json:"time"`
	Latency     []line    `json:"latency"`
	Rates       []line    `json:"rates"`
	Connections []line    `json:"connections"`
	Late        []line    `json:"late"`

	ServerTime []float64 `json:"server_time"`
	CPU        []line    `json:"cpu"`
	Memory     []line    `json:"memory"`

	Quantile    []float64 `json:"quantile"` // 1/(1-q)
	Percentiles []line    `json:"percentiles"`
	Back        backChart `json:"back"`
}

// backChart is which share of the clients was back after how long.
type backChart struct {
	Share []float64 `json:"share"` // percent
	Lines []line    `json:"lines"`
}

type line struct {
	Name string     `json:"name"`
	Y    []*float64 `json:"y"`
}

func number(v float64) *float64 { return &v }

func newCharts(r *result.Result) charts {
	c := charts{Until: r.Plan.Duration.Seconds()}
	if r.Plan.Cut != nil {
		c.Cut = r.Plan.Cut.After.Seconds()
	}
	c.overTime(r.Samples)
	c.ofServers(r)
	c.ofPercentiles(r)
	c.ofBack(r)
	return c
}

// leastSample is the shortest sample that is shown: the last is as long as what
// was left.
const leastSample = 300 * time.Millisecond

func (c *charts) overTime(samples []result.Sample) {
	quantiles := []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}}
	c.Latency = make([]line, len(quantiles))
	for i, q := range quantiles {
		c.Latency[i].Name = q.name
	}
	c.Rates = []line{{Name: "delivered"}, {Name: "published"}}
	c.Connections = []line{{Name: "connections"}, {Name: "opened a second"}}
	c.Late = []line{{Name: "generator late, most (ms)"}, {Name: "generator CPU (%)"}}
	before := time.Duration(0)
	for i := range samples {
		s := &samples[i]
		lasted := s.At - before
		before = s.At
		if lasted < leastSample {
			continue
		}
		c.Time = append(c.Time, s.At.Seconds())
		for j, q := range quantiles {
			var y *float64
			if s.Latency.Count() > 0 {
				y = number(latency.Milliseconds(s.Latency.At(q.q)))
			}
			c.Latency[j].Y = append(c.Latency[j].Y, y)
		}
		c.Rates[0].Y = append(c.Rates[0].Y, number(float64(s.Delivered)/lasted.Seconds()))
		c.Rates[1].Y = append(c.Rates[1].Y, number(float64(s.Published)/lasted.Seconds()))
		c.Connections[0].Y = append(c.Connections[0].Y, number(float64(s.Connections)))
		c.Connections[1].Y = append(c.Connections[1].Y, number(float64(s.Opened)/lasted.Seconds()))
		c.Late[0].Y = append(c.Late[0].Y, number(latency.Milliseconds(s.Lag)))
		c.Late[1].Y = append(c.Late[1].Y, number(s.CPU*100))
	}
}

func (c *charts) ofServers(r *result.Result) {
	for i := range r.Servers {
		s := &r.Servers[i]
		if len(s.Samples) < 2 {
			continue
		}
		if c.ServerTime == nil {
			for _, u := range s.Samples[1:] {
				c.ServerTime = append(c.ServerTime, u.At.Seconds())
			}
		}
		user, system, memory := line{Name: s.Name + " user"}, line{Name: s.Name + " system"}, line{Name: s.Name}
		for j := 1; j < min(len(s.Samples), len(c.ServerTime)+1); j++ {
			u, before := s.Samples[j], s.Samples[j-1]
			lasted := max((u.At - before.At).Seconds(), 1e-3)
			user.Y = append(user.Y, number((u.User-before.User)/lasted*100))
			system.Y = append(system.Y, number((u.System-before.System)/lasted*100))
			memory.Y = append(memory.Y, number(float64(u.Memory)/(1<<20)))
		}
		c.CPU = append(c.CPU, user, system)
		c.Memory = append(c.Memory, memory)
	}
}

// mostLines bounds the gateways that are drawn one by one.
const mostLines = 8

func (c *charts) ofPercentiles(r *result.Result) {
	type named struct {
		name string
		h    *latency.Histogram
	}
	all := []named{{"delivery", &r.Delivery}}
	if n := len(r.Gateways); n > 1 && n <= mostLines {
		for i := range r.Gateways {
			all = append(all, named{"delivery on " + r.Gateways[i].ID, &r.Gateways[i].Delivery})
		}
	}
	all = append(all, named{"acknowledgement", &r.Ack}, named{"connect", &r.Connect})
	most := int64(0)
	for _, n := range all {
		most = max(most, n.h.Count())
	}
	// Twenty points to each further nine.
	for x := 1.0; x <= float64(most); x *= math.Pow(10, 0.05) {
		c.Quantile = append(c.Quantile, x)
	}
	for _, n := range all {
		if n.h.Count() == 0 {
			continue
		}
		l := line{Name: n.name}
		for _, x := range c.Quantile {
			var y *float64
			if x <= float64(n.h.Count()) {
				y = number(latency.Milliseconds(n.h.At(1 - 1/x)))
			}
			l.Y = append(l.Y, y)
		}
		c.Percentiles = append(c.Percentiles, l)
	}
}

func (c *charts) ofBack(r *result.Result) {
	if r.Back.Count() == 0 {
		return
	}
	back, caught := line{Name: "back in their rooms"}, line{Name: "and caught up"}
	for share := 0.0; share <= 100; share++ {
		c.Back.Share = append(c.Back.Share, share)
		back.Y = append(back.Y, number(r.Back.At(share/100).Seconds()))
		caught.Y = append(caught.Y, number(r.CaughtUp.At(share/100).Seconds()))
	}
	c.Back.Lines = []line{back, caught}
}
