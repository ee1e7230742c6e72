package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// What the fleet is held to. quick is an upper bound of a bucket of the histograms.
const (
	quick       = "0.1" // seconds
	inTime      = 0.99  // of deliveries are as quick
	accepted    = 0.999 // of publications are stored
	whatIsQuick = "100 ms"
)

const (
	delivered    = "sum(rate(fanfare_write_batch_frames_sum{}[R]))"
	dropped      = "sum(rate(fanfare_dropped_frames_total{}[R]))"
	deliveredBy  = "sum by (instance) (rate(fanfare_write_batch_frames_sum{}[R]))"
	droppedBy    = "sum by (instance) (rate(fanfare_dropped_frames_total{}[R]))"
	published    = "sum(rate(fanfare_messages_published_total{}[R]))"
	publishedOK  = `sum(rate(fanfare_messages_published_total{result!="unavailable"}[R]))`
	fanouts      = "sum(rate(fanfare_fanout_seconds_count{}[R]))"
	quickFanouts = `sum(rate(fanfare_fanout_seconds_bucket{le="` + quick + `"}[R]))`
	probes       = "sum(rate(fanfare_relay_lag_seconds_count{}[R]))"
	quickProbes  = `sum(rate(fanfare_relay_lag_seconds_bucket{le="` + quick + `"}[R]))`
)

