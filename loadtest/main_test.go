package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/certtest"
	"github.com/fanfare-ws/fanfare/loadtest/internal/bar"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// TestMain lets the test binary be what the command starts of itself: an agent,
// or the floor's server; and what a test kills, a whole generator.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"agent", "floor", "fanout"}, os.Args[1]) {
		main()
		return
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if binary.folder != "" {
		_ = os.RemoveAll(binary.folder)
	}
	os.Exit(code)
}

// binary is the gateway's, built once.
var binary struct {
	once         sync.Once
	folder, path string
	err          error
}

func gatewayBinary(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.folder, binary.err = os.MkdirTemp("", "loadtest"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.folder, "fanfare")
		if out, err := exec.Command("go", "build", "-o", binary.path, "../cmd/fanfare").CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// run runs a command line and returns what it printed, and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return out.String(), 0
	}
	return out.String() + err.Error(), exitCode(err)
}

// load plays a scenario against a gateway that is started for it, and returns the
// result and the exit code.
func load(t *testing.T, args ...string) (*result.Result, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	args = append(args, "--start", gatewayBinary(t), "--quiet", "--out", file)
	out, code := run(t, args...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("exit code %d, no result: %v\n%s", code, err, out)
	}
	r, err := result.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return r, code
}

// Every scenario runs for a second or two against a real gateway, and finds
// nothing wrong with it.
func TestScenariosFindNothingWrongWithAGateway(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		check func(r *result.Result) error
	}{
		{"fanout", []string{"fanout", "--members", "50", "--rate", "50"}, func(r *result.Result) error {
			return want(r.Counts.Delivered == 50*r.Counts.Published && r.Delivery.Count() > 0 && r.Ack.Count() > 0, "deliveries")
		}},
		{"fanout, closed loop", []string{"fanout", "--members", "50", "--under-way", "8", "--acks=false", "--spin"}, func(r *result.Result) error {
			// Without acknowledgements nobody waits for what is under way at the end.
			missing := 50*r.Counts.Published - r.Counts.Delivered
			return want(missing <= 50*8 && r.Counts.Acknowledged == 0 && r.Counts.Published > 100, "deliveries")
		}},
		{"fanout, three processes", []string{"fanout", "--members", "50", "--rate", "50", "--processes", "3", "--publishers", "3"}, func(r *result.Result) error {
			return want(r.Agents == 3 && r.Counts.Delivered == 50*r.Counts.Published, "deliveries")
		}},
		{"rooms", []string{"rooms", "--rooms", "20", "--members", "3", "--rate", "200"}, func(r *result.Result) error {
			return want(r.Counts.Delivered == 3*r.Counts.Published && r.Connections.Most == 61, "deliveries")
		}},
		{"idle, pinged", []string{"idle", "--connections", "50", "--gateway-arg=--heartbeat-interval=300ms", "--gateway-arg=--heartbeat-timeout=600ms"}, func(r *result.Result) error {
			return want(r.Connections.Lost == 0 && r.Servers[0].From.Descriptors >= 50 && r.Servers[0].Metrics["fanfare_heartbeat_rtt_seconds_count"] > 50, "heartbeats")
		}},
		{"churn", []string{"churn", "--connects", "100", "--stay", "200ms"}, func(r *result.Result) error {
			return want(r.Connections.Arrivals > 150 && r.Connections.Opened > r.Connections.Arrivals && r.Connect.Count() > 0, "arrivals")
		}},
		{"storm", []string{"storm", "--connections", "60", "--rooms", "3", "--after", "200ms"}, func(r *result.Result) error {
			return want(r.Connections.Back == 60 && r.Back.Count() == 60 && r.CaughtUp.Count() == 60 && r.Counts.Unexplained == 0, "all back")
		}},
		// A window of a few messages, so that the stalled fall out of it within a second.
		{"slow", []string{"slow", "--members", "20", "--share", "0.2", "--rate", "200", "--payload", "60000", "--gateway-arg=--rooms", "--gateway-arg=[{match: '*', slow: {window_messages: 8}}]"}, func(r *result.Result) error {
			return want(r.Counts.Gapped > 0 && r.Counts.Delivered+r.Counts.Gapped == 20*r.Counts.Published, "gaps")
		}},
		{"mixed", []string{"mixed", "chat", "--scale", "0.1"}, func(r *result.Result) error {
			return want(r.Counts.Published > 0 && r.Connections.Arrivals > 0, "visitors")
		}},
		{"storm over TLS", append([]string{"storm", "--connections", "60", "--rooms", "3", "--after", "200ms"}, encrypted(t)...), func(r *result.Result) error {
			return want(r.Connections.Back == 60 && r.CaughtUp.Count() == 60 && r.Servers[0].Metrics["fanfare_tls_handshakes_total"] >= 60, "all back")
		}},
		{"fleet of one", []string{"fleet", "--members", "20"}, func(r *result.Result) error {
			return want(r.Counts.Delivered == 20*r.Counts.Published, "deliveries")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, code := load(t, append(tt.args, "--duration", "2s", "--warmup", "200ms")...)
			if code != 0 || !r.Verdict.OK {
				t.Errorf("exit code %d, %+v\n%+v", code, r.Verdict, r.Counts)
			}
			if err := tt.check(r); err != nil {
				t.Errorf("%v: counts %+v, connections %+v", err, r.Counts, r.Connections)
			}
			if s := r.Servers; len(s) != 1 || s[0].Until.CPU() <= s[0].From.CPU() || s[0].Until.Memory == 0 || len(s[0].Samples) < 2 {
				t.Errorf("the gateway's process: %+v", s)
			}
			if r.Servers[0].Metrics["fanfare_connections"] == 0 {
				t.Error("no metrics of the gateway")
			}
			if len(r.Samples) < 2 || r.Window.Seconds < 1.5 || r.Window.Seconds > 4 {
				t.Errorf("%d samples, window %+v", len(r.Samples), r.Window)
			}
		})
	}
}

