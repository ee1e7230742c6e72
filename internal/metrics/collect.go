package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// series is one exported series: its description, and how a scrape reads it.
type series struct {
	desc    *prometheus.Desc
	collect func(*Set, *prometheus.Desc, chan<- prometheus.Metric)
}

// Describe sends the description of every series.
func (s *Set) Describe(out chan<- *prometheus.Desc) {
	for _, x := range slices.Concat(all, users) {
		out <- x.desc
	}
}

// Collect reads every series; loops are summed.
func (s *Set) Collect(out chan<- prometheus.Metric) {
	for _, x := range slices.Concat(all, users) {
		x.collect(s, x.desc, out)
	}
}

var all = []series{
	loopGauge("fanfare_connections", "Open WebSocket connections.", func(l *Loop) *Gauge { return &l.Connections }),
	gauge("fanfare_sse_streams", "Rooms being served as Server-Sent Events, each of which is one of the open WebSocket connections too.",
		func(s *Set) *Gauge { return &s.EventStreams }),
	loopGauge("fanfare_handshakes", "Sockets whose handshake is not complete.", func(l *Loop) *Gauge { return &l.Handshakes }),
	loopCounter("fanfare_connections_opened_total", "Connections upgraded.", func(l *Loop) *Counter { return &l.Opened }),
	closedConnections(),
	labelled("fanfare_handshakes_rejected_total", "Handshakes refused.", "reason", rejectNames,
		func(l *Loop, i int) *Counter { return &l.rejected[i] }),
	labelled("fanfare_heartbeat_timeouts_total", "Connections ended by a heartbeat: silent (nothing arrived), write (nothing was taken), tcp (data never acknowledged).",
		"kind", heartbeatNames[:], func(l *Loop, i int) *Counter { return &l.heartbeatTimeouts[i] }),
	loopHistogram("fanfare_heartbeat_rtt_seconds", "From a ping to its pong.", latencies, func(l *Loop) *Histogram { return &l.HeartbeatRTT }),
	setCounters("fanfare_accept_errors_total", "Times that accepting connections failed and backed off.", "reason", acceptNames[:],
		func(s *Set, i int) *Counter { return &s.acceptErrors[i] }),
	gauge("fanfare_tls_handshakes", "Sockets whose TLS handshake is not complete.", func(s *Set) *Gauge { return &s.TLS.Handshakes }),
	counter("fanfare_tls_handshakes_total", "TLS handshakes completed.", func(s *Set) *Counter { return &s.TLS.Completed }),
	gauge("fanfare_tls_certificate_not_after_seconds", "When the certificate in force ends to be valid, in Unix time; 0 without one.", func(s *Set) *Gauge { return &s.TLS.NotAfter }),
	setCounters("fanfare_tls_handshake_errors_total", "TLS handshakes that came to nothing.", "reason", tlsErrorNames[:],
		func(s *Set, i int) *Counter { return &s.TLS.errors[i] }),
	gauge("fanfare_trace_queue_spans", "Spans that have ended and wait to be sent to the collector of traces; tracing.queue bounds them.",
		func(s *Set) *Gauge { return &s.Traces.Waiting }),
	counter("fanfare_trace_spans_sent_total", "Spans that the collector of traces took.", func(s *Set) *Counter { return &s.Traces.Sent }),
	setCounters("fanfare_trace_spans_dropped_total", "Spans lost on their way to the collector of traces: queue (tracing.queue was full), send (their batch was refused or not taken in time). Messages are not touched by that.",
		"reason", traceDropNames[:], func(s *Set, i int) *Counter { return &s.Traces.dropped[i] }),
	setCounters("fanfare_token_refused_total", "Tokens that do not verify.", "reason", tokenRefusalNames[:],
		func(s *Set, i int) *Counter { return &s.tokensRefused[i] }),
	setCounters("fanfare_jwks_refreshes_total", "Attempts to fetch the keys of auth.jwks_url; failed: those before are kept.", "result", jwksRefreshNames[:],
		func(s *Set, i int) *Counter { return &s.jwksRefreshes[i] }),
	httpRequests(),
	gauge("fanfare_http_requests_in_flight", "Calls of the HTTP API that are being answered.", func(s *Set) *Gauge { return &s.HTTPInFlight }),
	setCounters("fanfare_config_reloads_total", "Reloads of the configuration; failed: what was in force before still is.", "result", configReloadNames[:],
		func(s *Set, i int) *Counter { return &s.configReloads[i] }),
	gauge("fanfare_config_last_success_timestamp_seconds", "When the configuration was last read and found good.", func(s *Set) *Gauge { return &s.configLoaded }),

	gauge("fanfare_rooms", "Rooms whose log this gateway holds.", func(s *Set) *Gauge { return &s.Rooms }),
	gauge("fanfare_room_log_bytes", "Memory of the rooms' logs.", func(s *Set) *Gauge { return &s.LogBytes }),
	loopGauge("fanfare_memberships", "Joined rooms, summed over connections.", func(l *Loop) *Gauge { return &l.Memberships }),

	loopCounter("fanfare_messages_received_total", "Complete messages received from clients.", func(l *Loop) *Counter { return &l.MessagesReceived }),
	labelled("fanfare_messages_published_total", "Publishes answered, by result.", "result", publishNames[:],
		func(l *Loop, i int) *Counter { return &l.published[i] }),
	labelled("fanfare_errors_sent_total", "Error replies, by code.", "code", errorNames,
		func(l *Loop, i int) *Counter { return &l.errors[i] }),
	loopCounter("fanfare_rate_limited_total", "Frames refused by a connection's rate limit.", func(l *Loop) *Counter { return &l.RateLimited }),
	limitRefusals(),
	loopCounter("fanfare_resets_total", "Members told that a log began anew.", func(l *Loop) *Counter { return &l.Resets }),

	loopCounter("fanfare_frames_sent_total", "WebSocket frames written whole.", func(l *Loop) *Counter { return &l.FramesSent }),
	loopCounter("fanfare_bytes_sent_total", "Bytes written to WebSockets.", func(l *Loop) *Counter { return &l.BytesSent }),
	loopHistogram("fanfare_write_batch_frames", "Frames of a room that one write finished.", batchFrames, func(l *Loop) *Histogram { return &l.WriteBatch }),
	loopHistogram("fanfare_send_queue_depth_frames", "Frames waiting for a connection, over connections, sampled each second.", depthFrames, func(l *Loop) *Histogram { return &l.QueueFrames }),
	loopHistogram("fanfare_send_queue_depth_bytes", "Bytes waiting for a connection, over connections, sampled each second.", depthBytes, func(l *Loop) *Histogram { return &l.QueueBytes }),
	oldest(),
	loopGauge("fanfare_queued_reply_bytes", "Bytes of replies not yet taken by their sockets.", func(l *Loop) *Gauge { return &l.QueuedReplies }),
	droppedFrames(),

	loopHistogram("fanfare_fanout_seconds", "From a message's acceptance to the last socket of a loop written.", latencies, func(l *Loop) *Histogram { return &l.Fanout }),
	loopHistogram("fanfare_loop_turn_seconds", "Work of one turn of an event loop, without the wait.", turnDurations, func(l *Loop) *Histogram { return &l.Turns }),
	loopGauge("fanfare_loop_inbox_depth", "Posts waiting for event loops.", func(l *Loop) *Gauge { return &l.InboxDepth }),
	loopCounter("fanfare_loop_panics_total", "Connections ended because handling them panicked.", func(l *Loop) *Counter { return &l.Panics }),

	gauge("fanfare_broker_queue_depth", "Publications taken and not yet stored.", func(s *Set) *Gauge { return &s.BrokerQueue }),
	counter("fanfare_broker_refused_total", "Publications refused because the broker's queue was full.", func(s *Set) *Counter { return &s.BrokerRefused }),
	gauge("fanfare_request_queue_depth", "History reads waiting for the broker.", func(s *Set) *Gauge { return &s.RequestQueue }),
	gauge("fanfare_connections_limit", "limits.connections, as it is in force; 0: none.", func(s *Set) *Gauge { return &s.ConnectionsMax }),
	gauge("fanfare_send_window_frames", "The smallest slow.window_messages of the classes of rooms, conflated ones left out; 0: none has one.", func(s *Set) *Gauge { return &s.WindowFrames }),
	gauge("fanfare_memory_used_bytes", "Memory of the Go runtime that is in use, as limits.memory_bytes is held against it.", func(s *Set) *Gauge { return &s.MemoryUsed }),
	gauge("fanfare_limit_users", "Users of whom something is counted for limits.", func(s *Set) *Gauge { return &s.UserBudgets }),
	gauge("fanfare_limit_addresses", "Addresses of which something is counted for limits.", func(s *Set) *Gauge { return &s.AddressBudgets }),
	gauge("fanfare_draining", "1 from the moment a drain begins.", func(s *Set) *Gauge { return &s.Draining }),
	gauge("fanfare_drain_remaining_connections", "Connections that a drain has still to send away.", func(s *Set) *Gauge { return &s.DrainRemaining }),
	gauge("fanfare_fleet_gateways", "Gateways of the fleet whose lease is good, this one included.", func(s *Set) *Gauge { return &s.FleetGateways }),
	gauge("fanfare_fleet_connections_mean", "Mean of the connections of the fleet's gateways that do not drain.", func(s *Set) *Gauge { return &s.FleetMean }),
	counter("fanfare_request_refused_total", "History reads refused because their queue was full.", func(s *Set) *Counter { return &s.RequestRefused }),
}