// fleet is what is looked at first.
var fleet = page{
	name:  "fleet",
	title: "Fleet",
	about: "All gateways at a glance: who is connected where, what is delivered and how fast, and whether the fleet keeps what it is held to.",
	rows: []row{
		{"Now", []panel{
			{title: "Gateways", kind: number, unit: units.Short,
				shows:   "Gateways that Prometheus scrapes, and those that know of each other through Redis.",
				todo:    "If fewer are scraped than are alive, look at Prometheus' targets; if fewer are alive, the others have no way to Redis: see Relay and Redis.",
				queries: []query{{"count(fanfare_connections{})", "scraped"}, {"max(fanfare_fleet_gateways{})", "alive"}}},
			{title: "Connections", kind: number, unit: units.Short,
				shows:   "Open WebSockets, and Server-Sent Events, of all gateways.",
				todo:    "A sudden fall is a balancer or a network that cut them: compare Opened and ended below. They come back by themselves, spread out.",
				queries: []query{{"sum(fanfare_connections{})", ""}}},
			{title: "Deliveries", kind: number, unit: units.MessagesPerSecond,
				shows:   "Messages of rooms written to members in a second, each member counted.",
				todo:    "If it is 0 while clients publish, look at Relay and Redis.",
				alert:   "FanfareNoDeliveries",
				queries: []query{{delivered, ""}}},
			{title: "Publish to delivery, p99", kind: number, unit: units.Seconds, bound: bound{orange: 0.1, red: 0.25},
				shows:   "The way through Redis, by probes, and from there to a room's last member: the sum of both p99s, so that it is rather too much.",
				todo:    "See Publish to delivery below, which of the two it is.",
				queries: []query{{"(" + quantile("0.99", "fanfare_relay_lag_seconds") + ") + (" + quantile("0.99", "fanfare_fanout_seconds") + ")", ""}}},
			{title: "Delivered within " + whatIsQuick, kind: number, unit: units.PercentUnit, bound: bound{orange: 0.995, red: inTime, below: true},
				shows:   "Share of the messages that the last of a room's members on a loop had within " + whatIsQuick + " of their arrival at its gateway. The objective is 99 %.",
				todo:    "See Fan-out p99 by gateway: one alone is short of a processor, or has a room too large for it; all at once are short of processors or of network.",
				queries: []query{{share(quickFanouts, fanouts, "1"), ""}}},
			{title: "Publications accepted", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.9999, red: accepted, below: true},
				shows:   "Share of the publications of clients that were stored; the rest was answered `unavailable`. The objective is 99.9 %.",
				todo:    "Redis is away, slow or full: see Relay and Redis. Clients of ours send again by themselves.",
				queries: []query{{share(publishedOK, published, "1"), ""}}},
			{title: "Not delivered", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.001, red: 0.01},
				shows:   "Share of the messages that slow members did not get, each of which a gap has named to them.",
				todo:    "See Queues and slow clients: a few clients with a bad network, or all of them.",
				queries: []query{{share(dropped, "("+dropped+" + "+delivered+")", "0"), ""}}},
			{title: "Fullest gateway", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.7, red: 0.8},
				shows:   "Connections of the gateway that is nearest to its `limits.connections`.",
				todo:    "Add gateways, or raise the limit where memory allows. What is above it gets 503.",
				alert:   "FanfareConnectionsNearLimit",
				queries: []query{{"max(" + ofLimit + ")", ""}}},
		}},
		{"Connections", []panel{
			{title: "Connections by gateway", unit: units.Short,
				shows:   "Open connections of each gateway, and what they have on average.",
				todo:    "Lines far apart: see Imbalance. A line that ends is a gateway that went, its clients go to the others.",
				queries: []query{{"fanfare_connections{}", "{{instance}}"}, {"max(fanfare_fleet_connections_mean{})", "mean"}}},
			{title: "Imbalance", unit: units.PercentUnit, bound: bound{orange: 0.2, red: 0.3},
				shows:   "How far each gateway that does not drain is from the mean, of the mean (of 100 at least).",
				todo:    "After a scale-up `rebalance.enabled` evens it out, slowly; is it on? Does the balancer count connections, and not requests?",
				alert:   "FanfareImbalance",
				queries: []query{{"abs(fanfare_connections{} - fanfare_fleet_connections_mean{}) / clamp_min(fanfare_fleet_connections_mean{}, 100) and fanfare_draining{} == 0", "{{instance}}"}}},
			{title: "Opened and ended", unit: units.CountsPerSecond,
				shows:   "Connections that began and that ended in a second, by who ended them.",
				todo:    "Many by the network at once: a balancer or middlebox cuts them. Many by gateways: see Why connections ended.",
				queries: []query{{"sum(rate(fanfare_connections_opened_total{}[R]))", "opened"}, {"sum by (side) (rate(fanfare_connections_closed_total{}[R]))", "ended by the {{side}}"}}},
			{title: "Why connections ended", kind: bars, unit: units.Short,
				shows:   "The most frequent reasons in the time that is shown.",
				todo:    "`slow_consumer` and `heartbeat_timeout`: see Queues and slow clients. `drain`, `rebalance`: see Relay and Redis. `internal` is a fault of Fanfare's: its log has it.",
				queries: most("fanfare_connections_closed_total{}", "side, reason")},
			{title: "Handshakes refused", kind: bars, unit: units.Short,
				shows:   "The most frequent reasons in the time that is shown.",
				todo:    "`connections`, `memory`: add gateways. `accept_rate`, `draining`, `not_ready` pass. `origin`, `token`: a page or an issuer that is not configured. `address_…`: one address asks too often, or `trusted_proxies` does not name the balancer.",
				queries: most("fanfare_handshakes_rejected_total{}", "reason")},
			{title: "Refused by limits", kind: bars, unit: units.Short,
				shows:   "What was refused in the time that is shown, by the limit: handshakes, messages, joins, requests.",
				todo:    "The configuration's `limits` has each by this name. One user or address alone is who they are for; if it is all, they are too low.",
				queries: most("fanfare_limit_refusals_total{}", "limit")},
			{title: "Of limits.connections", unit: units.PercentUnit, bound: bound{orange: 0.7, red: 0.8},
				shows:   "Connections of each gateway, of its `limits.connections`; 0 where there is none.",
				todo:    "Add gateways, or raise the limit where memory allows.",
				alert:   "FanfareConnectionsNearLimit",
				queries: []query{{ofLimit, "{{instance}}"}}},
			{title: "Of the descriptors", unit: units.PercentUnit, bound: bound{orange: 0.7, red: 0.8},
				shows:   "Open descriptors of each gateway, of those that it may have. A connection is one.",
				todo:    "Raise what the unit, the container or its runtime gives. Without one nobody is accepted.",
				alert:   "FanfareDescriptorsNearLimit",
				queries: []query{{perGateway("process_open_fds{} / process_max_fds{}"), "{{instance}}"}}},
			{title: "Could not be accepted", unit: units.CountsPerSecond, bound: bound{orange: 0.01, red: 0.1},
				shows:   "Times in a second that accepting failed, by what was missing, and handshakes that TLS ended.",
				todo:    "`descriptors`: raise what the process may have. `memory`: the kernel has none for sockets (`net.ipv4.tcp_mem`). TLS: see `fanfare_tls_handshake_errors_total` by reason.",
				queries: []query{{"sum by (reason) (rate(fanfare_accept_errors_total{}[R]))", "{{reason}}"}, {"sum(rate(fanfare_tls_handshake_errors_total{}[R]))", "TLS"}}},
		}},
		{"Messages", []panel{
			{title: "Published", unit: units.MessagesPerSecond,
				shows:   "Publications of clients in a second by their answer, and what Redis stored, that of backends by HTTP included.",
				todo:    "`unavailable`: Redis is away or slow, see Relay and Redis. `duplicate` is what was sent again after a lost connection, and is right.",
				queries: []query{{"sum by (result) (rate(fanfare_messages_published_total{}[R]))", "{{result}}"}, {"sum(rate(fanfare_relay_published_total{}[R]))", "in Redis"}}},
			{title: "Delivered by gateway", unit: units.MessagesPerSecond,
				shows:   "Messages of rooms written to members in a second.",
				todo:    "A gateway alone at 0 that has members: its way to Redis, or its loops, hang; see the alert.",
				alert:   "FanfareNoDeliveries",
				queries: []query{{"rate(fanfare_write_batch_frames_sum{}[R])", "{{instance}}"}}},
			{title: "Publish to delivery", unit: units.Seconds, bound: bound{orange: 0.1, red: 0.25},
				shows: "The parts of the way: through Redis (of a probe), and from a message's arrival until the last member on a loop is written to.",
				todo:  "Through Redis: its processor, or the network to it. To the members: processors of gateways; see the next panel.",
				queries: []query{
					{quantile("0.99", "fanfare_relay_lag_seconds"), "through Redis p99"}, {quantile("0.5", "fanfare_relay_lag_seconds"), "through Redis p50"},
					{quantile("0.99", "fanfare_fanout_seconds"), "to the members p99"}, {quantile("0.5", "fanfare_fanout_seconds"), "to the members p50"}}},
			{title: "Fan-out p99 by gateway", unit: units.Seconds, bound: bound{orange: 0.1, red: 0.25},
				shows:   "From a message's arrival at a gateway until the last member of its room on a loop is written to.",
				todo:    "One alone: it is throttled, or has a room that is too large for it. All: more processors or gateways. Compare Processors below.",
				queries: []query{{quantile("0.99", "fanfare_fanout_seconds", "instance"), "{{instance}}"}}},
			{title: "Bytes sent", unit: units.BytesPerSecondIEC,
				shows:   "Bytes written to WebSockets in a second, without what TCP and TLS add.",
				todo:    "Near what the link carries: add gateways, or let clients have compression.",
				queries: []query{{"rate(fanfare_bytes_sent_total{}[R])", "{{instance}}"}}},
			{title: "Errors told to clients", kind: bars, unit: units.Short,
				shows:   "The most frequent codes of error replies in the time that is shown.",
				todo:    "`unavailable`: see Relay and Redis. `rate_limited`, `limit_exceeded`: see Refused by limits. The others are clients' own; a new version of one shows here.",
				queries: most("fanfare_errors_sent_total{}", "code")},
		}},
		{"Objectives", []panel{
			{title: "Delivered within " + whatIsQuick, unit: units.PercentUnit, most: 1, bound: bound{orange: 0.995, red: inTime, below: true},
				shows:   "Share of messages that took less from a gateway's arrival to the last member on a loop, and of probes that took less through Redis. The objective is 99 %.",
				todo:    "See Publish to delivery.",
				queries: []query{{share(quickFanouts, fanouts, "1"), "to the members"}, {share(quickProbes, probes, "1"), "through Redis"}}},
			{title: "Publications accepted", unit: units.PercentUnit, most: 1, bound: bound{orange: 0.9999, red: accepted, below: true},
				shows:   "Share of publications that were stored. The objective is 99.9 %.",
				todo:    "Redis: see Relay and Redis.",
				queries: []query{{share(publishedOK, published, "1"), "accepted"}}},
			{title: "Not delivered", unit: units.PercentUnit, bound: bound{orange: 0.001, red: 0.01},
				shows:   "Share of messages that slow members did not get, by gateway.",
				todo:    "See Queues and slow clients.",
				queries: []query{{share(droppedBy, "("+droppedBy+" + "+deliveredBy+")", "0"), "{{instance}}"}}},
			{title: "What may still go wrong", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.25, red: 0.0001, below: true},
				shows: "What is left, in the time that is shown, of the 1 % of deliveries that may be late and of the 0.1 % of publications that may be refused. Below 0 the objective is missed, at -100 % by twice as much or more.",
				todo:  "What took it stands in the panels beside. Until it is back, take no risk: no upgrade that can wait.",
				queries: []query{
					{left(`fanfare_fanout_seconds_bucket{le="`+quick+`"}`, "fanfare_fanout_seconds_count{}", "0.01"), "late"},
					{left(`fanfare_messages_published_total{result!="unavailable"}`, "fanfare_messages_published_total{}", "0.001"), "refused"}}},
		}},
		{"What gateways use", []panel{
			{title: "Processors", unit: units.Short,
				shows:   "Processors that each gateway keeps busy.",
				todo:    "Near what it may have, latency grows: more gateways, or more processors each.",
				queries: []query{{perGateway("rate(process_cpu_seconds_total{}[R])"), "{{instance}}"}}},
			{title: "Memory", unit: units.BytesIEC,
				shows:   "Resident memory of each gateway, and what is held against `limits.memory_bytes`. The kernel's memory for sockets is in neither.",
				todo:    "If it only grows: see Rooms' logs, and the queues of slow clients. `limits.memory_bytes` and GOMEMLIMIT keep it below the container's.",
				queries: []query{{perGateway("process_resident_memory_bytes{}"), "{{instance}}"}, {"fanfare_memory_used_bytes{}", "{{instance}} counted"}}},
			{title: "Turn of an event loop, p99", unit: units.Seconds, bound: bound{orange: 0.025, red: 0.1},
				shows:   "Work that a loop does between two looks at its sockets; all its connections wait for it.",
				todo:    "The gateway is short of processors or throttled: compare Processors.",
				queries: []query{{quantile("0.99", "fanfare_loop_turn_seconds", "instance"), "{{instance}}"}}},
			{title: "Rooms and memberships", unit: units.Short,
				shows:   "Rooms whose log a gateway holds, and rooms joined, each for each connection.",
				todo:    "Rooms that grow without end: clients make up names. A room that is idle costs a gateway about 2 KB.",
				queries: []query{{"sum(fanfare_rooms{})", "rooms"}, {"sum(fanfare_memberships{})", "memberships"}}},
			{title: "Rooms' logs", unit: units.BytesIEC,
				shows:   "Memory of the logs of the rooms that each gateway holds.",
				todo:    "Rooms × `history.bytes` is the most that it can be: lower that, or have fewer rooms on a gateway.",
				queries: []query{{"fanfare_room_log_bytes{}", "{{instance}}"}}},
			{title: "Posts waiting for loops", unit: units.Short,
				shows:   "What other goroutines want of event loops and has not been taken.",
				todo:    "If it stays, a loop hangs or is short of a processor: see the turns of event loops.",
				queries: []query{{"fanfare_loop_inbox_depth{}", "{{instance}}"}}},
			{title: "Handshakes under way", unit: units.Short,
				shows:   "Sockets that have not become connections yet, of `limits.handshakes`; those still with TLS apart.",
				todo:    "Many that stay: who opens sockets and says nothing, or, all at once, a fleet of clients that comes back.",
				queries: []query{{"sum(fanfare_handshakes{})", "WebSocket"}, {"sum(fanfare_tls_handshakes{})", "TLS"}}},
			{title: "Calls of the HTTP API", unit: units.RequestsPerSecond,
				shows:   "Calls of backends and operators in a second, by the class of the answer.",
				todo:    "5xx: Redis is away, or `api.requests` calls are answered at once already. 4xx: a key, or a request, that is wrong.",
				queries: []query{{"sum by (code) (rate(fanfare_http_requests_total{}[R]))", "{{code}}"}}},
			{title: "Faults of Fanfare's own", unit: units.Short, bound: bound{orange: 0.1, red: 0.5},
				shows:   "Connections that were ended in five minutes as handling them panicked. The gateway goes on.",
				todo:    "Its log has the stack. It is a fault to be reported.",
				queries: []query{{"sum by (instance) (increase(fanfare_loop_panics_total{}[5m]))", "{{instance}}"}}},
		}},
	},
}

// ofLimit is how full gateways are; one without a limit is empty.
const ofLimit = "(fanfare_connections{} / (fanfare_connections_limit{} > 0) or 0 * fanfare_connections{})"

// left is how much is left of what may go wrong, in the time that is shown.
func left(good, all, may string) string {
	return "clamp_min(1 - (sum(increase(" + all + "[$__range])) - sum(increase(" + good + "[$__range]))) / clamp_min(" + may + " * sum(increase(" + all + "[$__range])), 1), -1)"
}
