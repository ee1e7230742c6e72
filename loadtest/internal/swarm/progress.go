package swarm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
)

// Progress is where a run stands.
type Progress struct {
	Connections int            `json:"connections"`
	Away        int            `json:"away"`    // of the standing ones, not in all their rooms yet
	GaveUp      int            `json:"gave_up"` // were told not to come back
	Counts      account.Counts `json:"counts"`
	Errors      int            `json:"errors"`
	Trouble     string         `json:"trouble,omitempty"` // the most frequent errors in words

	// Of the newest second.
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	Lag       time.Duration `json:"lag_ns"` // the longest
	Delivered uint64        `json:"delivered"`
	Published uint64        `json:"published"`
	Opened    uint64        `json:"opened"`
}

// Progress returns where the run stands.
func (s *Swarm) Progress() Progress {
	p := Progress{Connections: s.open, Away: s.away(), GaveUp: s.conns.GaveUp, Counts: s.book.Counts, Lag: s.longestLag, Trouble: trouble(s.errors)}
	for _, n := range s.errors {
		p.Errors += n
	}
	if n := len(s.samples); n > 0 {
		last := &s.samples[n-1]
		p.P50, p.P99, p.Lag = last.Latency.At(0.5), last.Latency.At(0.99), last.Lag
		p.Delivered, p.Published, p.Opened = last.Delivered, last.Published, last.Opened
	}
	return p
}

// Add adds another process's. Percentiles cannot be added: the worst is shown.
func (p *Progress) Add(o *Progress) {
	p.Connections += o.Connections
	p.Away += o.Away
	p.GaveUp += o.GaveUp
	p.Counts.Add(&o.Counts)
	p.Errors += o.Errors
	p.Trouble = cmp.Or(p.Trouble, o.Trouble)
	p.P50, p.P99, p.Lag = max(p.P50, o.P50), max(p.P99, o.P99), max(p.Lag, o.Lag)
	p.Delivered += o.Delivered
	p.Published += o.Published
	p.Opened += o.Opened
}

// trouble tells the three most frequent errors.
func trouble(errors map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(errors), func(a, b string) int { return cmp.Compare(errors[b], errors[a]) })
	var told []string
	for _, kind := range kinds[:min(len(kinds), 3)] {
		told = append(told, fmt.Sprintf("%s × %d", kind, errors[kind]))
	}
	return cmp.Or(strings.Join(told, ", "), "no error so far")
}
