package metrics

import (
	"strings"
	"testing"
	"time"
)

func TestEverySeriesOfTheRelayIsThereAtZero(t *testing.T) {
	s, r := NewSet("test", nil), NewRelay()
	s.AddRelay(r)
	page := scrape(t, s)
	for _, line := range []string{
		"fanfare_relay_published_total 0", "fanfare_relay_received_total 0", "fanfare_relay_dropped_total 0",
		"fanfare_relay_junk_total 0", "fanfare_relay_subscriptions 0", "fanfare_relay_lag_seconds_count 0",
		`fanfare_relay_gaps_total{outcome="repaired"} 0`, "fanfare_relay_probe_age_seconds 0",
		`fanfare_relay_reconnects_total{reason="probe"} 0`, `fanfare_redis_command_seconds_count{command="publish"} 0`,
		`fanfare_redis_errors_total{command="range"} 0`, `fanfare_resume_total{result="recovered"} 0`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func TestTheRelayCounts(t *testing.T) {
	s, r := NewSet("test", nil), NewRelay()
	s.AddRelay(r)
	r.Command(RedisRange, 3*time.Millisecond, true)
	r.Command(RedisPublish, time.Millisecond, false)
	r.Failed(RedisPublish)
	r.Reconnected(ReconnectMoved)
	r.Gaps[GapLost].Inc()
	r.Resumes[ResumeReset].Inc()
	r.ProbeAge(func() time.Duration { return 1500 * time.Millisecond })
	page := scrape(t, s)
	for _, line := range []string{
		`fanfare_redis_command_seconds_bucket{command="range",le="0.0025"} 0`,
		`fanfare_redis_command_seconds_bucket{command="range",le="0.005"} 1`,
		`fanfare_redis_errors_total{command="range"} 1`, `fanfare_redis_errors_total{command="publish"} 1`,
		`fanfare_relay_reconnects_total{reason="moved"} 1`, `fanfare_relay_gaps_total{outcome="lost"} 1`,
		`fanfare_resume_total{result="reset"} 1`, "fanfare_relay_probe_age_seconds 1.5",
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}
