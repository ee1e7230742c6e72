package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// mostMetrics bounds a page of metrics.
const mostMetrics = 16 << 20

// scrapeTimeout is how long a gateway may take to tell its metrics; loaded as it
// is, it may take a while.
const scrapeTimeout = 5 * time.Second

// page is the metrics of a gateway at one moment.
type page map[string]*dto.MetricFamily

// scrape reads a gateway's /metrics.
func scrape(ctx context.Context, url string) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s: %s", url, answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(answer.Body, mostMetrics))
	if err != nil {
		return nil, fmt.Errorf("metrics: %s: %w", url, err)
	}
	return families, nil
}

// usage is what the process collector tells. It does not tell user and system
// time apart: all of it is given as user time.
func (p page) usage() result.Usage {
	return result.Usage{
		User:        p.value("process_cpu_seconds_total"),
		Memory:      int64(p.value("process_resident_memory_bytes")),
		Descriptors: int(p.value("process_open_fds")),
	}
}

func (p page) value(name string) float64 {
	f := p[name]
	if f == nil || len(f.Metric) == 0 {
		return 0
	}
	return number(f.Metric[0])
}

func number(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Untyped != nil:
		return m.Untyped.GetValue()
	}
	return 0
}

// ours is how the names of a gateway's own series begin.
const ours = "fanfare_"

// grown is what the counters, and the counts and sums of histograms, grew by from
// one page to a later one, and the gauges of the later; of the gateway's own
// series, by name and labels.
func grown(before, after page) map[string]float64 {
	was := before.flat()
	all := make(map[string]float64)
	for key, v := range after.flat() {
		if v.counter {
			v.value -= was[key].value
		}
		if v.value != 0 {
			all[key] = v.value
		}
	}
	return all
}

type sample struct {
	value   float64
	counter bool
}

// flat is every series of the gateway's own with its value.
func (p page) flat() map[string]sample {
	all := make(map[string]sample)
	for name, family := range p {
		if len(name) < len(ours) || name[:len(ours)] != ours {
			continue
		}
		for _, m := range family.Metric {
			labels := labelText(m)
			if h := m.Histogram; h != nil {
				all[name+"_count"+labels] = sample{float64(h.GetSampleCount()), true}
				all[name+"_sum"+labels] = sample{h.GetSampleSum(), true}
				continue
			}
			all[name+labels] = sample{number(m), m.Counter != nil}
		}
	}
	return all
}

func labelText(m *dto.Metric) string {
	text := ""
	for _, l := range m.Label {
		if text != "" {
			text += ","
		}
		text += l.GetName() + "=" + l.GetValue()
	}
	if text == "" {
		return ""
	}
	return "{" + text + "}"
}
