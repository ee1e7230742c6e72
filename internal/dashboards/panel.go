package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

type kind int

const (
	lines  kind = iota // over time
	number             // now, on a background of its colour, before how it went
	bars               // what stood out in all of the time that is shown
)

// panel says what is drawn, and what to do about it.
type panel struct {
	title   string
	kind    kind
	shows   string
	todo    string // where it is red; where it has no bound, where it is not as usual
	alert   string // of deploy/prometheus/alerts.yml, about the same
	unit    string
	bound   bound
	most    float64 // of the axis, where it has an end
	queries []query
}

// bound is from where a value is looked at, and from where it is red.
type bound struct {
	orange, red float64
	below       bool // it is when it is lower
}

type query struct{ expr, legend string }

func (p panel) build(id, width, height uint32) cog.Builder[dashboard.Panel] {
	switch p.kind {
	case number:
		return p.number(id, width, height)
	case bars:
		return p.bars(id, width, height)
	}
	return p.lines(id, width, height)
}

func (p panel) lines(id, width, height uint32) cog.Builder[dashboard.Panel] {
	b := timeseries.NewPanelBuilder().Id(id).Span(width).Height(height).Datasource(source).
		Title(p.title).Description(p.description()).Unit(p.unit).Min(0).
		Thresholds(p.thresholds()).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		FillOpacity(8).ShowPoints(common.VisibilityModeNever).SpanNulls(common.BoolOrFloat64{Bool: cog.ToPtr(false)})
	if p.bound != (bound{}) {
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.most > 0 {
		b.Max(p.most)
	}
	for i, q := range p.queries {
		b.WithTarget(q.over(i))
	}
	return b
}

func (p panel) number(id, width, height uint32) cog.Builder[dashboard.Panel] {
	b := stat.NewPanelBuilder().Id(id).Span(width).Height(height).Datasource(source).
		Title(p.title).Description(p.description()).Unit(p.unit).
		Thresholds(p.thresholds()).ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		ColorMode(common.BigValueColorModeNone).GraphMode(common.BigValueGraphModeArea).TextMode(common.BigValueTextModeValue).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	if p.bound != (bound{}) {
		b.ColorMode(common.BigValueColorModeBackground)
	}
	if len(p.queries) > 1 {
		b.TextMode(common.BigValueTextModeValueAndName)
	}
	for i, q := range p.queries {
		b.WithTarget(q.over(i))
	}
	return b
}

func (p panel) bars(id, width, height uint32) cog.Builder[dashboard.Panel] {
	b := bargauge.NewPanelBuilder().Id(id).Span(width).Height(height).Datasource(source).
		Title(p.title).Description(p.description()).Unit(p.unit).Min(0).Decimals(0).
		Thresholds(p.thresholds()).ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdContinuousBlues)).
		Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).ShowUnfilled(false).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	for i, q := range p.queries {
		b.WithTarget(q.target(i).Instant())
	}
	return b
}

func (q query) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source).Expr(expand(q.expr)).LegendFormat(q.legend)
}

func (q query) over(i int) *prometheus.DataqueryBuilder { return q.target(i).Range() }

// description is what stands behind the panel's (i).
func (p panel) description() string {
	when := "If it is not as usual"
	if p.bound != (bound{}) {
		when = "If it is red"
	}
	text := fmt.Sprintf("%s\n\n**%s:** %s", p.shows, when, p.todo)
	if p.alert != "" {
		text += fmt.Sprintf("\n\nAlert: `%s`, explained in deploy/README.md.", p.alert)
	}
	return text
}

// thresholds are Grafana's colours: each from a value on.
func (p panel) thresholds() *dashboard.ThresholdsConfigBuilder {
	steps := []dashboard.Threshold{{Color: "green"}}
	at := func(value float64, colour string) {
		steps = append(steps, dashboard.Threshold{Value: &value, Color: colour})
	}
	switch b := p.bound; {
	case b == bound{}:
	case b.below:
		steps[0].Color = "red"
		at(b.red, "orange")
		at(b.orange, "green")
	default:
		at(b.orange, "orange")
		at(b.red, "red")
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

// chosen are the gateways that are.
const chosen = `namespace=~"$namespace",instance=~"$gateway"`

// expand makes a query of what is written short; see the package's doc.
func expand(short string) string {
	return strings.NewReplacer("{redis}", `{instance=~"$redis"}`, "{}", "{"+chosen+"}", "{", "{"+chosen+",", "[R]", "[$__rate_interval]").Replace(short)
}

// quantile is one of a histogram, over the fleet or of each value of a label. What
// nothing was observed of has none, and is left out: it would be NaN.
func quantile(q, metric string, by ...string) string {
	labels := strings.Join(append([]string{"le"}, by...), ", ")
	return fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%s_bucket{}[R]))) >= 0", q, labels, metric)
}

// share is a part of a whole, both sums; of nothing it is otherwise.
func share(part, whole, otherwise string) string {
	return fmt.Sprintf("%s / (%s > 0) or %s + 0 * %s", part, whole, otherwise, whole)
}

// perGateway restricts series of any process to those of gateways.
func perGateway(expr string) string {
	return expr + " and on (namespace, job, instance) fanfare_connections{}"
}

// most are the largest of a counter's growth by some labels, in the time shown; where
// nothing grew, one of them.
func most(counter, by string) []query {
	legend := "{{" + strings.Join(strings.Split(by, ", "), "}}: {{") + "}}"
	grown := fmt.Sprintf("sum by (%s) (increase(%s[$__range]))", by, counter)
	return []query{{fmt.Sprintf("topk(8, %s > 0) or topk(1, %s)", grown, grown), legend}}
}
