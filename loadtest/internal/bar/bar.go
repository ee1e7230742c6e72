package bar

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/floor"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// Report is one measurement of the whole bar.
type Report struct {
	Started time.Time      `json:"started"`
	Lasted  time.Duration  `json:"lasted_ns"`
	Machine result.Machine `json:"machine"`
	Load    string         `json:"load_before"` // /proc/loadavg's averages: a machine that is not quiet shows here
	Lines   []Line         `json:"lines"`
	Floor   *floor.Table   `json:"floor"`
}

// Line is one number and its bar.
type Line struct {
	What     string  `json:"what"`
	Measured float64 `json:"measured"`       // below 0: could not be
	Unit     string  `json:"unit,omitempty"` // none: a ratio to the floor
	Bar      float64 `json:"bar"`
	Least    bool    `json:"least,omitempty"` // the bar is a least, not a most
	Ratio    bool    `json:"ratio,omitempty"` // to the floor's, so that it can be drawn beside others
	Note     string  `json:"note,omitempty"`
}

// Held reports whether the bar is held.
func (l *Line) Held() bool {
	if l.Measured < 0 {
		return false
	}
	if l.Least {
		return l.Measured >= l.Bar
	}
	return l.Measured <= l.Bar
}

// Add adds lines.
func (r *Report) Add(lines []Line) {
	for _, l := range lines {
		if math.IsNaN(l.Measured) || math.IsInf(l.Measured, 0) {
			l.Measured = -1 // there was nothing to divide by
		}
		r.Lines = append(r.Lines, l)
	}
}

// Missed is how many lines are.
func (r *Report) Missed() (n int) {
	for i := range r.Lines {
		if !r.Lines[i].Held() {
			n++
		}
	}
	return n
}

func (l *Line) bar() string {
	if l.Least {
		return "≥ " + amount(l.Bar) + l.unit()
	}
	return "≤ " + amount(l.Bar) + l.unit()
}

func (l *Line) unit() string {
	if l.Unit == "" {
		return ""
	}
	return " " + l.Unit
}

// amount is a number with no more digits than it deserves.
func amount(v float64) string {
	switch {
	case v < 0:
		return "–"
	case math.Abs(v) >= 1000:
		return grouped(int64(math.Round(v)))
	case math.Abs(v) >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func grouped(n int64) string {
	digits := fmt.Sprint(n)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}

// Write writes the lines for people.
func (r *Report) Write(w io.Writer) error {
	revision := r.Machine.Revision
	if revision == "" {
		revision = "unknown"
	}
	fmt.Fprintf(w, "commit %s, %s, %d × %s, Linux %s, %s; load before: %s\n\n", revision, r.Started.UTC().Format("2006-01-02 15:04 MST"),
		r.Machine.Processors, r.Machine.Model, r.Machine.Kernel, r.Machine.Go, r.Load)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "\tmeasured\tbar\t\t")
	for i := range r.Lines {
		l := &r.Lines[i]
		verdict := "pass"
		if !l.Held() {
			verdict = "MISS"
		}
		fmt.Fprintf(tab, "%s\t%s%s\t%s\t%s\t%s\n", l.What, amount(l.Measured), l.unit(), l.bar(), verdict, l.Note)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d held; ratios are to the floor's, medians of %d interleaved rounds; measured in %v\n",
		len(r.Lines)-r.Missed(), len(r.Lines), r.Floor.Rounds, r.Lasted.Round(time.Second))
	return err
}
