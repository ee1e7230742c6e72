package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// summary prints what a run found, for people.
func summary(w io.Writer, r *result.Result) {
	fmt.Fprintf(w, "\n%s: %s\n\n", r.Plan.Scenario, r.Plan.Description)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c := &r.Counts
	fmt.Fprintf(t, "published\t%s\tacknowledged %s, refused %s, unanswered %s, sent again %s\n", count(c.Published), count(c.Acknowledged), count(c.Refused), count(c.Unanswered), count(c.Resent))
	fmt.Fprintf(t, "owed\t%s\tdelivered %s, announced as gap %s, behind a reset %s, unexplained %s\n", count(c.Owed()), count(c.Delivered), count(c.Gapped), count(c.BehindReset), count(c.Unexplained))
	fmt.Fprintf(t, "wrong\t%s\tduplicate %s, out of order %s, stray %s, altered %s, stored twice %s, misplaced %s\n", count(c.Duplicate+c.OutOfOrder+c.Stray+c.Altered+c.StoredTwice+c.Misplaced),
		count(c.Duplicate), count(c.OutOfOrder), count(c.Stray), count(c.Altered), count(c.StoredTwice), count(c.Misplaced))
	n := &r.Connections
	fmt.Fprintf(t, "connections\t%s\topened %s, lost %s, back %s\n", count(uint64(n.Most)), count(uint64(n.Opened)), count(uint64(n.Lost)), count(uint64(n.Back)))
	t.Flush()
	fmt.Fprintln(w)
	for _, f := range r.Figures() {
		fmt.Fprintf(t, "%s\t%s\n", f.Name, shown(f.Value, f.Unit))
	}
	t.Flush()
	for _, kinds := range []map[string]int{r.Closes, r.Errors} {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			fmt.Fprintf(w, "  %s × %d\n", kind, kinds[kind])
		}
	}
	fmt.Fprintln(w)
	for _, line := range r.Verdict.Notes {
		fmt.Fprintln(w, "note:", line)
	}
	for _, line := range r.Verdict.Missed {
		fmt.Fprintln(w, "MISSED:", line)
	}
	for _, line := range r.Verdict.Broken {
		fmt.Fprintln(w, "BROKEN:", line)
	}
	if r.Verdict.OK {
		fmt.Fprintln(w, "OK: every message is accounted for")
	}
}

// count writes a number with its thousands apart.
func count(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}

// shown writes a figure with its unit.
func shown(v float64, unit string) string {
	switch {
	case unit == "B" && v >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case v >= 10_000:
		return count(uint64(v+0.5)) + " " + unit
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}
