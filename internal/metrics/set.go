package metrics

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Set is all that one gateway exports. What is not counted on a loop is here.
type Set struct {
	Rooms          Gauge   // logs held
	LogBytes       Gauge   // bytes of the chunks of all logs
	BrokerQueue    Gauge   // publications the broker has taken and not stored
	BrokerRefused  Counter // publications refused because that queue was full
	RequestQueue   Gauge   // history reads waiting for the broker
	RequestRefused Counter
	Draining       Gauge // 1 from the moment a drain begins
	DrainRemaining Gauge // connections still to be sent away by a drain
	FleetGateways  Gauge // gateways alive, this one included
	FleetMean      Gauge // connections of a gateway that takes any, on average
	TLS            TLS
	Traces         Traces
	acceptErrors   [acceptErrors]Counter
	tokensRefused  [tokenRefusals]Counter
	jwksRefreshes  [jwksRefreshes]Counter
	configReloads  [configReloads]Counter
	limited        [limits]Counter // of calls that come on no loop
	ConnectionsMax Gauge           // limits.connections, 0: none
	WindowFrames   Gauge           // smallest window of a class that keeps all messages, 0: none
	MemoryUsed     Gauge           // bytes
	UserBudgets    Gauge           // users of whom something is counted for limits
	AddressBudgets Gauge           // addresses likewise
	configLoaded   Gauge           // Unix seconds
	EventStreams   Gauge           // rooms served as Server-Sent Events
	HTTPInFlight   Gauge           // calls of the HTTP API that are being answered
	httpRequests   [httpCalls][len(statusClasses)]Counter

	Users

	loops    []*Loop
	registry *prometheus.Registry
}

// NewSet returns the metrics of a gateway with these loops.
func NewSet(version string, loops []*Loop) *Set {
	s := &Set{loops: loops, registry: prometheus.NewRegistry()}
	goVersion := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fanfare_build_info", Help: "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": version, "go": goVersion},
	})
	build.Set(1)
	s.registry.MustRegister(s, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Loops is what the loops count, one for each.
func (s *Set) Loops() []*Loop { return s.loops }

// AcceptError counts a connection that could not be accepted.
func (s *Set) AcceptError(e AcceptError) { s.acceptErrors[e].Inc() }

// TokenRefused counts a token that does not verify.
func (s *Set) TokenRefused(r TokenRefusal) { s.tokensRefused[r].Inc() }

// JWKSRefresh counts an attempt to fetch the keys of an issuer.
func (s *Set) JWKSRefresh(r JWKSRefresh) { s.jwksRefreshes[r].Inc() }

// HTTPRequest counts a call of the HTTP API that was answered with a status.
func (s *Set) HTTPRequest(c HTTPCall, status int) { s.httpRequests[c][statusClass(status)].Inc() }

// ConfigLoaded says when the configuration was read and found good: at the start,
// and by each reload that did not fail.
func (s *Set) ConfigLoaded(at time.Time) { s.configLoaded.Set(at.Unix()) }

// ConfigReloaded counts a reload of the configuration.
func (s *Set) ConfigReloaded(r ConfigReload) { s.configReloads[r].Inc() }

// Limited counts a refusal, by a limit, of what came on no loop.
func (s *Set) Limited(by Limit) { s.limited[by].Inc() }

// Handler serves the metrics.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}
