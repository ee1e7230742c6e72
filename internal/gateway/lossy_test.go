package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// A relay that loses, repeats and delays, a broker that fails to answer reads:
// members get every message all the same while it is kept.
func TestTheHubRepairsWhatARelayLoses(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1)) // deliveries: the broker's goroutine only
			var reads atomic.Uint64
			s := run(t, func(c *setup) {
				c.Loops = 2
				c.history(10000, 0, 0)
				c.slow(0, 0, 0)
				c.tap.deliver = func(in []broker.Message) (out []broker.Message) {
					for _, m := range in {
						switch rng.IntN(4) {
						case 0: // lost
						case 1:
							out = append(out, m, m)
						default:
							out = append(out, m)
						}
					}
					return out
				}
				c.tap.reading = func(broker.Query) error {
					if reads.Add(1)%3 == 0 {
						return errors.New("no answer")
					}
					return nil
				}
			})
			members := []*client{s.dial(), s.dial()}
			for _, c := range members {
				c.joinInto("r")
			}
			const all = 400
			for i := range all / 4 {
				s.storeN("r", 4, i%50+1)
			}
			for range 20 { // the last that is lost is repaired when something follows
				s.store("r", "0")
			}
			for _, c := range members {
				a := c.ledger.rooms["r"]
				for a.seq < all {
					m := c.next()
					if err := c.ledger.take(&m); err != nil {
						t.Fatal(err)
					}
				}
				if a.gapped != 0 {
					t.Errorf("gaps %+v in what the broker keeps", a.gaps)
				}
			}
		})
	}
}

// What was lost and is no longer kept is named, for all members alike.
func TestTheHubNamesWhatCannotBeRepaired(t *testing.T) {
	var losing atomic.Bool
	s := run(t, func(c *setup) {
		c.stored = &broker.Bounds{Messages: 5}
		c.tap.deliver = func(in []broker.Message) []broker.Message {
			if losing.Load() {
				return nil
			}
			return in
		}
	})
	c := s.dial()
	c.joinInto("r")
	s.storeN("r", 3, 10)
	c.upTo(c.ledger, "r", protocol.Position(s.tail("r")))
	losing.Store(true)
	s.storeN("r", 20, 10)
	losing.Store(false)
	last := s.storeN("r", 1, 10) // 24; 20 to 24 are kept
	a := c.upTo(c.ledger, "r", protocol.Position(last))
	if len(a.gaps) != 1 || a.gaps[0].From != 4 || a.gaps[0].To != 19 || a.gaps[0].Reason != protocol.GapHistoryLost || a.delivered != 8 {
		t.Errorf("%+v", a)
	}
	if v := s.metric(`fanfare_dropped_frames_total{policy="drop",stage="log"}`); v != 16 {
		t.Errorf("%v counted as dropped", v)
	}
	d := s.dial()
	if j := d.join("r", since(last.Epoch, 10)); j.Recovery != protocol.NotRecovered {
		t.Errorf("joined %+v", j)
	}
	if g := d.expect("gap").Gap; g.From != 11 || g.To != 19 {
		t.Errorf("gap %+v", g)
	}
	d.messages("r", 20, 24)
}

// The broker begins a new epoch and the news of it is lost too.
func TestANewEpochWithoutAResetIsFound(t *testing.T) {
	s := run(t, func(c *setup) {
		c.tap.reset = func(string, broker.Position) bool { return false }
	})
	c := s.dial()
	c.joinInto("r")
	old := s.storeN("r", 5, 10)
	c.upTo(c.ledger, "r", protocol.Position(old))
	for range 3 {
		if err := s.memory.Forget(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		last := s.storeN("r", 2, 10)
		if a := c.upTo(c.ledger, "r", protocol.Position(last)); a.gapped != 0 {
			t.Errorf("%+v", a)
		}
	}
	if a := c.ledger.rooms["r"]; a.resets != 3 || a.delivered != 5+6 {
		t.Errorf("%+v", a)
	}
}

// A subscription that is answered late: what came before it is read.
func TestWhatCameBeforeTheSubscriptionIsRead(t *testing.T) {
	var held []string
	var mu sync.Mutex
	s := run(t, func(c *setup) {
		c.tap.subscribed = func(rooms []string) []string {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, rooms...)
			return nil
		}
		c.tap.deliver = func([]broker.Message) []broker.Message { return nil }
	})
	c := s.dial()
	c.send(`{"type":"join","payload":{"room":"r","last":100}}`)
	c.sync()
	last := s.storeN("r", 30, 10)
	until(t, "the room was subscribed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) > 0
	})
	s.gw.hub.Subscribed(held)
	a := c.upTo(ledgerOf(c), "r", protocol.Position(last))
	if a.delivered != 30 {
		t.Errorf("%+v", a)
	}
}

