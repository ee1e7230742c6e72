package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func scrape(t *testing.T, s *Set) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestEverySeriesIsThereAtZero(t *testing.T) {
	page := scrape(t, NewSet("test", NewLoops(2)))
	for _, line := range []string{
		"fanfare_connections 0", "fanfare_connections_opened_total 0",
		`fanfare_connections_closed_total{reason="heartbeat_timeout",side="gateway"} 0`,
		`fanfare_handshakes_rejected_total{reason="timeout"} 0`,
		`fanfare_token_refused_total{reason="too_long"} 0`, `fanfare_token_refused_total{reason="revoked"} 0`,
		`fanfare_jwks_refreshes_total{result="failed"} 0`, `fanfare_accept_errors_total{reason="memory"} 0`,
		`fanfare_http_requests_total{call="publish_many",code="2xx"} 0`, `fanfare_http_requests_total{call="none",code="5xx"} 0`,
		"fanfare_http_requests_in_flight 0",
		`fanfare_config_reloads_total{result="applied"} 0`, `fanfare_config_reloads_total{result="failed"} 0`,
		`fanfare_limit_refusals_total{limit="connections"} 0`, `fanfare_limit_refusals_total{limit="user_connects"} 0`,
		`fanfare_limit_refusals_total{limit="address_rooms"} 0`, `fanfare_limit_refusals_total{limit="room_members"} 0`,
		"fanfare_rooms 0", "fanfare_memberships 0", "fanfare_messages_received_total 0",
		`fanfare_messages_published_total{result="stored"} 0`,
		"fanfare_frames_sent_total 0", "fanfare_bytes_sent_total 0", "fanfare_write_batch_frames_count 0",
		"fanfare_send_queue_depth_frames_count 0", `fanfare_send_queue_depth_frames_bucket{le="8192"} 0`, "fanfare_send_queue_depth_bytes_count 0",
		"fanfare_send_queue_oldest_seconds 0", `fanfare_dropped_frames_total{policy="conflate",stage="queue"} 0`,
		`fanfare_heartbeat_timeouts_total{kind="silent"} 0`, "fanfare_heartbeat_rtt_seconds_count 0",
		"fanfare_fanout_seconds_count 0", "fanfare_loop_turn_seconds_count 0", "fanfare_loop_inbox_depth 0",
		"fanfare_tls_handshakes 0", "fanfare_tls_handshakes_total 0", "fanfare_tls_certificate_not_after_seconds 0",
		`fanfare_tls_handshake_errors_total{reason="protocol"} 0`, `fanfare_tls_handshake_errors_total{reason="draining"} 0`,
		"go_goroutines ", "process_open_fds ", `fanfare_build_info{go="`,
	} {
		if !strings.Contains(page, "\n"+line) {
			t.Errorf("no line %q", line)
		}
	}
}

func TestLoopsAreSummed(t *testing.T) {
	set := NewSet("test", NewLoops(2))
	a, b := set.Loops()[0], set.Loops()[1]
	a.FramesSent.Add(2)
	b.FramesSent.Add(3)
	a.Fanout.Observe(2_000_000)
	b.Fanout.Observe(700_000_000)
	a.Closed(CloseDrain)
	b.Rejected("no such reason")
	a.QueueOldest.Set(5e9)
	b.QueueOldest.Set(7e9)
	set.TokenRefused(TokenExpired)
	a.Limited(LimitRoomMessages)
	b.Limited(LimitRoomMessages)
	set.Limited(LimitRoomMessages)
	set.JWKSRefresh(JWKSRefreshed)
	for status, n := range map[int]int{200: 1, 204: 1, 404: 1, 413: 1, 429: 1, 500: 1, 503: 3} {
		for range n {
			set.HTTPRequest(HTTPForget, status)
		}
	}
	page := scrape(t, set)
	for _, line := range []string{
		`fanfare_http_requests_total{call="forget",code="2xx"} 2`, `fanfare_http_requests_total{call="forget",code="4xx"} 3`,
		`fanfare_http_requests_total{call="forget",code="5xx"} 4`,
		"fanfare_frames_sent_total 5",
		`fanfare_fanout_seconds_bucket{le="0.0025"} 1`,
		`fanfare_fanout_seconds_bucket{le="1"} 2`,
		"fanfare_fanout_seconds_sum 0.702",
		`fanfare_connections_closed_total{reason="drain",side="gateway"} 1`,
		`fanfare_handshakes_rejected_total{reason="other"} 1`,
		"fanfare_send_queue_oldest_seconds 7",
		`fanfare_limit_refusals_total{limit="room_messages"} 3`,
		`fanfare_token_refused_total{reason="expired"} 1`, `fanfare_jwks_refreshes_total{result="ok"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	for r := range closeReasons {
		if r.String() == "" || r.Side() == "" {
			t.Errorf("close reason %d has no name", r)
		}
	}
}
