package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Relay is what a gateway counts of its way through Redis. Any goroutine may count
// and read. It is a collector of its own: AddRelay exports it with a Set.
type Relay struct {
	Published     Counter // messages that Redis stored and published
	Received      Counter // messages that came over a subscription
	Dropped       Counter // received messages that an inbox had no room for
	Junk          Counter // what came over a channel or lay in a key and was not ours
	Gaps          [gapOutcomes]Counter
	Resumes       [resumeResults]Counter
	Subscriptions Gauge     // rooms that Redis confirmed
	Lag           Histogram // nanoseconds from a probe's publication to its arrival
	reconnects    [reconnectReasons]Counter
	commands      [redisCommands]Histogram
	failures      [redisCommands]Counter
	probeAge      atomic.Pointer[func() time.Duration]
}

// NewRelay returns a Relay with all at zero.
func NewRelay() *Relay {
	r := &Relay{Lag: newHistogram(latencies)}
	for i := range r.commands {
		r.commands[i] = newHistogram(latencies)
	}
	return r
}

// Command counts a command, or a pipeline of them, and whether it failed.
func (r *Relay) Command(c RedisCommand, took time.Duration, failed bool) {
	r.commands[c].Observe(uint64(max(0, took)))
	if failed {
		r.failures[c].Inc()
	}
}

// Failed counts a command that Redis refused within a pipeline.
func (r *Relay) Failed(c RedisCommand) { r.failures[c].Inc() }

// Failures is how many commands of a kind have failed.
func (r *Relay) Failures(c RedisCommand) uint64 { return r.failures[c].Value() }

// Reconnected counts a subscriber's connection that ended.
func (r *Relay) Reconnected(why ReconnectReason) { r.reconnects[why].Inc() }

// Reconnects is how many have ended so.
func (r *Relay) Reconnects(why ReconnectReason) uint64 { return r.reconnects[why].Value() }

// ProbeAge sets what tells the age of the oldest proof of delivery.
func (r *Relay) ProbeAge(age func() time.Duration) { r.probeAge.Store(&age) }

// RedisCommand is what a command was sent for.
type RedisCommand uint8

// The commands. Publish counts pipelines in its durations, and publications in its
// errors.
const (
	RedisPublish RedisCommand = iota
	RedisRange
	RedisTails
	RedisRenew
	RedisForget
	RedisProbe
	RedisFleet
	RedisControl
	RedisSubscribe
	RedisPresence
	RedisNames
	RedisRevocations
	RedisEvents
	RedisReap
	redisCommands
)

var redisCommandNames = [redisCommands]string{
	"publish", "range", "tails", "renew", "forget", "probe", "fleet", "control", "subscribe",
	"presence", "names", "revocations", "events", "reap",
}

// ReconnectReason is why a subscriber's connection ended.
type ReconnectReason uint8

// The reasons.
const (
	ReconnectDial  ReconnectReason = iota // it could not be made
	ReconnectRead                         // the socket ended, or Redis refused
	ReconnectWrite                        // a subscription could not be sent
	ReconnectProbe                        // a proof of delivery was overdue
	ReconnectMoved                        // Redis ended a subscription: a slot moved
	reconnectReasons
)

var reconnectNames = [reconnectReasons]string{"dial", "read", "write", "probe", "moved"}

// GapOutcome is how a gap in a room's deliveries ended.
type GapOutcome uint8

// The outcomes.
const (
	GapRepaired GapOutcome = iota // all of it was read from the log
	GapLost                       // the log no longer has it, or some of it
	GapReset                      // the log had begun anew
	gapOutcomes
)

var gapNames = [gapOutcomes]string{"repaired", "lost", "reset"}

// ResumeResult is how a join with since ended.
type ResumeResult uint8

// The results.
const (
	ResumeRecovered ResumeResult = iota
	ResumeGap
	ResumeReset
	resumeResults
)

var resumeNames = [resumeResults]string{"recovered", "gap", "reset"}

var (
	relayPublished  = relayDesc("fanfare_relay_published_total", "Messages stored and published by Redis.")
	relayReceived   = relayDesc("fanfare_relay_received_total", "Messages received over subscriptions.")
	relayDropped    = relayDesc("fanfare_relay_dropped_total", "Received messages that an inbox had no room for; their rooms are read again.")
	relayJunk       = relayDesc("fanfare_relay_junk_total", "Payloads and entries that were not ours, and were skipped.")
	relaySubscribed = relayDesc("fanfare_relay_subscriptions", "Rooms whose subscription Redis confirmed.")
	relayLag        = relayDesc("fanfare_relay_lag_seconds", "From the publication of a probe to its arrival.")
	relayGaps       = relayDesc("fanfare_relay_gaps_total", "Gaps in deliveries, by how they ended.", "outcome")
	relayProbeAge   = relayDesc("fanfare_relay_probe_age_seconds", "Age of the oldest proof of delivery among the subscribers' connections.")
	relayReconnects = relayDesc("fanfare_relay_reconnects_total", "Subscribers' connections that ended or could not be made.", "reason")
	redisSeconds    = relayDesc("fanfare_redis_command_seconds", "Round trips to Redis; publish: pipelines.", "command")
	redisErrors     = relayDesc("fanfare_redis_errors_total", "Commands that failed; publish: publications.", "command")
	resumeTotal     = relayDesc("fanfare_resume_total", "Joins that asked for what they missed, by result.", "result")
)

func relayDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// AddRelay exports a Relay with the Set.
func (s *Set) AddRelay(r *Relay) { s.registry.MustRegister(r) }

// Describe sends the description of every series.
func (r *Relay) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		relayPublished, relayReceived, relayDropped, relayJunk, relaySubscribed, relayLag,
		relayGaps, relayProbeAge, relayReconnects, redisSeconds, redisErrors, resumeTotal,
	} {
		out <- d
	}
}

// Collect reads every series.
func (r *Relay) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, c *Counter, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(c.Value()), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	histogram := func(d *prometheus.Desc, h *Histogram, labels ...string) {
		sum := sumHistograms(latencies, []*Histogram{h})
		out <- prometheus.MustNewConstHistogram(d, sum.count, sum.sum, sum.buckets, labels...)
	}
	count(relayPublished, &r.Published)
	count(relayReceived, &r.Received)
	count(relayDropped, &r.Dropped)
	count(relayJunk, &r.Junk)
	gauge(relaySubscribed, float64(r.Subscriptions.Value()))
	histogram(relayLag, &r.Lag)
	age := 0.0
	if f := r.probeAge.Load(); f != nil {
		age = (*f)().Seconds()
	}
	gauge(relayProbeAge, age)
	for i, name := range gapNames {
		count(relayGaps, &r.Gaps[i], name)
	}
	for i, name := range resumeNames {
		count(resumeTotal, &r.Resumes[i], name)
	}
	for i, name := range reconnectNames {
		count(relayReconnects, &r.reconnects[i], name)
	}
	for i, name := range redisCommandNames {
		histogram(redisSeconds, &r.commands[i], name)
		count(redisErrors, &r.failures[i], name)
	}
}
