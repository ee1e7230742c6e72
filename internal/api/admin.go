package api

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/fanfare-ws/fanfare/internal/gateway"
)

// Checker says whether the gateway takes traffic, check by check.
type Checker interface{ Checks() []gateway.Check }

// Admin is what the admin port serves.
type Admin struct {
	Gateway Checker
	Metrics http.Handler
	Pprof   bool // serve /debug/pprof/ too
}

// Handler serves /healthz, /readyz, /metrics, the protocol's documents and, if
// asked to, /debug/pprof/.
func (a Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", a.Metrics)
	handleDocuments(mux)
	if a.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	return mux
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
// is not, why, and since when.
func (a Admin) ready(w http.ResponseWriter, _ *http.Request) {
	answer := readiness{Ready: true, Checks: a.Gateway.Checks()}
	status := http.StatusOK
	for _, c := range answer.Checks {
		if !c.OK {
			answer.Ready, status = false, http.StatusServiceUnavailable
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
