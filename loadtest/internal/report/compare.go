package report

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// noise is the change below which a figure counts as the same: what two runs of
// the same gateway on a quiet machine may differ by.
const noise = 0.05

// Compare writes the figures of two results beside each other, and by how much
// the second is better or worse.
func Compare(w io.Writer, a, b *result.Result) error {
	if a.Plan.Scenario != b.Plan.Scenario {
		fmt.Fprintf(w, "note: %s is compared with %s\n", a.Plan.Scenario, b.Plan.Scenario)
	} else if a.Plan.Description != b.Plan.Description {
		fmt.Fprintf(w, "note: %s, compared with %s\n", a.Plan.Description, b.Plan.Description)
	}
	if a.Machine != b.Machine {
		fmt.Fprintln(w, "note: the machines, or the generators, differ")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tA\tB\tB/A\t\t\n")
	other := make(map[string]result.Figure)
	for _, f := range b.Figures() {
		other[f.Name] = f
	}
	for _, f := range a.Figures() {
		g, ok := other[f.Name]
		if !ok {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", f.Name, Shown(f.Value, f.Unit), Shown(g.Value, g.Unit), ratio(f, g), change(f, g))
	}
	fmt.Fprintf(t, "promises broken\t%d\t%d\t\t\t\n", a.Counts.Broken(), b.Counts.Broken())
	fmt.Fprintf(t, "named by gaps\t%d\t%d\t\t\t\n", a.Counts.Gapped, b.Counts.Gapped)
	return t.Flush()
}

func ratio(a, b result.Figure) string {
	if a.Value == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", b.Value/a.Value)
}

// change says which way a figure went; nothing where it may be noise.
func change(a, b result.Figure) string {
	if a.Value == 0 || math.Abs(b.Value/a.Value-1) < noise {
		return ""
	}
	if (b.Value > a.Value) == a.Higher {
		return "better"
	}
	return "worse"
}
