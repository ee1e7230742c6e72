//lint:file-ignore SA1019 what files give to Grafana 11 is of this schema; the newer one that the SDK prefers is a resource of its API

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// schema is older than any Grafana since version 11, so that each brings it up to
// date itself; the SDK would name that of the newest.
const schema = 39

// tag is what the three have, and are linked by.
const tag = "fanfare"

// page is a dashboard.
type page struct {
	name  string // of its file, and in its address
	title string
	about string
	redis bool // has panels of redis_exporter's series
	rows  []row
}

type row struct {
	title  string
	panels []panel
}

var pages = []page{fleet, queues, relay}

// source is the data source that is chosen.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

func (p page) build() (dashboard.Dashboard, error) {
	b := dashboard.NewDashboardBuilder("Fanfare / "+p.title).
		Uid("fanfare-"+p.name).
		Description(p.about).
		Tags([]string{tag}).
		Time("now-30m", "now").
		Refresh("10s").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Fanfare").
			Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{tag}).KeepTime(true).IncludeVars(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(choice("namespace", "Namespace", "fanfare_connections", "namespace")).
		WithVariable(choice("gateway", "Gateway", `fanfare_connections{namespace=~"$namespace"}`, "instance"))
	if p.redis {
		b.WithVariable(choice("redis", "Redis", "redis_up", "instance"))
	}
	for _, a := range annotations {
		b.Annotation(a.build())
	}
	id := uint32(0)
	for _, r := range p.rows {
		id++
		b.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		for _, x := range r.panels {
			id++
			b.WithPanel(x.build(id, r.width(), r.height()))
		}
	}
	d, err := b.Build()
	d.SchemaVersion = schema
	return d, err
}

// width is that of the row's panels, of 24 columns: up to eight numbers beside each
// other, else three or four panels.
func (r row) width() uint32 {
	if n := uint32(len(r.panels)); r.panels[0].kind == number || n <= 4 {
		return 24 / n
	}
	return 8
}

// height is low for a row of nothing but numbers.
func (r row) height() uint32 {
	if r.panels[0].kind == number {
		return 4
	}
	return 8
}

// choice is a variable: values of a label, any number of them, or whatever there is.
// That is a pattern which fits a series without the label too: only Kubernetes has
// namespaces.
func choice(name, label, series, of string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).
		Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(" + series + ", " + of + ")")}).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc)
}

// annotation marks times in all panels: those at which its query is above 0, or those
// that the query's value says.
type annotation struct {
	name, colour    string
	expr            string
	valueIsTime     bool // in milliseconds
	titleOf, textOf string
}

var annotations = []annotation{
	{name: "Started", colour: "blue", valueIsTime: true,
		expr:    "1000 * process_start_time_seconds{} * on (namespace, job, instance) group_left (version) fanfare_build_info{}",
		titleOf: "{{instance}} started", textOf: "{{version}}"},
	{name: "Draining", colour: "orange", expr: "fanfare_draining{}",
		titleOf: "{{instance}} drains", textOf: "It sends its clients to the others, and ends."},
	{name: "Reloaded", colour: "purple", expr: `increase(fanfare_config_reloads_total{result="applied"}[1m])`,
		titleOf: "{{instance}} has another configuration", textOf: "Without a restart."},
	{name: "Reload failed", colour: "red", expr: `increase(fanfare_config_reloads_total{result="failed"}[1m])`,
		titleOf: "{{instance}} could not take over a configuration", textOf: "What was in force before still is; its log says what is wrong."},
}

func (a annotation) build() *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().Name(a.name).Datasource(source).Enable(true).Hide(false).IconColor(a.colour).
		Target(prometheus.NewDataqueryBuilder().Expr(expand(a.expr)).RefId("Anno").Range()).
		Expr(expand(a.expr)).Step("10s").UseValueForTime(a.valueIsTime).TitleFormat(a.titleOf).TextFormat(a.textOf)
}
