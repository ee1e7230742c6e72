package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// refused wants a handshake to be refused for load, in words, and with the time
// after which it may be tried again.
func refused(t *testing.T, c *client, res *http.Response) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(c.raw, &body); err != nil || body.Error.Code != "unavailable" || body.Error.Message == "" {
		t.Errorf("body %s: %v", c.raw, err)
	}
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != retryAfter {
		t.Errorf("%s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
}

// The rate at which connections are taken in is bounded, over all loops; who comes
// back when it was told to is taken in.
func TestConnectionsBeyondTheAcceptRateAreRefusedForASecond(t *testing.T) {
	const rate = 3
	s := run(t, func(c *setup) { c.Loops, c.AcceptRate, c.Echo = 2, rate, true })
	begun := time.Now()
	accepted, turned := 0, 0
	for turned < 5 {
		path := []string{PathWS, PathEcho}[accepted%2]
		c, res := s.handshake(dialing{path: path})
		if res.StatusCode == http.StatusSwitchingProtocols {
			accepted++
			continue
		}
		turned++
		refused(t, c, res)
	}
	if most := rate + 1 + int(rate*time.Since(begun).Seconds()); accepted < rate || accepted > most {
		t.Errorf("%d were taken in at once, want %d to %d", accepted, rate, most)
	}
	if n := s.metric(`fanfare_handshakes_rejected_total{reason="accept_rate"}`); n != float64(turned) {
		t.Errorf("%v refusals counted of %d", n, turned)
	}
	<-time.After(time.Second) // as Retry-After says
	for i := range rate {
		if _, res := s.handshake(dialing{}); res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("connection %d after a second: %s", i, res.Status)
		}
	}
}

// What is refused for another reason spends nothing of the rate.
func TestOnlyWhoWouldBeTakenInCountsForTheAcceptRate(t *testing.T) {
	b, s := runRemote(t, func(c *setup, _ *remote) { c.AcceptRate = 1 })
	b.setReady(errAway)
	for range 5 {
		c, res := s.handshake(dialing{})
		refused(t, c, res)
	}
	b.setReady(nil)
	s.dial()
}

// A broker that cannot be relied upon: who is connected stays, who comes is asked
// to come later, and the checks say which one fails and since when.
func TestAGatewayThatIsNotReadyTakesNoOneIn(t *testing.T) {
	b, s := runRemote(t)
	stays := s.dial()
	ready := s.gw.Checks()
	b.setReady(errors.New("no probe for 12s"))
	for n := range 3 {
		c, res := s.handshake(dialing{})
		refused(t, c, res)
		s.untilMetric(`fanfare_handshakes_rejected_total{reason="not_ready"}`, float64(n+1))
	}
	before := time.Now()
	for range 2 {
		for _, c := range s.gw.Checks() {
			broken := c.Name == "broker"
			if c.OK == broken || broken && (c.Error != "no probe for 12s" || c.Since.After(time.Now()) || !c.Since.After(ready[1].Since)) {
				t.Errorf("%+v", c)
			}
		}
	}
	stays.sync()
	b.setReady(nil)
	s.dial()
	for _, c := range s.gw.Checks() {
		if !c.OK || c.Error != "" || c.Name == "broker" && c.Since.Before(before) {
			t.Errorf("%+v", c)
		}
	}
}

// hoard has a client ask for replies that it does not read, until the gateway
// holds so many bytes more of them.
func (s *service) hoard(c *client, bytes float64) {
	s.t.Helper()
	from := s.metric("fanfare_queued_reply_bytes")
	request := []byte(`{"type":"echo","payload":` + sized(0, 60<<10) + `}`)
	until(s.t, "replies are queued", func() bool {
		_ = c.write(1, request)
		return s.metric("fanfare_queued_reply_bytes")-from >= bytes || s.overloaded() > 0
	})
}

// overloaded is how many were closed for what they had queued.
func (s *service) overloaded() float64 {
	return s.metric(`fanfare_connections_closed_total{reason="queued_bytes",side="gateway"}`) +
		s.metric(`fanfare_connections_closed_total{reason="memory",side="gateway"}`)
}

// Past the limit of all queues those go that hold the most and take nothing, as
// many as it takes; what they had queued is not held against others while they
// take their leave. Whether they read again or not, the others stay.
func TestTheWorstBlockedConnectionsGoWhenQueuesAreFull(t *testing.T) {
	for _, reads := range []bool{true, false} {
		name := map[bool]string{true: "reads again", false: "never reads"}[reads]
		t.Run(name, func(t *testing.T) {
			const limit = 4 << 20
			s := run(t, func(c *setup) {
				c.Limits.QueuedBytes, c.Limits.ReplyBytes = limit, 64<<20
			})
			quiet, small, worst := s.dial(), s.connect(dialing{small: true}), s.connect(dialing{small: true})
			quiet.joinInto("r")
			s.hoard(small, limit/4)
			s.hoard(worst, limit)
			until(t, "one is sent away", func() bool { return s.overloaded() > 0 })
			if reads {
				worst.closed(protocol.CloseOverloaded)
				worst.conn.Close()
			}
			until(t, "its queue is gone", func() bool { return s.metric("fanfare_queued_reply_bytes") < limit })
			if n := s.overloaded(); n != 1 {
				t.Errorf("%v were sent away", n)
			}
			quiet.sync()
			last := s.store("r", `"still here"`)
			quiet.upTo(quiet.ledger, "r", protocol.Position(last))
			small.send(`{"type":"ping","request_id":"end"}`)
			small.reply("end")
		})
	}
}

// A drain shows how many it has still to send away.
func TestADrainShowsHowManyAreLeft(t *testing.T) {
	const all = 12
	s := run(t, func(c *setup) { c.Loops, c.DrainPeriod = 2, 500*time.Millisecond })
	clients := s.many(all)
	if d, n := s.metric("fanfare_draining"), s.metric("fanfare_drain_remaining_connections"); d != 0 || n != 0 {
		t.Errorf("before the drain: draining %v, %v remain", d, n)
	}
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	s.untilMetric("fanfare_draining", 1)
	seen := make(map[float64]bool)
	for _, c := range clients {
		go func() { c.conn.Read(c.buf); c.conn.Close() }()
	}
	least := float64(all)
	until(t, "all are gone", func() bool {
		n := s.metric("fanfare_drain_remaining_connections")
		if len(seen) == 0 && n == 0 {
			return false // it has just begun
		}
		if seen[n] = true; n > least {
			t.Errorf("%v remain after %v", n, least)
		}
		least = n
		return n == 0
	})
	if len(seen) < 4 {
		t.Errorf("seen %v", seen)
	}
	receive(t, stopped)
	if d := s.metric("fanfare_draining"); d != 1 {
		t.Errorf("draining %v at the end", d)
	}
}
