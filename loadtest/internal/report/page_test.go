package report

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/latency"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// storm is a result that has everything a page can show.
func storm() *result.Result {
	common := plan.Defaults(20 * time.Second)
	common.Targets = []string{"ws://one:8080/ws?token=secret", "ws://two:8080"}
	r := &result.Result{
		Format: result.Format, Run: "abcd1234", Started: time.Unix(1_790_000_000, 0).UTC(),
		Plan:    (&plan.Storm{Common: common, Connections: 1000, Rooms: 10, Rate: 50, After: 5 * time.Second}).Plan(),
		Machine: result.Machine{System: "linux/amd64", Processors: 2, Go: "go1.26"},
	}
	r.Agents = 2
	r.Counts = account.Counts{Published: 1100, Acknowledged: 1099, Unanswered: 1, Delivered: 108_000, Gapped: 1000, BehindReset: 500, Unexplained: 500}
	r.Connections = result.Connections{Opened: 2001, Most: 1001, Back: 1000, Lost: 3}
	r.Closes, r.Errors = map[string]int{"close 1012": 3}, map[string]int{"handshake 503": 7}
	fill := func(h *latency.Histogram, around time.Duration, n int) {
		for i := range n {
			h.Record(around + around*time.Duration(i*i)/time.Duration(n*n)*8)
		}
	}
	fill(&r.Delivery, time.Millisecond, 100_000)
	fill(&r.Ack, 800*time.Microsecond, 1000)
	fill(&r.Connect, 3*time.Millisecond, 2000)
	fill(&r.Back, 100*time.Millisecond, 1000)
	fill(&r.CaughtUp, 120*time.Millisecond, 1000)
	r.Gateways = []result.Gateway{{ID: "gw-a", Members: 500, Delivery: r.Delivery.Clone()}, {ID: "gw-b", Members: 500, Delivery: r.Delivery.Clone()}}
	server := result.Server{Name: "gateway 0", PID: 1, Samples: []result.Usage{{Memory: 20 << 20}}}
	for i := range 22 {
		s := result.Sample{At: time.Duration(i+1) * time.Second, Published: 50, Delivered: 5000, Connections: 1001, CPU: 0.2, Lag: time.Millisecond}
		fill(&s.Latency, time.Millisecond, 500)
		if i == 5 {
			s.Latency, s.Connections, s.Delivered = latency.Histogram{}, 1, 0
		}
		r.Samples = append(r.Samples, s)
		server.Samples = append(server.Samples, result.Usage{At: s.At, User: 0.02 * float64(i), System: 0.1 * float64(i), Memory: int64(20+i) << 20, Descriptors: 1010})
	}
	server.From, server.Until = server.Samples[0], server.Samples[20]
	r.Servers = []result.Server{server}
	r.Window = result.Window{Seconds: 20, Delivered: 100_000, Published: 1000, User: 1, System: 2}
	r.Judge(result.Limits{P99: time.Millisecond, Gapped: -1, Errors: -1})
	return r
}

