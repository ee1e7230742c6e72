package gateway

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// The table of PROTOCOL section 5, with a log that keeps 21 to 30 of 30.
func TestWhatAJoinAsksForIsWhereItStands(t *testing.T) {
	s := run(t, func(c *setup) { c.history(10, 0, 0) })
	member := s.dial()
	member.join("r", "") // so that the log is one that has grown
	epoch := s.storeN("r", 30, 10).Epoch
	tests := []struct {
		more     string
		seq      uint64
		recovery protocol.Recovery
		lostTo   uint64 // the gap's end; 0: no gap
	}{
		{``, 30, protocol.NotAsked, 0},
		{`,"last":0`, 30, protocol.NotAsked, 0},
		{`,"last":1`, 29, protocol.NotAsked, 0},
		{`,"last":10`, 20, protocol.NotAsked, 0},
		{`,"last":11`, 20, protocol.NotAsked, 0},
		{`,"last":9007199254740991`, 20, protocol.NotAsked, 0},
		{since(epoch, 30), 30, protocol.Recovered, 0},
		{since(epoch, 25), 25, protocol.Recovered, 0},
		{since(epoch, 20), 20, protocol.Recovered, 0},
		{since(epoch, 19), 19, protocol.NotRecovered, 20},
		{since(epoch, 0), 0, protocol.NotRecovered, 20},
		{since(epoch, 31), 20, protocol.NotRecovered, 0},
		{since(epoch, 9007199254740991), 20, protocol.NotRecovered, 0},
		{since("another", 25), 20, protocol.NotRecovered, 0},
		{since("another", 0), 20, protocol.NotRecovered, 0},
	}
	check := func(t *testing.T) {
		for _, test := range tests {
			c := s.dial()
			j := c.join("r", test.more)
			if j.Epoch != epoch || j.Seq != test.seq || j.Recovery != test.recovery {
				t.Errorf("%s: %+v", test.more, j)
				continue
			}
			from := test.seq + 1
			if test.lostTo > 0 {
				g := c.expect("gap").Gap
				if g.From != from || g.To != test.lostTo || g.Reason != protocol.GapHistoryLost || g.Epoch != epoch || g.Room != "r" {
					t.Errorf("%s: gap %+v", test.more, g)
				}
				from = test.lostTo + 1
			}
			c.messages("r", from, 30)
			c.sync()
			c.conn.Close()
		}
	}
	t.Run("in a log that has grown", check)
	member.conn.Close()
	s.untilMetric("fanfare_memberships", 0)
	t.Run("in a log without members", check)
	s.untilMetric("fanfare_memberships", 0)
	s.letGo()
	t.Run("in a log that is read anew", check)
}

func TestARoomThatWasNeverUsed(t *testing.T) {
	s := run(t)
	for more, recovery := range map[string]protocol.Recovery{
		``: protocol.NotAsked, `,"last":5`: protocol.NotAsked, since("other", 0): protocol.NotRecovered, since("other", 7): protocol.NotRecovered,
	} {
		c := s.dial()
		if j := c.join("r", more); j.Seq != 0 || j.Recovery != recovery || j.Epoch == "" {
			t.Errorf("%s: %+v", more, j)
		}
		if j := c.join("r2", since(c.join("r", "").Epoch, 0)); j.Seq != 0 || j.Recovery != protocol.NotRecovered {
			t.Errorf("the epoch of another room: %+v", j)
		}
		c.sync()
		c.conn.Close()
	}
	c := s.dial()
	epoch := c.join("r", "").Epoch
	d := s.dial()
	if j := d.join("r", since(epoch, 0)); j.Recovery != protocol.Recovered || j.Seq != 0 || j.Members < 2 {
		t.Errorf("from the beginning of an empty log: %+v", j)
	}
	s.store("r", "1")
	c.messages("r", 1, 1)
	d.messages("r", 1, 1)
}

func TestARoomWithoutHistory(t *testing.T) {
	s := run(t, func(c *setup) { c.history(0, 0, 0) })
	c := s.dial()
	c.join("r", "")
	epoch := s.storeN("r", 5, 10).Epoch
	c.messages("r", 1, 5)
	d := s.dial()
	if j := d.join("r", since(epoch, 5)); j.Recovery != protocol.Recovered || j.Seq != 5 {
		t.Errorf("from the newest: %+v", j)
	}
	e := s.dial()
	if j := e.join("r", since(epoch, 2)); j.Recovery != protocol.NotRecovered || j.Seq != 2 {
		t.Errorf("from 2: %+v", j)
	}
	if g := e.expect("gap").Gap; g.From != 3 || g.To != 5 {
		t.Errorf("gap %+v", g)
	}
	s.store("r", "6")
	for _, c := range []*client{c, d, e} {
		c.messages("r", 6, 6)
	}
}

