package result

import (
	"fmt"
	"time"
)

// Limits are what a run must not miss. A duration of 0, and a count below 0, is
// no limit.
type Limits struct {
	P50, P99, P999 time.Duration // of delivery
	AckP99         time.Duration
	CaughtUp       time.Duration // of the last client that lost its connection
	CaughtUpP99    time.Duration
	ConnectP99     time.Duration
	Gapped         int // messages that gaps name
	Errors         int
}

// Verdict is whether the run was good.
type Verdict struct {
	OK     bool     `json:"ok"`
	Broken []string `json:"broken,omitempty"` // promises of the protocol
	Missed []string `json:"missed,omitempty"` // limits
	Notes  []string `json:"notes,omitempty"`  // what makes the figures less than they seem
}

// Judge fills in the verdict.
func (r *Result) Judge(l Limits) {
	v := &r.Verdict
	*v = Verdict{Broken: r.broken(), Missed: r.missed(l), Notes: r.notes()}
	v.OK = len(v.Broken) == 0 && len(v.Missed) == 0
}

// broken names what the protocol promises and the gateway did not keep.
func (r *Result) broken() []string {
	c := &r.Counts
	var found []string
	for _, f := range []struct {
		n    uint64
		what string
	}{
		{c.Unexplained, "deliveries unexplained, neither made nor named by a gap or a reset"},
		{c.Duplicate, "messages delivered, or named by a gap, twice"},
		{c.OutOfOrder, "messages out of order"},
		{c.Stray, "frames of a room or a log that the member is not in"},
		{c.Altered, "messages whose data was changed"},
		{c.StoredTwice, "publications stored twice"},
		{c.Misplaced, "messages not where their acknowledgement says"},
		{c.Unanswered, "publications without an answer"},
		{uint64(r.Connections.Away), "clients that did not come back"},
		{uint64(r.Connections.GaveUp), "clients that were sent away for good"},
	} {
		if f.n > 0 {
			found = append(found, fmt.Sprintf("%s: %d", f.what, f.n))
		}
	}
	return found
}

func (r *Result) missed(l Limits) []string {
	var found []string
	for _, f := range []struct {
		got, limit time.Duration
		what       string
	}{
		{r.Delivery.At(0.5), l.P50, "p50 of delivery"},
		{r.Delivery.At(0.99), l.P99, "p99 of delivery"},
		{r.Delivery.At(0.999), l.P999, "p99.9 of delivery"},
		{r.Ack.At(0.99), l.AckP99, "p99 of acknowledgement"},
		{r.Connect.At(0.99), l.ConnectP99, "p99 of connecting"},
		{r.CaughtUp.Max(), l.CaughtUp, "the last client back and caught up after"},
		{r.CaughtUp.At(0.99), l.CaughtUpP99, "p99 of being back and caught up"},
	} {
		if f.limit > 0 && f.got > f.limit {
			found = append(found, fmt.Sprintf("%s %v, limit %v", f.what, f.got.Round(10*time.Microsecond), f.limit))
		}
	}
	if l.Gapped >= 0 && r.Counts.Gapped > uint64(l.Gapped) {
		found = append(found, fmt.Sprintf("%d messages named by gaps, limit %d", r.Counts.Gapped, l.Gapped))
	}
	if n := r.errors(); l.Errors >= 0 && n > l.Errors {
		found = append(found, fmt.Sprintf("%d errors, limit %d", n, l.Errors))
	}
	return found
}

func (r *Result) errors() int {
	n := 0
	for _, count := range r.Errors {
		n += count
	}
	return n
}

// lateBy is how late the generator may be before its latencies say more of itself
// than of the gateway.
const lateBy = 10 * time.Millisecond

func (r *Result) notes() []string {
	var notes []string
	if late := r.Lag.At(0.99); late > lateBy {
		notes = append(notes, fmt.Sprintf("the generator itself was late: 1 in 100 messages left %v or more behind its time, which is in the latencies; use more processes or processors", late.Round(time.Millisecond)))
	}
	if r.Counts.Uncertain > 0 {
		notes = append(notes, fmt.Sprintf("%d publications had no answer when their connection ended, and nobody can know what became of them", r.Counts.Uncertain))
	}
	if r.ClockError > time.Millisecond {
		notes = append(notes, fmt.Sprintf("the agents' clocks may differ by %v, which is in the latencies", r.ClockError.Round(100*time.Microsecond)))
	}
	if r.Counts.Published > 0 && r.Delivery.Count() == 0 {
		notes = append(notes, "no delivery was measured")
	}
	return notes
}

// ExitCode is 0 for a good run, 3 where a promise was broken, 4 where only a limit
// was missed.
func (v *Verdict) ExitCode() int {
	switch {
	case len(v.Broken) > 0:
		return 3
	case len(v.Missed) > 0:
		return 4
	}
	return 0
}
