package gateway

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// joinAll connects members on every loop and joins them to the room.
func (s *service) joinAll(n int, name string) []*client {
	s.t.Helper()
	members := make([]*client, n)
	for i := range members {
		members[i] = s.dial()
		members[i].joinInto(name)
	}
	return members
}

// allStand wants every member to come to the place, with so many resets on its
// way, each in its place in the order, and nothing in a gap.
func allStand(t *testing.T, members []*client, p protocol.Position, resets int) {
	t.Helper()
	for i, c := range members {
		a := c.upTo(ledgerOf(c), "r", p)
		if a.resets != resets || a.gapped != 0 {
			t.Errorf("member %d: %d resets, want %d, gaps %+v", i, a.resets, resets, a.gaps)
		}
	}
}

// settled wants that, with all repaired, a comparison finds nothing to read and
// members get nothing more.
func settled(t *testing.T, b *remote, s *service, members []*client) {
	t.Helper()
	until(t, "no read is under way", func() bool {
		r := s.gw.hub.find("r")
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.filling
	})
	reads, renewals := b.count(&b.reads), b.count(&b.renewals)
	for range 3 {
		s.compareNow()
	}
	for _, c := range members {
		c.sync()
	}
	if n := b.count(&b.reads); n != reads {
		t.Errorf("%d reads more after all was repaired", n-reads)
	}
	if n := b.count(&b.renewals); n != renewals {
		t.Errorf("%d renewals more after all was repaired", n-renewals)
	}
}

func numbers(n int) []string {
	data := make([]string, n)
	for i := range data {
		data[i] = fmt.Sprint(i)
	}
	return data
}

// rewinds are what a log of ten messages may have become that was rewound to its
// fifth: so many others were stored since. The last one has a jump as well.
var rewinds = []struct {
	name   string
	others int
}{{"a lower tail", 0}, {"a lower tail with others", 3}, {"the same tail with others", 5}, {"a higher tail with others", 8}}

// findings are how a gateway comes to know of it.
var findings = []struct {
	name string
	find func(*remote, *service) // while the comparison finds nothing by itself
}{
	{"a delivery", func(b *remote, s *service) { s.quieten(); b.store("r", true, `"found"`) }},
	{"a refill", func(b *remote, _ *service) { b.confirm("r") }},
	{"the comparison", func(b *remote, s *service) { b.setBlind(false); s.compareNow() }},
}

// A failover to a replica that lagged: the same epoch, and other messages under
// seqs that were delivered. All members are told by a reset, and get all that the
// new log keeps: none of it is taken for what they had under the same seq.
func TestARewoundLogBecomesANewEpoch(t *testing.T) {
	for _, rewind := range rewinds {
		for _, found := range findings {
			t.Run(rewind.name+", found by "+found.name, func(t *testing.T) {
				if rewind.others == 5 && found.name == "a delivery" {
					t.Skip("the delivery follows on the newest seq; the refill that a failover brings comes before it")
				}
				b, s := runRemote(t)
				members := s.joinAll(4, "r")
				old := protocol.Position(b.store("r", true, numbers(10)...))
				allStand(t, members, old, 0)
				b.setBlind(true)
				b.rewind("r", 5)
				b.store("r", false, numbers(rewind.others)...)
				found.find(b, s)
				until(t, "the epoch is another", func() bool { return b.tail("r").Epoch != old.Epoch })
				b.setBlind(false)
				now := b.tail("r")
				allStand(t, members, now, 1)
				for i, c := range members {
					if a := ledgerOf(c).rooms["r"]; a.delivered != old.Seq+now.Seq {
						t.Errorf("member %d got %d messages of %d and %d", i, a.delivered, old.Seq, now.Seq)
					}
				}
				allStand(t, members, protocol.Position(b.store("r", true, `"next"`)), 1)
				settled(t, b, s, members)
				if n := b.count(&b.renewals); n != 1 {
					t.Errorf("renewed %d times", n)
				}
				if n := s.metric(`fanfare_relay_gaps_total{outcome="reset"}`); n != 1 {
					t.Errorf("%v gaps ended in a reset", n)
				}
				if n := s.metric("fanfare_resets_total"); n != float64(len(members)) {
					t.Errorf("%v resets counted", n)
				}
			})
		}
	}
}

// The same seq with another stamp is delivered at once after the failover: it is
// not taken for an echo of what was just read.
func TestAnotherMessageUnderTheNewestSeqIsNoDuplicate(t *testing.T) {
	b, s := runRemote(t)
	members := s.joinAll(3, "r")
	allStand(t, members, protocol.Position(b.store("r", true, numbers(4)...)), 0)
	b.setBlind(true)
	b.rewind("r", 3)
	b.store("r", true, `"another"`)
	until(t, "it was renewed", func() bool { return b.count(&b.renewals) > 0 })
	b.setBlind(false)
	c := members[0]
	for {
		m := c.next()
		if err := c.ledger.take(&m); err != nil {
			t.Fatal(err)
		}
		if m.Type == "message" && string(m.Message.Data) == `"another"` {
			break
		}
	}
	allStand(t, members, b.tail("r"), 1)
	settled(t, b, s, members)
}