// scripted answers reads as a test tells it.
type scripted struct {
	asked   chan broker.Query
	answers chan broker.Page
}

func script(t *testing.T) (*scripted, *service) {
	b := &scripted{asked: make(chan broker.Query, 100), answers: make(chan broker.Page)}
	s := run(t, func(c *setup) {
		c.tap.reading = func(q broker.Query) error { b.asked <- q; return nil }
		c.tap.read = func(_ broker.Query, p broker.Page) broker.Page {
			select {
			case p = <-b.answers:
			case <-t.Context().Done(): // the test is over
			}
			return p
		}
	})
	return b, s
}

// page is a log that keeps all up to last.
func page(epoch string, after, last uint64) (p broker.Page) {
	p = broker.Page{Epoch: epoch, First: 1, Last: last}
	for seq := after + 1; seq <= last; seq++ {
		p.Messages = append(p.Messages, message(epoch, seq))
	}
	return p
}

func message(epoch string, seq uint64) broker.Message {
	return broker.Message{Room: "r", Position: broker.Position{Epoch: epoch, Seq: seq}, Time: 1, From: "x", Data: fmt.Appendf(nil, "%d", seq)}
}

// A client that resumes knows a message that this gateway's relay has not
// brought yet: it is not taken for one of a lost log, whatever grows meanwhile.
func TestAResumeAheadOfTheRelayIsRecovered(t *testing.T) {
	b, s := script(t)
	c, d := s.dial(), s.dial()
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	receive(t, b.asked)
	b.answers <- page("e", 0, 5)
	m := c.expect("joined")
	_ = ledgerOf(c).take(&m)
	d.send(`{"type":"join","payload":{"room":"r","since":{"epoch":"e","seq":7}}}`)
	receive(t, b.asked)
	s.gw.hub.Deliver([]broker.Message{message("e", 6)}) // grows, but that is no answer
	d.sync()
	b.answers <- page("e", 4, 7)
	if m := d.expect("joined"); m.Joined.Recovery != protocol.Recovered || m.Joined.Seq != 7 {
		t.Errorf("joined %s", d.raw)
	}
	c.upTo(c.ledger, "r", protocol.Position{Epoch: "e", Seq: 7})
}

// The same while a read is under way that began before the client asked.
func TestAResumeDuringAReadWaitsForTheNext(t *testing.T) {
	b, s := script(t)
	c, d := s.dial(), s.dial()
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	receive(t, b.asked)
	d.send(`{"type":"join","payload":{"room":"r","since":{"epoch":"e","seq":7}}}`)
	d.sync()
	b.answers <- page("e", 0, 5)
	c.expect("joined")
	receive(t, b.asked)
	b.answers <- page("e", 4, 7)
	if m := d.expect("joined"); m.Joined.Recovery != protocol.Recovered {
		t.Errorf("joined %s", d.raw)
	}
	c.messages("r", 6, 7)
}

// The log begins anew while it is read for the first time: what was read is of
// the old one.
func TestALogThatBeginsAnewDuringItsFirstReadIsReadAgain(t *testing.T) {
	b, s := script(t)
	c := s.dial()
	c.send(`{"type":"join","payload":{"room":"r","last":9}}`)
	receive(t, b.asked)
	s.gw.hub.Reset("r", broker.Position{Epoch: "new"})
	s.gw.hub.Deliver([]broker.Message{message("new", 1)})
	b.answers <- page("old", 0, 5)
	receive(t, b.asked)
	b.answers <- page("new", 0, 1)
	a := c.upTo(ledgerOf(c), "r", protocol.Position{Epoch: "new", Seq: 1})
	if a.resets != 0 {
		t.Error("a member that never was in the old log is told of it")
	}
}

// A message of a new epoch comes while the old one's tail is read.
func TestAMessageOfANewEpochDuringAReadIsNotForgotten(t *testing.T) {
	b, s := script(t)
	c := s.dial()
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	receive(t, b.asked)
	b.answers <- page("old", 0, 5)
	m := c.expect("joined")
	_ = ledgerOf(c).take(&m)
	s.gw.hub.Deliver([]broker.Message{message("old", 7)})
	receive(t, b.asked)
	s.gw.hub.Deliver([]broker.Message{message("new", 1)})
	b.answers <- page("old", 4, 7)
	receive(t, b.asked)
	b.answers <- page("new", 0, 1)
	receive(t, b.asked)
	b.answers <- page("new", 0, 1)
	c.upTo(c.ledger, "r", protocol.Position{Epoch: "new", Seq: 1})
}
