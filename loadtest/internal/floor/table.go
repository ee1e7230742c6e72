package floor

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Table is a comparison: a row for each way to load.
type Table struct {
	Rounds int   `json:"rounds"`
	Rows   []Row `json:"rows"`
}

// Kind is one way to load.
type Kind string

const (
	OneAtATime    Kind = "fanout, one at a time"
	UnderWay      Kind = "fanout, several under way"
	OpenLoop      Kind = "fanout, open loop"
	Rooms         Kind = "rooms"
	RoomsOpenLoop Kind = "rooms, open loop"
	Fleet         Kind = "fleet"
)

// Row is one way to load, with each round's scores.
type Row struct {
	Kind    Kind    `json:"kind"`
	Name    string  `json:"name"`
	Floor   []Score `json:"floor"`
	Gateway []Score `json:"gateway"`
}

// Score is one round of one server.
type Score struct {
	Deliveries float64 `json:"deliveries_per_second"`
	User       float64 `json:"user_seconds_per_million"` // of the server's processor time, by deliveries
	System     float64 `json:"system_seconds_per_million"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	NearP99    float64 `json:"near_p99_ms,omitempty"` // on the gateway that was published to
	FarP99     float64 `json:"far_p99_ms,omitempty"`  // on the others
}

// CPU is the server's processor time in seconds per million deliveries.
func (s Score) CPU() float64 { return s.User + s.System }

// Ratio is the gateway's median of a number to the floor's.
func (r *Row) Ratio(of func(Score) float64) float64 {
	return Median(r.Gateway, of) / Median(r.Floor, of)
}

// Median of one number over the rounds.
func Median(scores []Score, of func(Score) float64) float64 {
	var all []float64
	for _, s := range scores {
		all = append(all, of(s))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Write writes the table for people: medians, and the gateway's as ratios to the
// floor's.
func (t *Table) Write(w io.Writer) error {
	fmt.Fprintf(w, "medians of %d interleaved rounds, each server on one processor; a ratio is the gateway's to the floor's\n\n", t.Rounds)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "\t\tdeliveries/s\tratio\tCPU s/million\tuser\tsystem\tratio\tp50 ms\tp99 ms\tratio\t")
	for _, r := range t.Rows {
		deliveries := func(s Score) float64 { return s.Deliveries }
		p99 := func(s Score) float64 { return s.P99 }
		for _, side := range []struct {
			name   string
			scores []Score
		}{{"floor", r.Floor}, {"gateway", r.Gateway}} {
			name, ratios := r.Name, [3]string{}
			if side.name == "gateway" {
				name = ""
				for i, of := range []func(Score) float64{deliveries, Score.CPU, p99} {
					ratios[i] = fmt.Sprintf("%.2f", Median(r.Gateway, of)/Median(r.Floor, of))
				}
			}
			fmt.Fprintf(tab, "%s\t%s\t%.0f\t%s\t%.2f\t%.2f\t%.2f\t%s\t%.2f\t%.2f\t%s\t\n", name, side.name,
				Median(side.scores, deliveries), ratios[0],
				Median(side.scores, Score.CPU), Median(side.scores, func(s Score) float64 { return s.User }), Median(side.scores, func(s Score) float64 { return s.System }), ratios[1],
				Median(side.scores, func(s Score) float64 { return s.P50 }), Median(side.scores, p99), ratios[2])
		}
	}
	return tab.Flush()
}