func TestHistoryByBytesAndAge(t *testing.T) {
	s := run(t, func(c *setup) { c.history(1000, 100, 0) })
	epoch := s.storeN("r", 10, 30).Epoch // 8 to 10 are within 100 bytes
	c := s.dial()
	if j := c.join("r", `,"last":1000`); j.Seq != 7 {
		t.Errorf("joined %+v", j)
	}
	c.messages("r", 8, 10)
	c.publish("r", sized(0, 200)) // which alone is too much
	d := s.dial()
	if j := d.join("r", since(epoch, 10)); j.Recovery != protocol.NotRecovered || j.Seq != 10 {
		t.Errorf("joined %+v", j)
	}
	if g := d.expect("gap").Gap; g.From != 11 || g.To != 11 {
		t.Errorf("gap %+v", g)
	}

	s = run(t, func(c *setup) { c.history(1000, 0, 200*time.Millisecond) })
	s.storeN("r", 3, 10)
	keeper := s.dial()
	keeper.join("r", "")
	until(t, "the messages are too old", func() bool {
		c := s.dial()
		defer c.conn.Close()
		return c.join("r", `,"last":10`).Seq == 3
	})
}

// Members join, resume and leave at many places while the room grows; each sees
// every seq once, or in a gap.
func TestResumingWhileAPublisherRuns(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2; c.history(64, 0, 0); c.slow(0, 1<<20, 0) })
	epoch := s.storeN("r", 100, 10).Epoch
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	p := s.dial()
	last := uint64(100)
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				last = p.publish("r", fmt.Sprintf(`"%d"`, i)).Seq
			}
		}
	})
	type member struct {
		c *client
		l *ledger
	}
	var members []member
	seen := make(map[protocol.Position][]byte)
	for i := range uint64(60) {
		c := s.dial()
		l := newLedger(seen)
		more := since(epoch, 40+7*i)
		if i%5 == 4 {
			more = fmt.Sprintf(`,"last":%d`, i)
		}
		c.sendf(`{"type":"join","payload":{"room":"r"%s}}`, more)
		// Until it has caught up with something that came after it joined.
		m := c.expect("joined")
		if err := l.take(&m); err != nil {
			t.Fatal(err)
		}
		a := l.rooms["r"]
		for target := a.seq + 20; a.seq < target; {
			m := c.next()
			if err := l.take(&m); err != nil {
				t.Fatalf("since %d: %v", 40+7*i, err)
			}
		}
		members = append(members, member{c, l})
	}
	close(stop)
	publisher.Wait()
	for i, m := range members {
		a := m.c.upTo(m.l, "r", protocol.Position{Epoch: epoch, Seq: last})
		if len(a.gaps) > 1 || len(a.gaps) == 1 && a.gaps[0].Reason != protocol.GapHistoryLost {
			t.Errorf("member %d: gaps %+v", i, a.gaps)
		}
		m.c.sync()
	}
}

// A backlog is whole although the window is small and the reader is slow.
func TestABacklogIsWholeHoweverSlowTheReader(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.name, func(t *testing.T) {
			s := run(t, func(c *setup) {
				c.slow(policy.policy, 2, 0)
				c.history(1000, 0, 0)
			})
			const kept = 400
			epoch := s.storeN("r", kept, 30<<10).Epoch // 12 MB: more than sockets hold
			c := s.connect(dialing{small: true})
			l := newLedger(nil)
			c.sendf(`{"type":"join","payload":{"room":"r"%s}}`, since(epoch, 0))
			until(t, "the socket is full", func() bool { return s.gw.backlogBytes.Load() > 0 && s.metric("fanfare_memberships") == 1 })
			s.storeN("r", 50, 100) // beyond the window, while the backlog goes out
			for l.rooms["r"] == nil || l.rooms["r"].delivered < kept {
				m := c.next()
				if err := l.take(&m); err != nil {
					t.Fatal(err)
				}
				if len(l.rooms["r"].gaps) > 0 {
					t.Fatalf("a gap in the backlog: %+v", l.rooms["r"].gaps)
				}
			}
			policy.after(t, c, l, protocol.Position{Epoch: epoch, Seq: kept + 50})
			if n := s.gw.backlogBytes.Load(); n != 0 {
				t.Errorf("%d bytes of backlog are left", n)
			}
		})
	}
}
