package latency

import (
	"encoding/json"
	"testing"
	"time"
)

func filled(ds ...time.Duration) *Histogram {
	h := new(Histogram)
	for _, d := range ds {
		h.Record(d)
	}
	return h
}

func TestJSONKeepsEverything(t *testing.T) {
	h := filled(time.Microsecond, time.Millisecond, 40*time.Millisecond, 3*time.Second, time.Hour, -time.Second)
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Histogram
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for _, q := range []float64{0, 0.2, 0.5, 0.9, 1} {
		if got, want := back.At(q), h.At(q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if back.Count() != 6 {
		t.Errorf("count %d, want 6", back.Count())
	}
	if got := back.Max(); got < 599*time.Second || got > 601*time.Second {
		t.Errorf("an hour counts as %v, want ten minutes", got)
	}
}

func TestMergedHistogramsAreOne(t *testing.T) {
	a, b := filled(time.Millisecond, 2*time.Millisecond), filled(3*time.Millisecond, 100*time.Millisecond)
	all := filled(time.Millisecond, 2*time.Millisecond, 3*time.Millisecond, 100*time.Millisecond)
	var merged Histogram
	for _, h := range []*Histogram{a, nil, new(Histogram), b} {
		merged.Merge(h)
	}
	for _, q := range []float64{0.25, 0.5, 0.75, 1} {
		if got, want := merged.At(q), all.At(q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

func TestAnEmptyHistogramHasZeros(t *testing.T) {
	var h Histogram
	if h.At(0.99) != 0 || h.Max() != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Errorf("got %v %v %v %d", h.At(0.99), h.Max(), h.Mean(), h.Count())
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &h); err != nil || h.Count() != 0 {
		t.Errorf("back from JSON: %v, count %d", err, h.Count())
	}
}

func TestJunkIsNoHistogram(t *testing.T) {
	for _, text := range []string{`{"hdr":"%%%"}`, `{"hdr":"AAAA"}`, `[]`} {
		var h Histogram
		if err := json.Unmarshal([]byte(text), &h); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
