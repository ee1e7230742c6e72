// Package latency keeps durations in HDR histograms: three digits, from one
// microsecond to ten minutes. A histogram is one goroutine's at a time; it goes
// into JSON in the encoding that all HdrHistogram libraries read, so that those
// of several machines can be merged and looked at with other tools.
package latency

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	digits  = 3
	longest = 10 * time.Minute
)

// Histogram counts durations. The zero value is empty and takes no memory to
// speak of until the first is recorded.
type Histogram struct {
	h *hdrhistogram.Histogram // in microseconds
}

// Record counts one duration. Below zero it counts as zero, above ten minutes as
// ten minutes.
func (h *Histogram) Record(d time.Duration) { h.RecordMany(d, 1) }

// RecordMany counts a duration n times.
func (h *Histogram) RecordMany(d time.Duration, n int64) {
	if h.h == nil {
		h.h = hdrhistogram.New(1, longest.Microseconds(), digits)
	}
	// In its bounds it has no error to report.
	_ = h.h.RecordValues(min(max(d, 0), longest).Microseconds(), n)
}

// Merge adds what another has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil || other.Count() == 0 {
		return
	}
	if h.h == nil {
		h.h = hdrhistogram.New(1, longest.Microseconds(), digits)
	}
	h.h.Merge(other.h)
}

// Reset forgets all.
func (h *Histogram) Reset() {
	if h.h != nil {
		h.h.Reset()
	}
}

// Clone returns a copy that shares nothing.
func (h *Histogram) Clone() Histogram {
	var c Histogram
	c.Merge(h)
	return c
}

// Count is how many durations it has counted.
func (h *Histogram) Count() int64 {
	if h.h == nil {
		return 0
	}
	return h.h.TotalCount()
}

// At returns the duration that the share q (0 to 1) of all do not exceed; 0
// where there is none.
func (h *Histogram) At(q float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtQuantile(q*100)) * time.Microsecond
}

// Max is the longest.
func (h *Histogram) Max() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.Max()) * time.Microsecond
}

// Mean is the average.
func (h *Histogram) Mean() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.Mean() * float64(time.Microsecond))
}

// summary is a histogram in JSON. HDR holds everything, in microseconds, as the
// compressed encoding V2 in base64; the rest is for who reads the file. Durations
// are in milliseconds.
type summary struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	HDR   string  `json:"hdr,omitempty"`
}

// MarshalJSON writes percentiles and, for merging, the whole histogram.
func (h Histogram) MarshalJSON() ([]byte, error) {
	s := summary{
		Count: h.Count(), Mean: Milliseconds(h.Mean()),
		P50: Milliseconds(h.At(0.5)), P90: Milliseconds(h.At(0.9)), P99: Milliseconds(h.At(0.99)),
		P999: Milliseconds(h.At(0.999)), Max: Milliseconds(h.Max()),
	}
	if s.Count > 0 {
		// With this version the library's encoding is base64 already.
		encoded, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("histogram: %w", err)
		}
		s.HDR = string(encoded)
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var s summary
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	h.h = nil
	if s.HDR == "" {
		return nil
	}
	if _, err := base64.StdEncoding.DecodeString(s.HDR); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	decoded, err := hdrhistogram.Decode([]byte(s.HDR))
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	h.h = hdrhistogram.New(1, longest.Microseconds(), digits)
	if dropped := h.h.Merge(decoded); dropped > 0 {
		return fmt.Errorf("histogram: %d values above %v", dropped, longest)
	}
	return nil
}

// Milliseconds is a duration as a number of them.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
