package api

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Checker says whether the gateway takes traffic, check by check.
type Checker interface{ Checks() []gateway.Check }

// Admin is what the admin port serves.
type Admin struct {
	Gateway Checker
	Calls   http.Handler // of /v1/
	Metrics http.Handler
	Pprof   bool // serve /debug/pprof/ too
}

// page is what is served to anyone who can reach the port.
type page struct {
	path   string
	answer http.HandlerFunc
}

func (a Admin) pages() []page {
	return []page{
		{"/healthz", alive},
		{"/readyz", a.ready},
		{"/metrics", a.Metrics.ServeHTTP},
		{"/openapi.yaml", openAPI},
		{"/asyncapi.yaml", document},
		{"/schemas/{name...}", document},
	}
}

// Handler serves the calls under /v1/, the pages, /debug/fleet, and, if asked to,
// /debug/pprof/.
func (a Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, p := range a.pages() {
		mux.HandleFunc("GET "+p.path, p.answer)
		mux.HandleFunc(p.path, onlyGet)
	}
	handleDebug(mux)
	if a.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	mux.HandleFunc("/", nowhere)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not the mux's: it makes other paths of those that have // and .. in them,
		// which names may have.
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			a.Calls.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func onlyGet(w http.ResponseWriter, _ *http.Request) {
	(&problem{status: http.StatusMethodNotAllowed, code: protocol.InvalidRequest, detail: "this path has no such method",
		header: "Allow", value: "GET, HEAD"}).write(w, "")
}

func nowhere(w http.ResponseWriter, _ *http.Request) {
	(&problem{status: http.StatusNotFound, code: protocol.InvalidRequest, detail: "there is nothing here"}).write(w, "")
}

// alive answers as long as the process does.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool            `json:"ready"`
	Checks []gateway.Check `json:"checks"`
}

// ready answers 200 while every check is passed, else 503; the body says which
// is not, why, and since when. Asked with ?unready=404 it says 404 in place of 503,
// which HAProxy takes for "no new connections, and leave those that there are": a
// gateway that drains, or waits for its broker, keeps its clients.
func (a Admin) ready(w http.ResponseWriter, r *http.Request) {
	answer := readiness{Ready: true, Checks: a.Gateway.Checks()}
	status, unready := http.StatusOK, http.StatusServiceUnavailable
	if r.URL.RawQuery == "unready=404" {
		unready = http.StatusNotFound
	}
	for _, c := range answer.Checks {
		if !c.OK {
			answer.Ready, status = false, unready
		}
	}
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
