package metrics

import "time"

// Totals are a few sums over all loops, for who shows them without Prometheus.
type Totals struct {
	Opened, Received, Sent, SentBytes, Dropped, Resets, Timeouts uint64
	Heartbeats, Fanout                                           Timing
}

// Timing is how often something was measured, and how long it took in all.
type Timing struct {
	Count   uint64
	Seconds float64
}

// Totals reads them.
func (s *Set) Totals() Totals {
	var t Totals
	var heartbeats, fanouts []*Histogram
	for _, l := range s.loops {
		t.Opened += l.Opened.Value()
		t.Received += l.MessagesReceived.Value()
		t.Sent += l.FramesSent.Value()
		t.SentBytes += l.BytesSent.Value()
		t.Resets += l.Resets.Value()
		for stage := range l.dropped {
			for policy := range l.dropped[stage] {
				t.Dropped += l.dropped[stage][policy].Value()
			}
		}
		for kind := range l.heartbeatTimeouts {
			t.Timeouts += l.heartbeatTimeouts[kind].Value()
		}
		heartbeats, fanouts = append(heartbeats, &l.HeartbeatRTT), append(fanouts, &l.Fanout)
	}
	t.Heartbeats, t.Fanout = timing(heartbeats...), timing(fanouts...)
	return t
}

// timing is of histograms of durations.
func timing(hs ...*Histogram) Timing {
	sum := sumHistograms(latencies, hs)
	return Timing{Count: sum.count, Seconds: sum.sum}
}

// RelayTotals are the same of a Relay.
type RelayTotals struct {
	ProbeAge         time.Duration // 0: nothing was proved yet
	Lag              Timing
	Reconnects, Gaps uint64
}

// Totals reads them.
func (r *Relay) Totals() RelayTotals {
	t := RelayTotals{Lag: timing(&r.Lag)}
	if age := r.probeAge.Load(); age != nil {
		t.ProbeAge = (*age)()
	}
	for i := range r.reconnects {
		t.Reconnects += r.reconnects[i].Value()
	}
	for i := range r.Gaps {
		t.Gaps += r.Gaps[i].Value()
	}
	return t
}