// encrypted has a gateway speak TLS, and its clients trust it.
func encrypted(t *testing.T) []string {
	t.Helper()
	folder := t.TempDir()
	authority := certtest.NewAuthority()
	cert, key, err := certtest.WritePair(folder, authority.Sign(1, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.WriteCA(folder)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--gateway-arg=--tls-cert=" + cert, "--gateway-arg=--tls-key=" + key, "--ca-file", ca}
}

func TestAGatewayThatIsNotTrustedIsNotLoaded(t *testing.T) {
	args := slices.DeleteFunc(encrypted(t), func(a string) bool { return a == "--ca-file" || strings.HasSuffix(a, "ca.pem") })
	args = append([]string{"fanout", "--members", "5", "--quiet", "--connect-timeout", "2s", "--start", gatewayBinary(t)}, args...)
	if text, code := run(t, args...); code != 1 || !strings.Contains(text, "certificate signed by unknown authority") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

func want(ok bool, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s are not as they should be", what)
}

func TestAMissedLimitChangesTheExitCode(t *testing.T) {
	r, code := load(t, "fanout", "--members", "10", "--rate", "50", "--duration", "500ms", "--warmup", "100ms", "--max-p99", "1us")
	if code != 4 || len(r.Verdict.Missed) != 1 || !strings.HasPrefix(r.Verdict.Missed[0], "p99 of delivery") {
		t.Errorf("exit code %d, verdict %+v", code, r.Verdict)
	}
}

func TestAReportAndAComparisonComeFromResults(t *testing.T) {
	folder := t.TempDir()
	a, b, page := filepath.Join(folder, "a.json"), filepath.Join(folder, "b.json"), filepath.Join(folder, "page.html")
	for _, out := range []string{a, b} {
		if text, code := run(t, "fanout", "--start", gatewayBinary(t), "--members", "10", "--duration", "500ms", "--warmup", "100ms", "--quiet", "--out", out, "--report", page); code != 0 {
			t.Fatalf("exit code %d: %s", code, text)
		}
	}
	direct, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	drawn, code := run(t, "report", b)
	if code != 0 || drawn != string(direct) {
		t.Errorf("exit code %d; the page from the file (%d bytes) is not that of the run (%d)", code, len(drawn), len(direct))
	}
	text, code := run(t, "compare", a, b)
	if code != 0 || !strings.Contains(text, "delivery p99") || !strings.Contains(text, "gateway CPU per million deliveries") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestTheFloorIsMeasuredBesideAGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "floor.json")
	text, code := run(t, "floor", "--start", gatewayBinary(t), "--members", "40", "--rooms", "8", "--rounds", "2", "--round", "300ms", "--rate", "2000", "--out", file)
	if code == 2 && strings.Contains(text, "two processors") {
		t.Skip(text)
	}
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, text)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found floorResult
	if err := json.Unmarshal(written, &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Rows) != 5 {
		t.Fatalf("%d rows\n%s", len(found.Rows), text)
	}
	for _, row := range found.Rows {
		for _, scores := range [][2]any{{"floor", row.Floor}, {"gateway", row.Gateway}} {
			t.Logf("%s: %s: %+v", row.Name, scores[0], scores[1])
		}
		if len(row.Floor) != 2 || len(row.Gateway) != 2 || row.Floor[0].Deliveries < 500 || row.Gateway[0].Deliveries < 500 || row.Gateway[1].P99 <= 0 {
			t.Errorf("row %+v", row)
		}
	}
}

// A tenth of it, as long as it takes: what the numbers are is not judged, but each
// line has one, and all is written.
func TestTheBarIsMeasuredAndKept(t *testing.T) {
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if os.Getenv("LOADTEST_BAR") == "" {
		t.Skip("takes a minute and more: LOADTEST_BAR=1 runs it")
	}
	folder := t.TempDir()
	text, code := run(t, "bar", "--small", "--start", gatewayBinary(t), "--redis-server", redis, "--out", folder)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, text)
	}
	kept, err := os.ReadFile(filepath.Join(folder, "bar.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report bar.Report
	if err := json.Unmarshal(kept, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Lines) != 18 {
		t.Errorf("%d lines\n%s", len(report.Lines), text)
	}
	for _, l := range report.Lines {
		if l.Measured < 0 {
			t.Errorf("%s was not measured", l.What)
		}
	}
}

func TestWrongCommandLinesAreExplained(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("groups:\n  - name: a\n    conections: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"fanout", "--member", "5"}, "unknown flag: --member"},
		{[]string{"fanout", "now"}, `unknown command "now"`},
		{[]string{"fanout", "--members", "0"}, "groups[0].connections: want at least 1"},
		{[]string{"fanout", "--url", "tcp://x"}, `want ws://host:port or wss://host, not scheme "tcp"`},
		{[]string{"fanout", "--url", "wss://x", "--ca-file", bad}, "it takes PEM"},
		{[]string{"fanout", "--token-file", "/nowhere"}, "--token-file: open /nowhere"},
		{[]string{"fanout", "--processes", "2", "--agents", "a:1"}, "give one"},
		{[]string{"fanout", "--processes", "2", "--under-way", "4"}, "--under-way needs a single process"},
		{[]string{"mixed", bad}, "bad.yaml:3: conections: unknown field"},
		{[]string{"mixed", "chess"}, `there is no scenario "chess": want chat, prices, scores`},
		{[]string{"compare", "a.json"}, "accepts 2 arg(s)"},
		{[]string{"compare", bad, bad}, "not a result"},
		{[]string{"floor"}, "--start: want the gateway's binary"},
		{[]string{"bar"}, "--start: want the gateway's binary"},
		{[]string{"agent", "--listen", ":0"}, "without a --key-file only this machine's own addresses"},
	} {
		if text, code := run(t, tt.args...); code != 2 || !strings.Contains(text, tt.want) {
			t.Errorf("%v: exit code %d, %q; want %q", tt.args, code, text, tt.want)
		}
	}
}

func TestScenarioFilesThatComeWithItCanBePlayed(t *testing.T) {
	for _, name := range scenarioNames() {
		text, code := run(t, "mixed", "--show", name)
		if code != 0 || !strings.Contains(text, "groups:") {
			t.Errorf("%s: exit code %d\n%s", name, code, text)
		}
		// It must not come to playing, but to finding nobody there.
		text, code = run(t, "mixed", name, "--url", "ws://127.0.0.1:1", "--quiet", "--connect-timeout", "100ms", "--scale", "0.01")
		if code != 1 || !strings.Contains(text, "connection refused") {
			t.Errorf("%s: exit code %d, %s", name, code, text)
		}
	}
}

func TestHelpHelps(t *testing.T) {
	text, _ := run(t, "--help")
	for _, want := range []string{"fanout", "One room with many members", "mixed", "floor", "compare", "Exit codes"} {
		if !strings.Contains(text, want) {
			t.Errorf("the help lacks %q:\n%s", want, text)
		}
	}
	text, _ = run(t, "storm", "--help")
	for _, want := range []string{"--connections", "--max-caught-up", "--agents", "--report", "Examples:"} {
		if !strings.Contains(text, want) {
			t.Errorf("the help of storm lacks %q:\n%s", want, text)
		}
	}
}
