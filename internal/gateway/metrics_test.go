package gateway

import (
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// The series of a gateway's contract with its operators.
var series = []string{
	"fanfare_connections", "fanfare_connections_opened_total", `fanfare_connections_closed_total{reason="normal",side="client"}`,
	`fanfare_connections_closed_total{reason="eof",side="client"}`, `fanfare_connections_closed_total{reason="drain",side="gateway"}`,
	`fanfare_connections_closed_total{reason="slow_consumer",side="gateway"}`,
	`fanfare_handshakes_rejected_total{reason="origin"}`, "fanfare_rooms", "fanfare_memberships", "fanfare_messages_received_total",
	`fanfare_messages_published_total{result="stored"}`, `fanfare_messages_published_total{result="duplicate"}`,
	`fanfare_messages_published_total{result="unavailable"}`, "fanfare_frames_sent_total", "fanfare_bytes_sent_total",
	"fanfare_write_batch_frames_count", "fanfare_send_queue_depth_frames_count", "fanfare_send_queue_depth_bytes_count",
	"fanfare_send_queue_oldest_seconds", `fanfare_dropped_frames_total{policy="drop",stage="queue"}`,
	`fanfare_dropped_frames_total{policy="conflate",stage="queue"}`, `fanfare_dropped_frames_total{policy="drop",stage="log"}`,
	`fanfare_heartbeat_timeouts_total{kind="silent"}`, `fanfare_heartbeat_timeouts_total{kind="write"}`,
	"fanfare_heartbeat_rtt_seconds_count", "fanfare_fanout_seconds_count", "fanfare_loop_turn_seconds_count", "fanfare_loop_inbox_depth",
	`fanfare_errors_sent_total{code="bad_json"}`, "fanfare_rate_limited_total", "fanfare_resets_total", "fanfare_broker_queue_depth",
}

func TestAllSeriesAreThereFromTheStartAtZero(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	all := s.metrics()
	for _, name := range series {
		v, ok := all[name]
		if !ok || v != 0 && !strings.HasPrefix(name, "fanfare_loop_turn") {
			t.Errorf("%s: %v, there: %v", name, v, ok)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if _, ok := all[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	build := false
	for name := range all {
		build = build || strings.HasPrefix(name, "fanfare_build_info{") && strings.Contains(name, `version="test"`)
	}
	if !build {
		t.Error("no build info")
	}
}

func TestSeriesMoveAsTheyShould(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	a, b := s.dial(), s.dial()
	a.join("r", "")
	b.join("r", "")
	b.join("r2", "")
	for i := range 10 {
		a.sendf(`{"type":"publish","request_id":"p","payload":{"room":"r","id":"%d","data":1}}`, i/2)
		a.reply("p")
	}
	b.messages("r", 1, 5)
	b.fails(`x`, "bad_json", "")
	b.fails(`{"type":"leave","payload":{"room":"x"}}`, "not_joined", "room")
	for name, want := range map[string]float64{
		"fanfare_connections": 2, "fanfare_connections_opened_total": 2, "fanfare_rooms": 2, "fanfare_memberships": 3,
		"fanfare_messages_received_total":                      3 + 10 + 2,
		`fanfare_messages_published_total{result="stored"}`:    5,
		`fanfare_messages_published_total{result="duplicate"}`: 5,
		`fanfare_errors_sent_total{code="bad_json"}`:           1,
		`fanfare_errors_sent_total{code="not_joined"}`:         1,
		"fanfare_frames_sent_total":                            2 + 3 + 10 + 5*2 + 2, // welcome, joined, published, messages, errors
	} {
		s.untilMetric(name, want)
	}
	for _, name := range []string{"fanfare_bytes_sent_total", "fanfare_room_log_bytes", "fanfare_write_batch_frames_count", "fanfare_fanout_seconds_count"} {
		if s.metric(name) <= 0 {
			t.Errorf("%s did not move", name)
		}
	}
	if n := s.metric("fanfare_write_batch_frames_sum"); n != 10 {
		t.Errorf("%v frames in batches", n)
	}
	_ = a.write(frame.OpClose, []byte{3, 232})
	a.closed(1000)
	b.conn.Close()
	s.untilMetric(`fanfare_connections_closed_total{reason="normal",side="client"}`, 1)
	s.untilMetric(`fanfare_connections_closed_total{reason="eof",side="client"}`, 1)
	s.untilMetric("fanfare_connections", 0)
}

func TestQueuesAreSampledAndTheOldestIsShown(t *testing.T) {
	s := run(t, func(c *setup) { c.slow(room.Drop, 10, 0) })
	c := s.connect(dialing{small: true})
	c.join("r", "")
	last := s.storeN("r", 300, 30<<10)
	until(t, "a blocked connection is seen", func() bool {
		all := s.metrics()
		return all["fanfare_send_queue_oldest_seconds"] > 0 && all["fanfare_send_queue_depth_frames_sum"] >= 10 &&
			all["fanfare_send_queue_depth_bytes_sum"] > 10*30<<10
	})
	ledgerOf(c).rooms["r"] = &account{epoch: last.Epoch}
	for c.ledger.rooms["r"].seq < last.Seq {
		m := c.next()
		if err := c.ledger.take(&m); err != nil {
			t.Fatal(err)
		}
	}
	s.untilMetric("fanfare_send_queue_oldest_seconds", 0)
}

// One write carries all that a member is behind by.
func TestWritesAreCoalesced(t *testing.T) {
	s := run(t)
	c := s.dial()
	s.storeN("r", 200, 20)
	c.join("r", `,"last":200`)
	c.messages("r", 1, 200)
	s.untilMetric("fanfare_write_batch_frames_sum", 200)
	if n := s.metric("fanfare_write_batch_frames_count"); n > 20 {
		t.Errorf("%v writes for 200 frames", n)
	}
}
