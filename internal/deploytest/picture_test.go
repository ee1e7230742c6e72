package deploytest

import (
	"bytes"
	"encoding/json"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

// TestDashboardPictures draws what dashboards show of a fleet that is watched for as
// long as DEPLOYTEST_PICTURES says: make dashboard-pictures. One gateway is replaced, and
// Redis stands still for a while.
func TestDashboardPictures(t *testing.T) {
	lasts, err := time.ParseDuration(os.Getenv("DEPLOYTEST_PICTURES"))
	if err != nil {
		t.Skip("DEPLOYTEST_PICTURES says for how long, as 8m: make dashboard-pictures")
	}
	program(t, "chromium") // which is started in the end: a browser of tests lasts minutes
	f := newTopology(t)
	redis := f.redis()
	f.startGateways("FANFARE_HEARTBEAT_INTERVAL=5s", "FANFARE_HEARTBEAT_TIMEOUT=15s", "FANFARE_DRAIN_PERIOD=20s", "FANFARE_LIMITS_ADDRESS_CONNECTIONS=0", "FANFARE_LIMITS_CONNECTIONS=600")
	f.prometheus(f.named()...)
	from := time.Now()
	at := func(part float64) { <-time.After(time.Until(from.Add(time.Duration(part * float64(lasts))))) }
	f.load("--scale", "4", "--duration", lasts.String())
	at(0.35)
	f.gateways[1].signal(syscall.SIGTERM)
	<-f.gateways[1].ended
	f.gateways[1].start()
	at(0.6)
	redis.signal(syscall.SIGSTOP)
	<-time.After(8 * time.Second)
	redis.signal(syscall.SIGCONT)
	at(1)
	browser := chromiumtest.Start(t)
	const every = 5 * time.Second // as deploy/prometheus has it
	for _, b := range boards(t) {
		page := f.drawn(b, every, from.Add(2*every), from.Add(lasts))
		var png []byte
		var panels string
		err := chromedp.Do(browser, chromedp.EmulateViewport(1600, 900), chromedp.Navigate("file://"+page), chromedp.WaitVisible("body[data-drawn]"))
		if err == nil {
			panels, err = chromedp.Run(browser, chromedp.Evaluate[string]("document.body.dataset.drawn"))
		}
		if err == nil {
			png, err = chromedp.Run(browser, chromedp.FullScreenshot(100))
		}
		if err != nil {
			t.Fatalf("%s: %v", b.file, err)
		}
		if want := slices.DeleteFunc(slices.Clone(b.Panels), func(p boardPanel) bool { return p.Type == "row" }); panels != strconv.Itoa(len(want)) {
			t.Errorf("%s: %s panels were drawn, want %d", b.file, panels, len(want))
		}
		if err := os.WriteFile(filepath.Join(root, "deploy/grafana", b.file+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// picture is what the page draws.
type picture struct {
	Panels      []drawnPanel      `json:"panels"`
	Annotations []drawnAnnotation `json:"annotations"`
	Times       []float64         `json:"times"`
	From        int64             `json:"from"`
	To          int64             `json:"to"`
}

type drawnPanel struct {
	Type   string          `json:"type"`
	Title  string          `json:"title"`
	Grid   map[string]int  `json:"grid"`
	Unit   string          `json:"unit"`
	Max    float64         `json:"max"`
	Steps  json.RawMessage `json:"steps"`
	Series []drawnSeries   `json:"series"`
}

type drawnSeries struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"`
}

type drawnAnnotation struct {
	Colour string    `json:"colour"`
	Times  []float64 `json:"times"`
}

// drawn asks all that a dashboard does, and writes the page that draws it.
func (f *topology) drawn(b board, every time.Duration, from, to time.Time) (path string) {
	f.t.Helper()
	all := picture{From: from.Unix(), To: to.Unix()}
	for at := from.Unix(); at <= to.Unix(); at += int64(every.Seconds()) {
		all.Times = append(all.Times, float64(at))
	}
	everything := choices{".*", ".*", ".*"}
	for _, p := range b.Panels {
		d := drawnPanel{Type: p.Type, Title: p.Title, Grid: map[string]int{"x": p.GridPos.X, "y": p.GridPos.Y, "w": p.GridPos.W, "h": p.GridPos.H}, Steps: json.RawMessage("[]")}
		if p.Type != "row" {
			d.style(f.t, p)
		}
		for _, target := range p.Targets {
			answer, err := f.answer(question{b.file + ", " + p.Title, target.Expr, target.Instant}, everything, every, from, to)
			if err != nil {
				f.t.Fatal(err)
			}
			for _, s := range answer {
				d.Series = append(d.Series, drawnSeries{legend(target.LegendFormat, s.Metric), s.on(all.Times)})
			}
		}
		all.Panels = append(all.Panels, d)
	}
	for _, a := range b.Annotations.List {
		answer, err := f.answer(question{b.file + ", " + a.Name, a.Expr, false}, everything, every, from, to)
		if err != nil {
			f.t.Fatal(err)
		}
		all.Annotations = append(all.Annotations, drawnAnnotation{a.IconColor, marks(a, answer)})
	}
	return f.page(b, all)
}

// style is the part of Grafana's options that is drawn.
func (d *drawnPanel) style(t *testing.T, p boardPanel) {
	t.Helper()
	var defaults struct {
		Unit       string
		Max        float64
		Thresholds struct{ Steps json.RawMessage }
	}
	if err := json.Unmarshal(p.FieldConfig.Defaults, &defaults); err != nil {
		t.Fatalf("%s: %v", p.Title, err)
	}
	d.Unit, d.Max, d.Steps = defaults.Unit, defaults.Max, defaults.Thresholds.Steps
}

// on are a series' values at these times; an instant has one alone.
func (s series) on(times []float64) []*float64 {
	if s.Value != nil {
		return []*float64{&s.numbers[0]}
	}
	at := make(map[float64]*float64)
	for i := range s.times {
		at[s.times[i]] = &s.numbers[i]
	}
	values := make([]*float64, len(times))
	for i, t := range times {
		values[i] = at[t]
	}
	return values
}

var label = regexp.MustCompile(`{{(\w+)}}`)

// legend is a legendFormat of the labels that a series has.
func legend(format string, labels map[string]string) string {
	return label.ReplaceAllStringFunc(format, func(s string) string { return labels[label.FindStringSubmatch(s)[1]] })
}

// marks are the times at which an annotation begins.
func marks(a boardAnnotation, answer []series) []float64 {
	times := make(map[float64]bool)
	for _, s := range answer {
		before := 0.0
		for i, n := range s.numbers {
			if a.UseValueForTime {
				times[n/1000] = true
			} else if n > 0 && before == 0 {
				times[s.times[i]] = true
			}
			before = n
		}
	}
	return slices.Sorted(maps.Keys(times))
}

// page writes it. The lines are drawn by uPlot, which is what Grafana has.
func (f *topology) page(b board, all picture) string {
	f.t.Helper()
	made, err := template.New("page").Parse(read(f.t, "internal/deploytest/testdata/picture.html"))
	if err != nil {
		f.t.Fatal(err)
	}
	var page bytes.Buffer
	if err := made.Execute(&page, map[string]any{
		"Title": strings.TrimPrefix(b.Title, "Fanfare / "), "Picture": all,
		"UPlot":      template.JS(read(f.t, "loadtest/internal/report/uplot/uPlot.iife.min.js")),
		"UPlotStyle": template.CSS(read(f.t, "loadtest/internal/report/uplot/uPlot.min.css")),
	}); err != nil {
		f.t.Fatal(err)
	}
	path := filepath.Join(f.dir, b.file+".html")
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}
