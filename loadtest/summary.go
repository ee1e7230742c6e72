package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/fanfare-ws/fanfare/loadtest/internal/report"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// summary prints what a run found, for people.
func summary(w io.Writer, r *result.Result) {
	fmt.Fprintf(w, "\n%s: %s\n\n", r.Plan.Scenario, r.Plan.Description)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c := &r.Counts
	fmt.Fprintf(t, "published\t%s\tacknowledged %s, refused %s, unanswered %s, sent again %s\n", report.Count(c.Published), report.Count(c.Acknowledged), report.Count(c.Refused), report.Count(c.Unanswered), report.Count(c.Resent))
	fmt.Fprintf(t, "owed\t%s\tdelivered %s, announced as gap %s, behind a reset %s, unexplained %s\n", report.Count(c.Owed()), report.Count(c.Delivered), report.Count(c.Gapped), report.Count(c.BehindReset), report.Count(c.Unexplained))
	fmt.Fprintf(t, "wrong\t%s\tduplicate %s, out of order %s, stray %s, altered %s, stored twice %s, misplaced %s\n", report.Count(c.Duplicate+c.OutOfOrder+c.Stray+c.Altered+c.StoredTwice+c.Misplaced),
		report.Count(c.Duplicate), report.Count(c.OutOfOrder), report.Count(c.Stray), report.Count(c.Altered), report.Count(c.StoredTwice), report.Count(c.Misplaced))
	n := &r.Connections
	fmt.Fprintf(t, "connections\t%s\topened %s, lost %s, back %s\n", report.Count(uint64(n.Most)), report.Count(uint64(n.Opened)), report.Count(uint64(n.Lost)), report.Count(uint64(n.Back)))
	t.Flush()
	fmt.Fprintln(w)
	for _, f := range r.Figures() {
		fmt.Fprintf(t, "%s\t%s\n", f.Name, report.Shown(f.Value, f.Unit))
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
