package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// window is the smallest that a member may be behind, half of which is looked at: as
// the alert has it, no more than the histogram's last bound, 8192.
const window = "clamp_max(min(fanfare_send_window_frames{} > 0), 16382)"

// timeouts are the connections that fell silent, of the most that there were.
const timeouts = "sum by (instance) (increase(fanfare_heartbeat_timeouts_total{}[5m])) / clamp_min(sum by (instance) (max_over_time(fanfare_connections{}[5m])), 1)"

// slowness is why connections end that take nothing, or too slowly.
const slowness = `fanfare_connections_closed_total{reason=~"slow_consumer|replies_unread|queued_bytes|memory|slow_message|heartbeat_timeout"}`

// queues is about who does not read as fast as is written.
var queues = page{
	name:  "queues",
	title: "Queues and slow clients",
	about: "What waits for clients that do not read fast enough, what they do not get, and who is not there any more. A slow client is its own problem: its room does not wait for it.",
	rows: []row{
		{"Now", []panel{
			{title: "p99 of the queues", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.25, red: 0.5},
				shows:   "Messages that wait for the slowest connection of a hundred, of the window: the most that a member may be behind.",
				todo:    "See Messages waiting: if all percentiles grow, gateways or network are the bottleneck; if only the last, those clients' way is.",
				alert:   "FanfareQueuesDeep",
				queries: []query{{"(" + quantile("0.99", "fanfare_send_queue_depth_frames") + ") / " + window + " or 0 * sum(fanfare_connections{})", ""}}},
			{title: "Blocked for", kind: number, unit: units.Seconds, bound: bound{orange: 10, red: 60},
				shows:   "How long the longest blocked connection has waited for its socket to take something. After `heartbeat.timeout` (60 s) it is closed.",
				todo:    "One client alone is a phone in a tunnel. `/debug/fleet` on the admin port names the slowest.",
				queries: []query{{"max(fanfare_send_queue_oldest_seconds{})", ""}}},
			{title: "Not delivered", kind: number, unit: units.MessagesPerSecond,
				shows:   "Messages in a second that slow members did not get, and were told of.",
				todo:    "See Not delivered, by stage and policy.",
				queries: []query{{dropped, ""}}},
			{title: "Ended for being slow", kind: number, unit: units.CountsPerSecond,
				shows:   "Connections in a second that gateways ended as they took nothing, too slowly, or were silent.",
				todo:    "See Ended for being slow below.",
				queries: []query{{"sum(rate(" + slowness + "[R]))", ""}}},
			{title: "Fell silent in 5 minutes", kind: number, unit: units.PercentUnit, bound: bound{orange: 0.005, red: 0.01},
				shows:   "Connections that a heartbeat ended in five minutes, of all, at the gateway with the most.",
				todo:    "At one gateway: its network. At all: something between clients and gateways cuts idle connections; its timeout has to be longer than `heartbeat.interval`.",
				alert:   "FanfareHeartbeatTimeouts",
				queries: []query{{"max(" + timeouts + ")", ""}}},
			{title: "Ping to pong, p99", kind: number, unit: units.Seconds, bound: bound{orange: 1, red: 5},
				shows:   "Round trip to the slowest client of a hundred, its own slowness included.",
				todo:    "See Ping to pong by gateway: one alone is its network, all are the clients' or the balancer's.",
				queries: []query{{quantile("0.99", "fanfare_heartbeat_rtt_seconds"), ""}}},
		}},
		{"Queues", []panel{
			{title: "Messages waiting", unit: units.Short,
				shows:   "Percentiles over connections of the messages that wait for each, looked at every second, and half of the smallest window of a class of rooms.",
				todo:    "All grow: gateways or the network do not keep up. Only p99.9: some clients are slow, and are told what they do not get.",
				alert:   "FanfareQueuesDeep",
				queries: append(percentiles("fanfare_send_queue_depth_frames"), query{"0.5 * " + window + " or 0 * sum(fanfare_connections{})", "half of the window"})},
			{title: "Messages waiting, p99 by gateway", unit: units.Short,
				shows:   "The 99th percentile over each gateway's connections.",
				todo:    "One alone: look at its processor and its network.",
				alert:   "FanfareQueuesDeep",
				queries: []query{{quantile("0.99", "fanfare_send_queue_depth_frames", "instance"), "{{instance}}"}}},
			{title: "Bytes waiting", unit: units.BytesIEC,
				shows:   "The same in bytes, replies and what lies in the frame that has begun included.",
				todo:    "What waits has no memory of its own: it is the room's log. If few messages are many bytes, lower `history.bytes` or the size of messages.",
				queries: percentiles("fanfare_send_queue_depth_bytes")},
			{title: "Blocked for, by gateway", unit: units.Seconds, bound: bound{orange: 10, red: 60},
				shows:   "How long the longest blocked connection of each has waited for its socket.",
				todo:    "Beyond `heartbeat.timeout` it is closed; a line that stands higher is a gateway whose loops hang.",
				queries: []query{{"fanfare_send_queue_oldest_seconds{}", "{{instance}}"}}},
			{title: "Replies not taken", unit: units.BytesIEC,
				shows:   "Bytes of replies, and of the rest of frames, that wait for their sockets: the only memory that slow clients take for themselves.",
				todo:    "`limits.reply_bytes` bounds one connection, `limits.queued_bytes` all: beyond, those with the most are closed.",
				queries: []query{{"fanfare_queued_reply_bytes{}", "{{instance}}"}}},
			{title: "Presence events withheld", unit: units.MessagesPerSecond,
				shows:   "Events of who comes and goes, in a second: sent, and not sent as the socket took nothing. Who did not get one gets the count later.",
				todo:    "A large room where many come and go costs as much as its messages: `presence: false` for its class.",
				queries: []query{{"sum(rate(fanfare_presence_sent_total{}[R]))", "sent"}, {"sum(rate(fanfare_presence_skipped_total{}[R]))", "not sent"}}},
		}},
		{"Batches", []panel{
			{title: "Messages in a write", unit: units.Short,
				shows:   "Percentiles of how many messages one write to a socket finished.",
				todo:    "More is cheaper, and later: it grows by itself where gateways are busy or clients slow. With p50 well above 1 all are behind.",
				queries: percentiles("fanfare_write_batch_frames")},
			{title: "Mean by gateway", unit: units.Short,
				shows:   "Messages in a write, on average.",
				todo:    "A gateway that is well above the others has less processor time than they, or slower clients.",
				queries: []query{{"rate(fanfare_write_batch_frames_sum{}[R]) / (rate(fanfare_write_batch_frames_count{}[R]) > 0) or 0 * fanfare_connections{}", "{{instance}}"}}},
			{title: "Writes and messages", unit: units.CountsPerSecond,
				shows:   "Writes in a second that finished messages, and the messages.",
				todo:    "The distance between the two is what batching saved: a write costs nearly the same however many messages it has.",
				queries: []query{{delivered, "messages"}, {"sum(rate(fanfare_write_batch_frames_count{}[R]))", "writes"}}},
		}},
		{"What slow clients do not get", []panel{
			{title: "Not delivered, by stage and policy", unit: units.MessagesPerSecond,
				shows:   "Messages in a second: `queue` is beyond the window, `log` is what the room's log no longer had. A gap named each of them.",
				todo:    "`conflate` is meant so. `drop`: a room faster than its members read; `slow.window_messages` may be larger, or its policy `conflate`. `log`: `history.messages` and `history.bytes` are less than the window.",
				queries: []query{{"sum by (stage, policy) (rate(fanfare_dropped_frames_total{}[R]))", "{{stage}} {{policy}}"}}},
			{title: "Not delivered, by gateway", unit: units.MessagesPerSecond,
				shows:   "The same by gateway.",
				todo:    "One alone: it does not keep up, or has a network of its own.",
				queries: []query{{"sum by (instance) (rate(fanfare_dropped_frames_total{}[R]))", "{{instance}}"}}},
			{title: "Gaps and resets told", unit: units.CountsPerSecond,
				shows:   "In a second: clients that came back and could not have all (`gap`), members told that a log began anew (`reset`), and gaps in what came from Redis that the log no longer had (`lost`).",
				todo:    "`gap`: they were away longer than `history.age`, or the room published more than `history.messages` meanwhile. `reset`, `lost`: see Relay and Redis.",
				alert:   "FanfareResumeMisses",
				queries: []query{{`sum(rate(fanfare_resume_total{result="gap"}[R]))`, "gap"}, {"sum(rate(fanfare_resets_total{}[R]))", "reset"}, {`sum(rate(fanfare_relay_gaps_total{outcome="lost"}[R]))`, "lost"}}},
			{title: "Ended for being slow", unit: units.CountsPerSecond,
				shows:   "Connections that gateways ended in a second, by reason.",
				todo:    "`slow_consumer`: by a room's policy `disconnect`. `replies_unread`: asks and does not read. `queued_bytes`, `memory`: a limit of the gateway, those that held most. `heartbeat_timeout`: see below. `slow_message`: a message that took too long to arrive.",
				queries: []query{{"sum by (reason) (rate(" + slowness + "[R]))", "{{reason}}"}}},
		}},
		{"Heartbeats", []panel{
			{title: "Heartbeat timeouts, by kind", unit: units.CountsPerSecond,
				shows:   "Connections ended in a second: `silent` said nothing, `write` took nothing, `tcp` acknowledged nothing.",
				todo:    "`silent` at one gateway: its network. At all: a middlebox that forgets idle connections. `tcp`: clients' networks.",
				alert:   "FanfareHeartbeatTimeouts",
				queries: []query{{"sum by (kind) (rate(fanfare_heartbeat_timeouts_total{}[R]))", "{{kind}}"}}},
			{title: "Fell silent in 5 minutes", unit: units.PercentUnit, bound: bound{orange: 0.005, red: 0.01},
				shows:   "Of the connections of each gateway.",
				todo:    "As above; the alert asks besides that it is three times the hour before.",
				alert:   "FanfareHeartbeatTimeouts",
				queries: []query{{timeouts, "{{instance}}"}}},
			{title: "Ping to pong", unit: units.Seconds,
				shows:   "Percentiles of the round trip. Who sends something by himself is not pinged.",
				todo:    "If all grow, a gateway or balancer is busy; if only the last, it is phones that sleep.",
				queries: percentiles("fanfare_heartbeat_rtt_seconds")},
			{title: "Ping to pong, p99 by gateway", unit: units.Seconds,
				shows:   "The 99th percentile of each gateway.",
				todo:    "One alone: its network, or a loop that is late; compare the turns of event loops in Fleet.",
				queries: []query{{quantile("0.99", "fanfare_heartbeat_rtt_seconds", "instance"), "{{instance}}"}}},
		}},
	},
}

// percentiles are those of a histogram over the fleet.
func percentiles(metric string) []query {
	return []query{
		{quantile("0.5", metric), "p50"}, {quantile("0.9", metric), "p90"}, {quantile("0.99", metric), "p99"}, {quantile("0.999", metric), "p99.9"},
	}
}
