package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func TestMain(m *testing.M) {
	if os.Getenv(floorVariable) != "" {
		floor()
	}
	goleak.VerifyTestMain(m)
}

// checks is a gateway whose checks a test says.
type checks []gateway.Check

func (c checks) Checks() []gateway.Check { return c }

func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func admin(pprof bool, c ...gateway.Check) http.Handler {
	return Admin{Gateway: checks(c), Metrics: metrics.NewSet("test", metrics.NewLoops(1)).Handler(), Pprof: pprof}.Handler()
}

func TestHealthIsBeingAlive(t *testing.T) {
	w := ask(admin(false, gateway.Check{Name: "broker"}), "GET", "/healthz")
	if w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"status":"alive"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestReadinessSaysWhichCheckFailsAndSinceWhen(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good := gateway.Check{Name: "accepting", OK: true, Since: since}
	bad := gateway.Check{Name: "broker", Error: "it is away", Since: since}
	for _, test := range []struct {
		checks []gateway.Check
		status int
		body   string
	}{
		{[]gateway.Check{good}, 200, `{"ready":true,"checks":[{"name":"accepting","ok":true,"since":"2026-01-02T03:04:05Z"}]}`},
		{[]gateway.Check{good, bad}, 503, `{"ready":false,"checks":[{"name":"accepting","ok":true,"since":"2026-01-02T03:04:05Z"},` +
			`{"name":"broker","ok":false,"error":"it is away","since":"2026-01-02T03:04:05Z"}]}`},
		{[]gateway.Check{bad, good}, 503, ``},
	} {
		w := ask(admin(false, test.checks...), "GET", "/readyz")
		if w.Code != test.status || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%+v: %d %v", test.checks, w.Code, w.Header())
		}
		if got := strings.TrimSpace(w.Body.String()); test.body != "" && got != test.body {
			t.Errorf("body %s\nwant %s", got, test.body)
		}
	}
}

// HAProxy takes 404 for a server that gets nobody new and keeps whom it has.
func TestAnUnreadyGatewayIs404ForWhoAsksSo(t *testing.T) {
	for path, want := range map[string][2]int{"/readyz?unready=404": {200, 404}, "/readyz?unready=200": {200, 503}, "/readyz?unready": {200, 503}} {
		for i, ok := range []bool{true, false} {
			w := ask(admin(false, gateway.Check{Name: "broker", OK: ok}), "GET", path)
			if w.Code != want[i] || !strings.Contains(w.Body.String(), fmt.Sprintf(`{"ready":%t,`, ok)) {
				t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want[i])
			}
		}
	}
}

func TestMetricsAreServed(t *testing.T) {
	w := ask(admin(false), "GET", "/metrics")
	for _, name := range []string{"fanfare_connections 0", "fanfare_build_info{", "go_goroutines "} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), name) {
			t.Errorf("%d, and no %q", w.Code, name)
		}
	}
}

func TestPprofIsOnlyBehindItsFlag(t *testing.T) {
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		if w := ask(admin(false), "GET", path); w.Code != 404 {
			t.Errorf("%s without the flag: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/symbol"} {
		if w := ask(admin(true), "GET", path); w.Code != 200 {
			t.Errorf("%s with the flag: %d", path, w.Code)
		}
	}
}

func TestOtherMethodsAndPathsAreRefused(t *testing.T) {
	h := admin(true)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml"} {
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if w := ask(h, method, path); w.Code != 405 || !strings.Contains(w.Header().Get("Allow"), "GET") {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
		if w := ask(h, "HEAD", path); w.Code != 200 {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/", "/healthz/", "/nope"} {
		if w := ask(h, "GET", path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestThePublicPortServesThePageAndAsksForAWebSocket(t *testing.T) {
	h := Public(false)
	if w := ask(h, "GET", "/"); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("/: %d %v", w.Code, w.Header())
	}
	if w := ask(h, "GET", "/fanfare.js"); w.Code != 200 || !strings.Contains(w.Header().Get("Content-Type"), "javascript") {
		t.Errorf("/fanfare.js: %d %v", w.Code, w.Header())
	}
	if w := ask(h, "GET", "/echo"); w.Code != 404 {
		t.Errorf("/echo, which is off: %d", w.Code)
	}
	for _, path := range []string{"/ws", "/echo"} {
		w := ask(Public(true), "GET", path)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 426 || body.Error.Code != "upgrade_required" ||
			w.Header().Get("Upgrade") != "websocket" || w.Header().Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/"} {
		if w := ask(h, "GET", path); w.Code != 404 {
			t.Errorf("%s on the public port: %d", path, w.Code)
		}
	}
}
