package faulttest

import (
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// report is the table that a run of the suite ends with.
type report struct {
	mu   sync.Mutex
	rows map[string]*row
}

// row is what all seeds of a fault came to.
type row struct {
	seeds, failed                                    int
	acked, deliveries, owed, losses, gaps, gapped    int
	resets, behind, refused, reconnects, memory, bad int
	tenures                                          int
	catchUp, slowest, agreed, took                   time.Duration
}

func (r *report) add(name string, x result, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = make(map[string]*row)
	}
	t := r.rows[name]
	if t == nil {
		t = &row{}
		r.rows[name] = t
	}
	t.seeds++
	if failed {
		t.failed++
	}
	t.acked += x.acked
	t.deliveries += x.deliveries
	t.owed += x.owed
	t.losses += x.losses
	t.gaps += x.gaps
	t.gapped += x.gapped
	t.resets += x.resets
	t.behind += x.behind
	t.refused += x.refused
	t.reconnects += x.reconnects
	t.bad += len(x.violations)
	t.memory = max(t.memory, x.memory)
	t.catchUp = max(t.catchUp, x.catchUp)
	t.slowest = max(t.slowest, x.slowest)
	t.tenures += x.tenures
	t.agreed = max(t.agreed, x.agreed)
	t.took += x.took
}

// table writes the rows in the order of the faults.
func (r *report) table(order []fault) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\tseeds\tfailed\tacked\tdeliveries\tchecked\tlost\tviolations\tgaps\tin gaps\tresets\tbehind resets\trefused\treconnects\tcaught up\tslowest answer\tnames taken\tlists true\tpeak MiB\ttime\t")
	for i := range order {
		t := r.rows[order[i].name]
		if t == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1fs\t%.1fs\t%d\t%.1fs\t%d\t%.0fs\t\n", order[i].name, t.seeds, t.failed,
			t.acked, t.deliveries, t.owed, t.losses, t.bad, t.gaps, t.gapped, t.resets, t.behind, t.refused, t.reconnects,
			t.catchUp.Seconds(), t.slowest.Seconds(), t.tenures, t.agreed.Seconds(), t.memory>>20, t.took.Seconds())
	}
	w.Flush()
	return b.String()
}
