package metrics

import (
	"strings"
	"testing"
)

func TestEverySeriesOfUsersIsThereAtZero(t *testing.T) {
	page := scrape(t, NewSet("test", NewLoops(1)))
	for _, line := range []string{
		"fanfare_revocations 0", "fanfare_revocations_refused_total 0", "fanfare_disconnects_dropped_total 0",
		`fanfare_control_messages_total{type="ignored"} 0`,
		"fanfare_names_held 0", "fanfare_names_lost_total 0", `fanfare_name_claims_total{result="taken"} 0`,
		"fanfare_lifecycle_queue_depth 0", "fanfare_lifecycle_written_total 0", "fanfare_lifecycle_dropped_total 0",
		"fanfare_presence_queue_depth 0", "fanfare_presence_said_total 0", "fanfare_presence_failed_total 0",
		"fanfare_presence_events_total 0", "fanfare_presence_names_dropped_total 0",
		"fanfare_presence_sent_total 0", "fanfare_presence_skipped_total 0",
		`fanfare_connections_closed_total{reason="token_expired",side="gateway"} 0`,
		`fanfare_connections_closed_total{reason="token_revoked",side="gateway"} 0`,
		`fanfare_connections_closed_total{reason="operator",side="gateway"} 0`,
		`fanfare_handshakes_rejected_total{reason="token"} 0`, `fanfare_handshakes_rejected_total{reason="token_missing"} 0`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}
