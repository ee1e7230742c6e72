package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestABucketGivesItsBurstAndThenItsRate(t *testing.T) {
	var b bucket
	r := rate{perSecond: 10, burst: 20}
	for i := range 20 {
		if wait := b.take(5, 1, r); wait != 0 {
			t.Fatalf("%d of the burst has to wait %v", i, wait)
		}
	}
	wait := b.take(5, 1, r)
	if wait <= 0 || wait > 100*time.Millisecond {
		t.Fatalf("past the burst: wait %v", wait)
	}
	if again := b.take(5+int64(wait)-1, 1, r); again != 1 {
		t.Errorf("a nanosecond early: wait %v", again)
	}
	if again := b.take(5+int64(wait), 1, r); again != 0 {
		t.Errorf("after the wait it says %v", again)
	}
	if wait := new(bucket).take(0, 1000, r); wait != 0 {
		t.Errorf("more than the burst from a full bucket: wait %v", wait)
	}
	var large bucket
	large.take(0, 100, r)
	if wait := large.take(0, 1, r); wait != 8100*time.Millisecond {
		t.Errorf("behind one of ten seconds: wait %v", wait)
	}
	if wait := new(bucket).take(0, 1<<40, rate{}); wait != 0 {
		t.Errorf("without a rate: wait %v", wait)
	}
}

func TestTooManyMessagesAreRefusedWithWhenToComeBack(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.MessagesPerSecond = 5 })
	c := s.dial()
	c.ledger = newLedger(nil)
	refused := 0
	var after time.Duration
	for i := range 15 {
		c.sendf(`{"type":"ping","request_id":"%d"}`, i)
	}
	for i := range 15 {
		m := c.next()
		if m.ID != fmt.Sprint(i) {
			t.Errorf("reply %q, want %d", m.ID, i)
		}
		if m.Type == "error" {
			refused++
			after = m.Err.RetryAfter
			if m.Err.Code != protocol.RateLimited || after <= 0 || after > 201*time.Millisecond {
				t.Errorf("error %s", c.raw)
			}
		}
	}
	if refused == 0 || refused > 5 {
		t.Errorf("%d of 15 refused at 5 a second and 10 at once", refused)
	}
	<-time.After(after)
	c.send(`{"type":"ping"}`)
	c.expect("pong")
	if v := s.metric("fanfare_rate_limited_total"); v != float64(refused) {
		t.Errorf("%v counted, %d refused", v, refused)
	}
	s.untilMetric(`fanfare_errors_sent_total{code="rate_limited"}`, float64(refused))
}

func TestTooManyBytesAreRefused(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.BytesPerSecond = 1000 })
	c := s.dial()
	c.send(`{"type":"echo","request_id":"1","payload":` + sized(0, 1900) + `}`)
	c.expect("echo")
	c.send(`{"type":"publish","request_id":"2","payload":{"room":"r","data":` + sized(0, 500) + `}}`)
	if m := c.expect("error"); m.ID != "2" || m.Err.Code != protocol.RateLimited || m.Err.RetryAfter <= 0 {
		t.Errorf("error %s", c.raw)
	}
	if h := s.tail("r"); h.Seq != 0 {
		t.Error("what was refused was stored")
	}
}

func TestWhoDoesNotStopIsClosed(t *testing.T) {
	for name, op := range map[string]frame.Opcode{"messages": frame.OpText, "pings": frame.OpPing} {
		t.Run(name, func(t *testing.T) {
			s := run(t, func(c *setup) { c.Limits.MessagesPerSecond = 1 })
			c := s.dial()
			c.join("r", "")
			for range refusedMost + 20 {
				_ = c.write(op, []byte(`{"type":"ping"}`))
			}
			c.closed(protocol.CloseRate)
			s.untilMetric(`fanfare_connections_closed_total{reason="rate_limit",side="gateway"}`, 1)
			s.untilMetric("fanfare_memberships", 0)
		})
	}
}

func TestRoomsOfAConnectionAndMembersOfARoomAreLimited(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2; c.Limits.RoomsPerConn = 2; c.Limits.MembersPerRoom = 3 })
	c := s.dial()
	c.join("a", "")
	c.join("b", "")
	c.fails(`{"type":"join","payload":{"room":"c"}}`, "limit_exceeded", "room")
	c.join("a", "") // which is joined
	c.send(`{"type":"leave","request_id":"l","payload":{"room":"a"}}`)
	c.expect("left")
	c.join("c", "")

	members := []*client{s.dial(), s.dial(), s.dial(), s.dial(), s.dial(), s.dial()}
	for _, m := range members {
		m.send(`{"type":"join","request_id":"j","payload":{"room":"full"}}`)
	}
	in := 0
	for _, m := range members {
		switch r := m.reply("j"); r.Type {
		case "joined":
			in++
			defer m.conn.Close()
		case "error":
			if r.Err.Code != protocol.LimitExceeded {
				t.Errorf("error %s", m.raw)
			}
		}
	}
	if in != 3 {
		t.Errorf("%d of 6 joined", in)
	}
	for _, m := range members {
		m.conn.Close()
	}
	until(t, "there is room again", func() bool {
		c := s.dial()
		defer c.conn.Close()
		c.send(`{"type":"join","request_id":"j","payload":{"room":"full"}}`)
		return c.reply("j").Type == "joined"
	})
}

// Joins that wait together for a log that cannot take all of them: those that are
// refused leave those that are not as members of the room that the hub knows.
func TestAJoinThatIsRefusedDoesNotOrphanTheNext(t *testing.T) {
	free := make(chan struct{})
	s := run(t, func(c *setup) {
		c.Limits.QueuedBytes = 1000
		c.tap.reading = gate(t, "r", free)
	})
	a, b := s.dial(), s.dial()
	a.send(`{"type":"join","request_id":"j","payload":{"room":"r","last":5}}`)
	a.send(`{"type":"join","request_id":"k","payload":{"room":"r"}}`)
	a.sync()
	b.send(`{"type":"join","request_id":"j","payload":{"room":"r"}}`)
	b.sync()
	s.gw.backlogBytes.Add(10000)
	defer s.gw.backlogBytes.Add(-10000)
	close(free)
	if m := a.expect("error"); m.Err.Code != protocol.Unavailable {
		t.Errorf("error %s", a.raw)
	}
	a.expect("joined")
	b.expect("joined")
	s.store("r", "1")
	a.messages("r", 1, 1)
	b.messages("r", 1, 1)
}

func TestABrokerThatIsNotReadIsUnavailableToAJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for joinWait")
	}
	t.Parallel()
	s := run(t, func(c *setup) { c.tap.reading = always(errors.New("away")) })
	c := s.dial()
	c.send(`{"type":"join","request_id":"j","payload":{"room":"r"}}`)
	c.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	c.fails(`{"type":"history","payload":{"room":"r"}}`, "unavailable", "")
	for _, id := range []string{"j", "l"} {
		if m := c.expect("error"); m.ID != id || m.Err.Code != protocol.Unavailable {
			t.Errorf("want %s unavailable, got %s", id, c.raw)
		}
	}
	c.fails(`{"type":"leave","payload":{"room":"r"}}`, "not_joined", "room")
}