func gauge(name, help string, of func(*Set) *Gauge) series {
	return series{prometheus.NewDesc(name, help, nil, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(of(s).Value()))
	}}
}

func counter(name, help string, of func(*Set) *Counter) series {
	return series{prometheus.NewDesc(name, help, nil, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(of(s).Value()))
	}}
}

func loopGauge(name, help string, of func(*Loop) *Gauge) series {
	return series{prometheus.NewDesc(name, help, nil, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		var sum int64
		for _, l := range s.loops {
			sum += of(l).Value()
		}
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(sum))
	}}
}

func loopCounter(name, help string, of func(*Loop) *Counter) series {
	return series{prometheus.NewDesc(name, help, nil, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, s.sum(of))
	}}
}

func (s *Set) sum(of func(*Loop) *Counter) float64 {
	var sum uint64
	for _, l := range s.loops {
		sum += of(l).Value()
	}
	return float64(sum)
}

func labelled(name, help, label string, values []string, of func(*Loop, int) *Counter) series {
	return series{prometheus.NewDesc(name, help, []string{label}, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for i, v := range values {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue,
				s.sum(func(l *Loop) *Counter { return of(l, i) }), v)
		}
	}}
}

func loopHistogram(name, help string, layout *Layout, of func(*Loop) *Histogram) series {
	return series{prometheus.NewDesc(name, help, nil, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		hs := make([]*Histogram, len(s.loops))
		for i, l := range s.loops {
			hs[i] = of(l)
		}
		sum := sumHistograms(layout, hs)
		out <- prometheus.MustNewConstHistogram(d, sum.count, sum.sum, sum.buckets)
	}}
}

