package result

import (
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
)

// Figure is one number of a result.
type Figure struct {
	Name   string
	Value  float64
	Unit   string // ms, /s, s, B, µs or none
	Higher bool   // more is better
}

// Figures are the numbers that a result comes down to; those that it has not are
// left out.
func (r *Result) Figures() []Figure {
	var fs []Figure
	add := func(name string, value float64, unit string) {
		fs = append(fs, Figure{Name: name, Value: value, Unit: unit})
	}
	window := &r.Window
	if window.Seconds > 0 && window.Delivered > 0 {
		fs = append(fs, Figure{"deliveries", float64(window.Delivered) / window.Seconds, "/s", true})
	}
	if window.Seconds > 0 && window.Opened > 0 {
		fs = append(fs, Figure{"connections opened", float64(window.Opened) / window.Seconds, "/s", true})
	}
	quantiles := func(name string, h *latency.Histogram, qs ...float64) {
		if h.Count() == 0 {
			return
		}
		for _, q := range qs {
			if q == 1 {
				add(name+" max", latency.Milliseconds(h.Max()), "ms")
			} else {
				add(name+" "+quantileName(q), latency.Milliseconds(h.At(q)), "ms")
			}
		}
	}
	quantiles("delivery", &r.Delivery, 0.5, 0.9, 0.99, 0.999, 1)
	if len(r.Gateways) > 1 {
		for i := range r.Gateways {
			quantiles("delivery on "+r.Gateways[i].ID, &r.Gateways[i].Delivery, 0.5, 0.99)
		}
	}
	quantiles("acknowledgement", &r.Ack, 0.5, 0.99)
	quantiles("connect", &r.Connect, 0.5, 0.99)
	quantiles("back", &r.Back, 0.5, 0.99, 1)
	quantiles("caught up", &r.CaughtUp, 0.5, 0.99, 1)
	quantiles("generator late", &r.Lag, 0.99)
	fs = append(fs, r.serverFigures()...)
	if window.Delivered > 0 {
		add("generator CPU per million deliveries", (window.User+window.System)/float64(window.Delivered)*1e6, "s")
	}
	return fs
}

// serverFigures are what the gateways' processes used, together.
func (r *Result) serverFigures() []Figure {
	if len(r.Servers) == 0 {
		return nil
	}
	var user, system float64
	var before, from, peak int64
	for i := range r.Servers {
		s := &r.Servers[i]
		user += s.Until.User - s.From.User
		system += s.Until.System - s.From.System
		before += s.Before.Memory
		from += s.From.Memory
		peak += s.peak()
	}
	fs := []Figure{{Name: "gateway CPU", Value: (user + system) / max(r.Window.Seconds, 1e-9) * 100, Unit: "%"}}
	if n := float64(r.Window.Delivered); n > 0 {
		fs = append(fs,
			Figure{Name: "gateway CPU per million deliveries", Value: (user + system) / n * 1e6, Unit: "s"},
			Figure{Name: "of it user", Value: user / n * 1e6, Unit: "s"},
			Figure{Name: "of it system", Value: system / n * 1e6, Unit: "s"})
	}
	if r.Plan.Scenario == "churn" && r.Window.Opened > 0 {
		fs = append(fs, Figure{Name: "gateway CPU per connection opened", Value: (user + system) / float64(r.Window.Opened) * 1e6, Unit: "µs"})
	}
	if n := float64(r.Connections.Most); n > 0 && r.Plan.Scenario == "idle" {
		fs = append(fs,
			Figure{Name: "gateway memory per connection", Value: float64(from-before) / n, Unit: "B"},
			Figure{Name: "gateway CPU per connection and second", Value: (user + system) / n / max(r.Window.Seconds, 1e-9) * 1e6, Unit: "µs"})
	}
	return append(fs, Figure{Name: "gateway memory, most", Value: float64(peak), Unit: "B"})
}

func (s *Server) peak() int64 {
	most := max(s.From.Memory, s.Until.Memory)
	for _, u := range s.Samples {
		most = max(most, u.Memory)
	}
	return most
}

func quantileName(q float64) string {
	switch q {
	case 0.5:
		return "p50"
	case 0.9:
		return "p90"
	case 0.99:
		return "p99"
	}
	return "p99.9"
}

// Elapsed is how long measuring took.
func (r *Result) Elapsed() time.Duration {
	return time.Duration(r.Window.Seconds * float64(time.Second))
}
