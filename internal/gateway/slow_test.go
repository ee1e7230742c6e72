package gateway

import (
	"fmt"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// policies are what may be done with a slow member, and what it then sees after
// what it was owed.
var policies = []struct {
	name   string
	policy room.Policy
	reason protocol.GapReason
	after  func(*testing.T, *client, *ledger, protocol.Position)
}{
	{"drop", room.Drop, protocol.GapSlowConsumer, goesOn},
	{"conflate", room.Conflate, protocol.GapConflated, goesOn},
	{"disconnect", room.Disconnect, "", isClosed},
}

func goesOn(t *testing.T, c *client, l *ledger, to protocol.Position) {
	t.Helper()
	c.upTo(l, "r", to)
	c.sync()
}

func isClosed(t *testing.T, c *client, l *ledger, to protocol.Position) {
	t.Helper()
	for {
		m, err := c.poll(patience)
		if err != nil {
			break
		}
		if err := l.take(&m); err != nil {
			t.Fatal(err)
		}
	}
	if a := l.rooms["r"]; c.code != protocol.CloseSlow || len(a.gaps) > 0 || a.seq >= to.Seq {
		t.Errorf("close code %d, at %d of %d, gaps %+v", c.code, a.seq, to.Seq, a.gaps)
	}
}

// A member that does not read is past its window: what it is sent and what its
// gaps name is all there was, and another member gets all.
func TestASlowMemberIsSentOrToldOfEverything(t *testing.T) {
	const all = 600
	for _, policy := range policies {
		for _, window := range []struct {
			name     string
			messages int
			bytes    int64
		}{{"messages", 8, 0}, {"bytes", 0, 100 << 10}} {
			t.Run(policy.name+" by "+window.name, func(t *testing.T) {
				s := run(t, func(c *setup) { c.slow(policy.policy, window.messages, window.bytes) })
				slow, quick := s.connect(dialing{small: true}), s.dial()
				ls := newLedger(nil)
				slow.send(`{"type":"join","payload":{"room":"r"}}`)
				m := slow.expect("joined")
				_ = ls.take(&m)
				quick.join("r", "")
				var last protocol.Position
				for i := range all {
					last = protocol.Position(s.store("r", sized(i, 30<<10)))
					m := quick.expect("message")
					if m.Message.Seq != last.Seq {
						t.Fatalf("the quick member got %d, want %d", m.Message.Seq, last.Seq)
					}
					if policy.policy == room.Disconnect && s.closedAsSlow() > 0 {
						break // it is soon cut off unless it reads (loop.Config.Linger)
					}
				}
				policy.after(t, slow, ls, last)
				dropped := s.metric(fmt.Sprintf(`fanfare_dropped_frames_total{policy="%s",stage="queue"}`, policy.name))
				if policy.policy == room.Disconnect {
					if n := s.closedAsSlow(); n != 1 || dropped != 0 {
						t.Errorf("%v closed as slow, %v dropped", n, dropped)
					}
					return
				}
				a := ls.rooms["r"]
				if a.delivered+a.gapped != all || a.gapped == 0 || uint64(dropped) != a.gapped {
					t.Errorf("%d delivered, %d in gaps, %v counted as dropped, of %d", a.delivered, a.gapped, dropped, all)
				}
				for _, g := range a.gaps {
					if g.Reason != policy.reason {
						t.Errorf("gap %+v", g)
					}
				}
			})
		}
	}
}

func (s *service) closedAsSlow() float64 {
	s.t.Helper()
	return s.metric(`fanfare_connections_closed_total{reason="slow_consumer",side="gateway"}`)
}

func TestConflationKeepsTheNewest(t *testing.T) {
	s := run(t, func(c *setup) { c.slow(room.Conflate, 4, 0) })
	c := s.connect(dialing{small: true})
	l := newLedger(nil)
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	s.storeN("r", 1, 10)
	m := c.expect("joined")
	_ = l.take(&m)
	last := s.storeN("r", 500, 30<<10)
	a := c.upTo(l, "r", protocol.Position(last))
	if n := len(a.gaps); n == 0 || a.gaps[n-1].To != last.Seq-1 {
		t.Errorf("gaps %+v up to %d", a.gaps, last.Seq)
	}
}

// What is not a room's goes its way while a room's frames are skipped, and no
// frame that was begun is cut: the client's reader would not find the next.
func TestRepliesAndControlFramesSurviveASlowReader(t *testing.T) {
	s := run(t, func(c *setup) { c.slow(room.Drop, 4, 0) })
	c := s.connect(dialing{small: true})
	l := newLedger(nil)
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	m := c.expect("joined")
	_ = l.take(&m)
	const rounds = 40
	var last protocol.Position
	for i := range rounds {
		last = protocol.Position(s.storeN("r", 20, 30<<10+i))
		c.sendf(`{"type":"echo","request_id":"%d","payload":%d}`, i, i)
		_ = c.write(frame.OpPing, fmt.Append(nil, i))
	}
	echoes := 0
	for echoes < rounds || l.rooms["r"].seq < last.Seq {
		m := c.next()
		if m.Type == "echo" {
			if m.ID != fmt.Sprint(echoes) {
				t.Fatalf("echo %s, want %d", m.ID, echoes)
			}
			echoes++
		}
		if err := l.take(&m); err != nil {
			t.Fatal(err)
		}
	}
	if a := l.rooms["r"]; a.delivered+a.gapped != rounds*20 || a.gapped == 0 {
		t.Errorf("%d delivered, %d in gaps", a.delivered, a.gapped)
	}
	if c.pongs == 0 {
		t.Error("no pong at all") // those of a full socket make place for newer ones
	}
}

func TestRepliesThatAreNotReadEndTheConnection(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.ReplyBytes = 64 << 10 })
	c := s.connect(dialing{small: true})
	payload := sized(0, 32<<10)
	until(t, "it is closed", func() bool {
		_ = c.write(frame.OpText, []byte(`{"type":"echo","payload":`+payload+`}`))
		return s.metric(`fanfare_connections_closed_total{reason="replies_unread",side="gateway"}`) == 1
	})
	c.closed(protocol.CloseSlow)
	s.untilMetric("fanfare_queued_reply_bytes", 0)
}

// A slow member that leaves, or goes, takes nothing of others with it.
func TestASlowMemberThatLeavesLeavesNothing(t *testing.T) {
	s := run(t, func(c *setup) { c.slow(room.Drop, 4, 0) })
	stays, leaves, goes := s.dial(), s.connect(dialing{small: true}), s.connect(dialing{small: true})
	for _, c := range []*client{stays, leaves, goes} {
		c.join("r", "")
	}
	last := s.storeN("r", 300, 30<<10)
	leaves.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	goes.conn.Close()
	s.untilMetric("fanfare_memberships", 1)
	next := s.store("r", `"after"`)
	for {
		if m := leaves.next(); m.Type == "left" {
			break
		} else if m.Message.Seq > last.Seq {
			t.Errorf("message %d after it left", m.Message.Seq)
		}
	}
	leaves.sync()
	l := newLedger(nil)
	l.rooms["r"] = &account{epoch: next.Epoch}
	stays.upTo(l, "r", protocol.Position(next))
}