func page(t *testing.T, r *result.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := Page(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThePageNeedsNothingButItself(t *testing.T) {
	text := page(t, storm())
	for _, m := range regexp.MustCompile(`(?i)(?:src|href)\s*=|@import|url\(`).FindAllString(text, -1) {
		t.Errorf("the page refers to something else: %s", m)
	}
	for _, want := range []string{
		"Permission is hereby granted", "Leon Sorokin", "default-src &#39;none&#39;", "deliveries unexplained, neither made nor named by a gap or a reset: 500", "publications without an answer: 1",
		"p99 of delivery", "a promise was broken", "108,000", "close 1012", "handshake 503", "ws://one:8080/ws, ws://two:8080",
	} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.ReplaceAll(want, "&#39;", "'")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("the page tells a query string")
	}
}

func TestWhatANameSaysIsNoMarkup(t *testing.T) {
	r := storm()
	r.Plan.Description = `</script><b>x`
	r.Gateways[0].ID = `</script><script>alert(1)</script>`
	text := page(t, r)
	if strings.Contains(text, "</script><b>") || strings.Contains(text, "<script>alert") {
		t.Error("a name got into the page as it is")
	}
}

func TestAnEmptyResultHasAPage(t *testing.T) {
	common := plan.Defaults(time.Second)
	common.Targets = []string{"ws://one"}
	r := &result.Result{Format: result.Format, Plan: (&plan.Idle{Common: common, Connections: 1, Rooms: 1}).Plan()}
	r.Judge(result.Limits{})
	if text := page(t, r); !strings.Contains(text, "every message accounted for") {
		t.Error("the verdict is not on it")
	}
}

// The page is opened from a file, as people do: in both schemes, wide and on a
// phone. Everything is drawn, nothing is fetched, nothing is wrong and nothing
// sticks out.
func TestThePageDrawsEverythingInABrowser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(page(t, storm())), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := chromiumtest.Start(t)
	trouble := watch(t, ctx)
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"wide-light", 1200, 900, "light"}, {"wide-dark", 1200, 900, "dark"}, {"phone-light", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"},
	} {
		t.Run(look.name, func(t *testing.T) {
			features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}
			err := chromedp.Do(ctx,
				chromedp.EmulateViewport(look.width, look.height),
				chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
					_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
					return err
				}),
				chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
			if err != nil {
				t.Fatal(err)
			}
			state := judge(t, ctx)
			if state.Charts != 8 || state.Blank != 0 || state.Overflow > 0 || state.Scheme != look.scheme {
				t.Errorf("the page is %+v", state)
			}
			keep(t, ctx, look.name)
		})
	}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`document.getElementById("scheme").click()`)); err != nil {
		t.Fatal(err)
	}
	if state := judge(t, ctx); state.Scheme != "light" || state.Charts != 8 || state.Blank != 0 {
		t.Errorf("after the switch the page is %+v", state)
	}
	for _, line := range trouble() {
		t.Error(line)
	}
}

// state is what a page has come to.
type state struct {
	Charts, Blank, Overflow int
	Scheme                  string
}

func judge(t *testing.T, ctx context.Context) state {
	t.Helper()
	const script = `(() => {
		const blank = (c) => !new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer).some((p) => p);
		const canvases = [...document.querySelectorAll("#charts canvas")];
		return JSON.stringify({
			Charts: canvases.length, Blank: canvases.filter(blank).length,
			Overflow: document.documentElement.scrollWidth - innerWidth, Scheme: document.documentElement.dataset.scheme,
		});
	})()`
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
	if err != nil {
		t.Fatal(err)
	}
	var s state
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// keep takes a picture of the page (kept with go test -artifacts).
func keep(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

// watch collects what a page fetches, and what it complains of.
func watch(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	add := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}
	err := chromedp.Listen(ctx, func(e any) {
		switch e := e.(type) {
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "file://") {
				add("it fetches " + u)
			}
		case *runtime.EventExceptionThrown:
			add("it throws " + e.ExceptionDetails.Text + " " + describe(e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			add("it writes to the console")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	enable := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	})
	if err := chromedp.Do(ctx, enable); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return lines
	}
}

func describe(thrown *runtime.RemoteObject) string {
	if thrown == nil {
		return ""
	}
	return thrown.Description
}

func TestAComparisonSaysWhichWayAFigureWent(t *testing.T) {
	a, b := storm(), storm()
	b.Window.Delivered = 200_000
	b.Servers[0].Until.System *= 4
	b.Delivery = latency.Histogram{}
	b.Delivery.Record(time.Second)
	var out bytes.Buffer
	if err := Compare(&out, a, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`deliveries +5,000 /s +10,000 /s +2\.00 +better`, `delivery p50 +[\d.]+ ms +1\.00 s +[\d.,]+ +worse`,
		`gateway CPU per million deliveries .* worse`, `acknowledgement p50 +([\d.]+ ms) +([\d.]+ ms) +1\.00 *\n`, `promises broken +501 +501`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}
