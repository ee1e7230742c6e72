package metrics

import "sync/atomic"

// Layout is what all histograms of one series share: the upper bounds of the
// buckets in the integer unit that is observed, and how many of that unit make
// one of the unit exported.
type Layout struct {
	bounds []uint64
	scale  float64
}

// Durations are observed in nanoseconds and exported in seconds.
func durations(bounds ...float64) *Layout {
	l := &Layout{scale: 1e9}
	for _, b := range bounds {
		l.bounds = append(l.bounds, uint64(b*1e9))
	}
	return l
}

func counts(bounds ...uint64) *Layout { return &Layout{bounds: bounds, scale: 1} }

var (
	batchFrames   = counts(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
	depthFrames   = counts(0, 1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
	depthBytes    = counts(0, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 512<<10, 1<<20, 4<<20)
	latencies     = durations(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	turnDurations = durations(.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1)
)

// Histogram counts observations in buckets. One goroutine observes, any reads.
type Histogram struct {
	layout *Layout
	counts []atomic.Uint64 // one more than bounds: the last is +Inf
	sum    atomic.Uint64
}

func newHistogram(l *Layout) Histogram {
	return Histogram{layout: l, counts: make([]atomic.Uint64, len(l.bounds)+1)}
}

// Observe counts v, in the layout's integer unit (nanoseconds, frames, bytes).
func (h *Histogram) Observe(v uint64) {
	i := 0
	for i < len(h.layout.bounds) && v > h.layout.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(v)
}

// snapshot is the sum of several histograms of one layout, as Prometheus wants
// it: cumulative counts by upper bound.
type snapshot struct {
	count   uint64
	sum     float64
	buckets map[float64]uint64
}

func sumHistograms(l *Layout, hs []*Histogram) snapshot {
	s := snapshot{buckets: make(map[float64]uint64, len(l.bounds))}
	for i := range len(l.bounds) + 1 {
		for _, h := range hs {
			s.count += h.counts[i].Load()
		}
		if i < len(l.bounds) {
			s.buckets[float64(l.bounds[i])/l.scale] = s.count
		}
	}
	for _, h := range hs {
		s.sum += float64(h.sum.Load()) / l.scale
	}
	return s
}