// What is delivered twice, or late, is no sign of another log.
func TestEchoesAreNoRewoundLog(t *testing.T) {
	b, s := runRemote(t)
	members := s.joinAll(2, "r")
	last := b.store("r", true, numbers(10)...)
	for _, late := range []bool{false, true} {
		if late {
			s.quieten()
		}
		all := b.page(queryAll("r")).Messages
		b.mu.Lock()
		b.sink.Deliver(all[7:])
		b.sink.Deliver(all[:5])
		b.mu.Unlock()
	}
	allStand(t, members, protocol.Position(last), 0)
	settled(t, b, s, members)
	if n := b.count(&b.renewals); n != 0 {
		t.Errorf("renewed %d times", n)
	}
}

// The news of the new epoch may come at any time: before the page of the new log,
// which is what the fake does; after it; or never.
func TestTheResetOfARenewalMayComeLateOrNever(t *testing.T) {
	for _, comes := range []bool{false, true} {
		t.Run(fmt.Sprint("comes ", comes), func(t *testing.T) {
			b, s := runRemote(t)
			members := s.joinAll(4, "r")
			allStand(t, members, protocol.Position(b.store("r", true, numbers(10)...)), 0)
			b.setDeaf(true)
			b.rewind("r", 6)
			b.confirm("r")
			until(t, "it was renewed", func() bool { return b.count(&b.renewals) > 0 })
			until(t, "the new log is there", func() bool { return s.gw.hub.find("r").log.Load().Epoch() == b.tail("r").Epoch })
			allStand(t, members, b.tail("r"), 1)
			b.setDeaf(false)
			if comes {
				b.mu.Lock()
				b.tellReset("r", b.log("r"))
				b.mu.Unlock()
			}
			allStand(t, members, protocol.Position(b.store("r", true, `"next"`)), 1)
			settled(t, b, s, members)
		})
	}
}

// Another gateway was quicker: its news come before this one has seen anything,
// and while this one reads or renews.
func TestAnotherGatewayRenewsTheLogFirst(t *testing.T) {
	for _, when := range []string{"before", "during the read", "during the renewal"} {
		t.Run(when, func(t *testing.T) {
			var b *remote
			var armed atomic.Bool
			quicker := func() {
				if armed.Swap(false) {
					b.renew("r", b.tail("r").Epoch)
				}
			}
			b, s := runRemote(t, func(_ *setup, f *remote) {
				b = f
				switch when {
				case "during the read":
					f.onPage = func(broker.Page) { quicker() }
				case "during the renewal":
					f.onRenew = func() error { quicker(); return nil }
				}
			})
			members := s.joinAll(4, "r")
			old := protocol.Position(b.store("r", true, numbers(10)...))
			allStand(t, members, old, 0)
			b.rewind("r", 5)
			b.store("r", false, numbers(7)...)
			armed.Store(true)
			if when == "before" {
				quicker()
			} else {
				b.confirm("r")
			}
			until(t, "the epoch is another", func() bool { return b.tail("r").Epoch != old.Epoch })
			allStand(t, members, b.tail("r"), 1)
			allStand(t, members, protocol.Position(b.store("r", true, `"next"`)), 1)
			settled(t, b, s, members)
		})
	}
}

// Renew fails, or has no effect that a read would show: the room waits, nothing of
// the rewound log is delivered, and it is tried again.
func TestARenewalIsTriedUntilItWorks(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"fails", "is not answered for"} {
		t.Run(failing, func(t *testing.T) {
			var tries, working atomic.Int64
			var b *remote
			b, s := runRemote(t, func(_ *setup, f *remote) {
				b = f
				f.onRenew = func() error {
					if tries.Add(1); working.Load() > 0 {
						return nil
					}
					return errAway
				}
			})
			members := s.joinAll(2, "r")
			old := protocol.Position(b.store("r", true, numbers(10)...))
			allStand(t, members, old, 0)
			b.rewind("r", 5)
			b.store("r", true, numbers(9)...) // 10 is another, 11 to 14 follow
			until(t, "it was tried thrice", func() bool { return tries.Load() >= 3 })
			for _, c := range members {
				c.sync()
			}
			working.Store(1)
			until(t, "the epoch is another", func() bool { return b.tail("r").Epoch != old.Epoch })
			allStand(t, members, b.tail("r"), 1)
			settled(t, b, s, members)
		})
	}
}

// A room is confirmed twice at once and grows while it is read: a page that is
// older than the log is not one of a log that was rewound.
func TestTwoReadsOfARoomAtOnceDoNotMakeItLookRewound(t *testing.T) {
	pages := make(chan struct{})
	var held atomic.Bool
	var waiting atomic.Int64
	b, s := runRemote(t, func(_ *setup, f *remote) {
		f.onPage = func(broker.Page) {
			if held.Load() {
				waiting.Add(1)
				select {
				case <-pages:
				case <-t.Context().Done():
				}
			}
		}
	})
	members := s.joinAll(2, "r")
	members[0].joinInto("other")
	allStand(t, members, protocol.Position(b.store("r", true, numbers(5)...)), 0)
	held.Store(true)
	b.confirm("r")
	b.confirm("r")
	b.confirm("other")
	until(t, "the reads are under way", func() bool { return waiting.Load() >= 2 })
	last := protocol.Position(b.store("r", true, numbers(3)...))
	pages <- struct{}{}
	pages <- struct{}{}
	held.Store(false)
	close(pages)
	allStand(t, members, last, 0)
	settled(t, b, s, members)
	if n := b.count(&b.renewals); n != 0 {
		t.Errorf("renewed %d times", n)
	}
}
