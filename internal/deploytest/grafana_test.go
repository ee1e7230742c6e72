package deploytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// board is of a dashboard what is asked, and how it is drawn.
type board struct {
	file        string
	Title       string
	Tags        []string
	Refresh     string
	Time        struct{ From, To string }
	Panels      []boardPanel
	Templating  struct{ List []boardVariable }
	Annotations struct{ List []boardAnnotation }
	Links       []struct {
		Type                  string
		KeepTime, IncludeVars bool
		Tags                  []string
	}
}

type boardPanel struct {
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []boardTarget
	FieldConfig              struct{ Defaults json.RawMessage }
	Options                  json.RawMessage
}

type boardTarget struct {
	Expr, LegendFormat string
	Instant            bool
}

type boardVariable struct{ Name, Type, Query string }

type boardAnnotation struct {
	Name, Expr, IconColor string
	UseValueForTime       bool
}

// boards are the dashboards, as Grafana gets them.
func boards(t *testing.T) (all []board) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/grafana/dashboards/*.json"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b := board{file: strings.TrimSuffix(filepath.Base(file), ".json")}
		if err := json.Unmarshal([]byte(read(t, "deploy/grafana/dashboards/"+b.file+".json")), &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, b)
	}
	return all
}

// question is a query of a dashboard.
type question struct {
	where   string
	expr    string
	instant bool
}

func (b board) questions() (all []question) {
	for _, p := range b.Panels {
		for i, target := range p.Targets {
			all = append(all, question{fmt.Sprintf("%s, %q, query %d", b.file, p.Title, i+1), target.Expr, target.Instant})
		}
	}
	for _, a := range b.Annotations.List {
		all = append(all, question{fmt.Sprintf("%s, annotation %q", b.file, a.Name), a.Expr, false})
	}
	return all
}

// names are those of series, in a query.
var names = regexp.MustCompile(`\b(?:fanfare|process|redis)_\w+`)

// A misspelt name is an empty panel. Those of gateways are known without starting one.
func TestDashboardsAskForWhatGatewaysExport(t *testing.T) {
	exported := exportedSeries(t)
	for _, b := range boards(t) {
		for _, q := range b.questions() {
			for _, name := range names.FindAllString(q.expr, -1) {
				if strings.HasPrefix(name, "fanfare_") && !exported[regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(name, "")] {
					t.Errorf("%s asks for %s, which no gateway has", q.where, name)
				}
			}
		}
	}
}

// Each is linked to all that have its tag. Whoever follows a link keeps the time and
// the choices, which the others have by the same names.
func TestDashboardsAreLinked(t *testing.T) {
	for _, b := range boards(t) {
		if len(b.Links) != 1 || b.Links[0].Type != "dashboards" || !b.Links[0].KeepTime || !b.Links[0].IncludeVars || !slices.Equal(b.Links[0].Tags, []string{"fanfare"}) || !slices.Contains(b.Tags, "fanfare") {
			t.Errorf("%s: %+v, tags %q", b.file, b.Links, b.Tags)
		}
		var variables []string
		for _, v := range b.Templating.List {
			variables = append(variables, v.Name)
		}
		if !slices.Equal(variables[:3], []string{"datasource", "namespace", "gateway"}) {
			t.Errorf("%s has the variables %q", b.file, variables)
		}
		if b.Time.From != "now-30m" || b.Refresh != "10s" {
			t.Errorf("%s shows %s, and again every %s", b.file, b.Time.From, b.Refresh)
		}
	}
}

// What docker-compose.yml mounts is where Grafana is told to look, and its data source
// is the Prometheus beside it, with that one's interval.
func TestGrafanaIsProvisioned(t *testing.T) {
	var provider struct {
		Providers []struct{ Options struct{ Path string } }
	}
	unmarshal(t, "deploy/grafana/provisioning/dashboards/fanfare.yml", &provider)
	var source struct {
		Datasources []struct {
			Type, URL string
			JSONData  struct {
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	unmarshal(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &source)
	var scraped struct {
		Global struct {
			Interval string `yaml:"scrape_interval"`
		}
	}
	unmarshal(t, "deploy/prometheus/prometheus.yml", &scraped)
	p, mounted := loadCompose(t), make(map[string]string)
	for _, v := range p.Services["grafana"].Volumes {
		mounted[v.Target] = v.Source
	}
	if from := mounted[provider.Providers[0].Options.Path]; !strings.HasSuffix(from, "/deploy/grafana/dashboards") {
		t.Errorf("where Grafana looks for dashboards there is %q", from)
	}
	if from := mounted["/etc/grafana/provisioning"]; !strings.HasSuffix(from, "/deploy/grafana/provisioning") {
		t.Errorf("Grafana is provisioned by %q", from)
	}
	s := source.Datasources[0]
	if _, there := p.Services["prometheus"]; !there || s.Type != "prometheus" || s.URL != "http://prometheus:9090" || s.JSONData.TimeInterval != scraped.Global.Interval {
		t.Errorf("the data source is %+v, scraped is every %s", s, scraped.Global.Interval)
	}
}

// What stands for Grafana's variables: everything, as it is chosen at first; and one
// gateway in a namespace of Kubernetes.
type choices struct{ namespace, gateway, redis string }

// asGrafana replaces variables as Grafana does. every is the interval of scrapes, of
// which $__rate_interval is four.
func (c choices) asGrafana(expr string, every, shown time.Duration) string {
	return strings.NewReplacer("$__rate_interval", (4 * every).String(), "$__range", shown.String(),
		"$namespace", c.namespace, "$gateway", c.gateway, "$redis", c.redis).Replace(expr)
}

// Every query of every dashboard has an answer from the Prometheus that
// docker-compose.yml starts, of a fleet that has something to do.
func TestDashboardsHaveAnswers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redis-server", "prometheus", "prometheus-redis-exporter"} {
		program(t, name)
	}
	f := newTopology(t)
	f.redis()
	f.startGateways()
	// Every second, so that the test is short; and once more as in Kubernetes.
	const every = time.Second
	own := f.named("kubernetes", "namespace: live, pod: some, service: fanfare")
	f.prometheus(append(own, "scrape_interval: 5s", "scrape_interval: "+every.String())...)
	begun := time.Now()
	f.load("--duration", "10m")

	all := choices{".*", ".*", ".*"}
	one := choices{"live", escaped("gateway2:9090"), escaped("redis-exporter:9121")}
	there := make(map[string]bool)
	for _, b := range boards(t) {
		for _, c := range []choices{all, one} {
			f.answersAll(b.questions(), c, every, begun)
		}
		for _, q := range b.questions() {
			for _, name := range names.FindAllString(q.expr, -1) {
				there[name] = true
			}
		}
		f.choosable(b)
	}
	f.scraped(there)
	t.Logf("all have answers after %v", time.Since(begun).Round(time.Second))
}

// escaped is a value that was chosen, as Grafana puts it into a pattern in a query.
func escaped(value string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`)
}

// answersAll waits until each question has its answer.
func (f *topology) answersAll(open []question, c choices, every time.Duration, from time.Time) {
	f.t.Helper()
	eventually(f.t, "every query has an answer", func() error {
		var without []question
		var errs []error
		for _, q := range open {
			if _, err := f.answer(q, c, every, from, time.Now()); err != nil {
				without, errs = append(without, q), append(errs, fmt.Errorf("%s: %w", q.where, err))
			}
		}
		open = without
		return errors.Join(errs...)
	})
}

// named are replacements in deploy/prometheus/prometheus.yml, by which instance is what
// it is in the compose network. With a job's name and labels, gateways are scraped once
// more under those.
func (f *topology) named(job ...string) []string {
	target := func(place, labels string) string {
		return fmt.Sprintf("\n      - { targets: [%q], labels: { instance: %q%s } }", f.at[place], place, labels)
	}
	const gateways, exporter = `
      - targets: ["gateway1:9090", "gateway2:9090", "gateway3:9090"]`, `
      - targets: ["redis-exporter:9121"]`
	var once, again string
	for i := 1; i <= 3; i++ {
		place := fmt.Sprintf("gateway%d:9090", i)
		once += target(place, "")
		if len(job) > 0 {
			again += target(place, ", "+job[1])
		}
	}
	if len(job) > 0 {
		once += "\n  - job_name: " + job[0] + "\n    static_configs:" + again
	}
	return []string{gateways, once, exporter, target("redis-exporter:9121", "")}
}

// load starts the load generator.
func (f *topology) load(args ...string) *process {
	f.t.Helper()
	var gateways, metrics []string
	for _, g := range f.gateways {
		gateways = append(gateways, "ws://"+f.at[g.name+":8080"])
		metrics = append(metrics, "http://"+f.at[g.name+":9090"]+"/metrics")
	}
	p := newProcess(f.t, "loadtest", nil, append([]string{build(f.t, "./loadtest"), "mixed", "testdata/dashboards.yaml", "--quiet",
		"--gateways", strings.Join(gateways, ","), "--metrics", strings.Join(metrics, ",")}, args...)...)
	p.start()
	return p
}

// answer is what Prometheus says to a query. Nothing is an error, and what is no
// number: a panel shows neither.
func (f *topology) answer(q question, c choices, every time.Duration, from, to time.Time) ([]series, error) {
	expr := c.asGrafana(q.expr, every, max(to.Sub(from).Round(time.Second), 5*every))
	path := fmt.Sprintf("/api/v1/query?query=%s&time=%d", url.QueryEscape(expr), to.Unix())
	if !q.instant {
		path = fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=%v", url.QueryEscape(expr), from.Unix(), to.Unix(), every.Seconds())
	}
	var said struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := f.ask(path, &said); err != nil {
		return nil, err
	}
	if said.Status != "success" || strings.Contains(expr, "$") {
		f.t.Fatalf("%s: %s: %s", q.where, expr, said.Error)
	}
	if len(said.Data.Result) == 0 {
		return nil, fmt.Errorf("%s: nothing", expr)
	}
	for i := range said.Data.Result {
		if err := said.Data.Result[i].read(); err != nil {
			return nil, fmt.Errorf("%s: %w", expr, err)
		}
	}
	return said.Data.Result, nil
}

// series is a line of an answer.
type series struct {
	Metric map[string]string
	Value  []any   // of an instant
	Values [][]any // over time

	times, numbers []float64
}

func (s *series) read() error {
	if s.Value != nil {
		s.Values = [][]any{s.Value}
	}
	for _, pair := range s.Values {
		at, _ := pair[0].(float64)
		text, _ := pair[1].(string)
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%v of %v", text, s.Metric)
		}
		s.times, s.numbers = append(s.times, at), append(s.numbers, n)
	}
	return nil
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// choosable: the variables of a dashboard have something to choose from.
func (f *topology) choosable(b board) {
	f.t.Helper()
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Query)
		if m == nil {
			f.t.Errorf("%s, variable %s: %q", b.file, v.Name, v.Query)
			continue
		}
		var said struct{ Data []string }
		err := f.ask("/api/v1/label/"+m[2]+"/values?match[]="+url.QueryEscape(choices{namespace: ".*"}.asGrafana(m[1], 0, 0)), &said)
		if err != nil || len(said.Data) == 0 {
			f.t.Errorf("%s, variable %s: %q (%v)", b.file, v.Name, said.Data, err)
		}
	}
}

// scraped: series of these names are. An empty one may hide in a query that has
// something else to show.
func (f *topology) scraped(wanted map[string]bool) {
	f.t.Helper()
	var said struct{ Data []string }
	if err := f.ask("/api/v1/label/__name__/values", &said); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range said.Data {
		delete(wanted, name)
	}
	for name := range wanted {
		f.t.Errorf("a dashboard asks for %s, which nothing exports", name)
	}
}