func closedConnections() series {
	d := prometheus.NewDesc("fanfare_connections_closed_total", "Connections ended, by the side that ended them and why.", []string{"side", "reason"}, nil)
	return series{d, func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for r := range closeReasons {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue,
				s.sum(func(l *Loop) *Counter { return &l.closed[r] }), r.Side(), r.String())
		}
	}}
}

func setCounters(name, help, label string, values []string, of func(*Set, int) *Counter) series {
	return series{prometheus.NewDesc(name, help, []string{label}, nil), func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for i, v := range values {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(of(s, i).Value()), v)
		}
	}}
}

func limitRefusals() series {
	d := prometheus.NewDesc("fanfare_limit_refusals_total", "Refused by a limit: handshakes, messages, joins, requests; for memory and queued_bytes also connections ended.", []string{"limit"}, nil)
	return series{d, func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for i, name := range limitNames {
			sum := s.sum(func(l *Loop) *Counter { return &l.limited[i] }) + float64(s.limited[i].Value())
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, sum, name)
		}
	}}
}

func oldest() series {
	d := prometheus.NewDesc("fanfare_send_queue_oldest_seconds", "How long the longest blocked connection has waited for its socket.", nil, nil)
	return series{d, func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		var oldest int64
		for _, l := range s.loops {
			oldest = max(oldest, l.QueueOldest.Value())
		}
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(oldest)/1e9)
	}}
}

func droppedFrames() series {
	d := prometheus.NewDesc("fanfare_dropped_frames_total", "Frames that members did not get: queue (behind the window), log (no longer held).", []string{"stage", "policy"}, nil)
	return series{d, func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for st, stage := range stageNames {
			for p, policy := range policyNames {
				out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue,
					s.sum(func(l *Loop) *Counter { return &l.dropped[st][p] }), stage, policy)
			}
		}
	}}
}

func httpRequests() series {
	d := prometheus.NewDesc("fanfare_http_requests_total", "Calls of the HTTP API, by the class of the status that answered them.", []string{"call", "code"}, nil)
	return series{d, func(s *Set, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for c, call := range httpCallNames {
			for i, class := range statusClasses {
				out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(s.httpRequests[c][i].Value()), call, class)
			}
		}
	}}
}
