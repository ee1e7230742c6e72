package gateway

import (
	"fmt"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestMembersOnSeveralLoopsSeeOneOrder(t *testing.T) {
	const members, publishers, each = 9, 3, 150
	s := run(t, func(c *setup) { c.Loops = 3; c.history(1000, 0, 0); c.slow(0, 0, 0) })
	seen := make(map[protocol.Position][]byte)
	clients := make([]*client, members)
	for i := range clients {
		clients[i] = s.dial()
		clients[i].ledger = newLedger(seen)
		m := clients[i].joinInto("r")
		if m.Joined.Members != i+1 {
			t.Errorf("member %d: %d members", i, m.Joined.Members)
		}
	}
	for i, m := range s.set.Loops() {
		if n := m.Memberships.Value(); n != members/3 {
			t.Errorf("loop %d has %d members", i, n)
		}
	}
	for i := range each {
		for p := range publishers {
			clients[p].sendf(`{"type":"publish","payload":{"room":"r","data":"%d %d"}}`, p, i)
		}
	}
	until(t, "all is stored", func() bool { return s.tail("r").Seq == publishers*each })
	for _, c := range clients {
		if a := c.upTo(c.ledger, "r", protocol.Position(s.tail("r"))); a.delivered != publishers*each {
			t.Errorf("%d delivered", a.delivered)
		}
		c.sync()
	}
	next := [publishers]int{}
	for seq := range uint64(publishers * each) {
		var p, i int
		data := seen[protocol.Position{Epoch: s.tail("r").Epoch, Seq: seq + 1}]
		if _, err := fmt.Sscanf(string(data), `"%d %d"`, &p, &i); err != nil || i != next[p] {
			t.Fatalf("message %d is %s", seq+1, data)
		}
		next[p]++
	}
}

// joinInto joins and enters the reply in the client's ledger.
func (c *client) joinInto(name string) protocol.Server {
	c.t.Helper()
	c.sendf(`{"type":"join","payload":{"room":%q}}`, name)
	m := c.expect("joined")
	if err := ledgerOf(c).take(&m); err != nil {
		c.t.Fatal(err)
	}
	return m
}
