package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// text is compressible data of about n bytes.
func text(i, n int) string {
	return fmt.Sprintf(`"%d %s"`, i, strings.Repeat("the same words again ", n/21))
}

func TestMembersWithAndWithoutCompressionGetTheSameData(t *testing.T) {
	s := run(t)
	plain, packed := s.dial(), s.connect(dialing{deflate: true})
	seen := make(map[protocol.Position][]byte)
	last := protocol.Position(s.store("r", text(0, 5000), `1`))
	for i, c := range []*client{plain, packed} {
		c.ledger = newLedger(seen)
		c.sendf(`{"type":"join","payload":{"room":"r","last":%d}}`, 2-i)
	}
	plain.upTo(plain.ledger, "r", last)
	packed.upTo(packed.ledger, "r", last)
	before := s.metric("fanfare_bytes_sent_total")
	const size, count = 20000, 20
	for i := range count {
		last = protocol.Position(s.store("r", text(i, size), fmt.Sprint(i)))
	}
	plain.upTo(plain.ledger, "r", last)
	packed.upTo(packed.ledger, "r", last)
	if sent := s.metric("fanfare_bytes_sent_total") - before; sent < size*count || sent > size*count*3/2 {
		t.Errorf("%v bytes sent for %d of data to one plain and one compressed member", sent, size*count)
	}
	packed.send(`{"type":"echo","request_id":"e","payload":` + text(1, 3000) + `}`)
	if m := packed.reply("e"); string(m.Value) != text(1, 3000) {
		t.Error("an echo changed")
	}
}

func TestCompressionIsOnlyWhereItIsConfigured(t *testing.T) {
	s := run(t, func(c *setup) { c.Deflate = false })
	c, res := s.handshake(dialing{deflate: true})
	if v := res.Header.Get("Sec-WebSocket-Extensions"); v != "" {
		t.Errorf("extensions: %q", v)
	}
	c.config.Deflate = false // RSV1 would be a violation
	c.expect("welcome")
	c.join("r", "")
	s.store("r", text(1, 5000))
	c.messages("r", 1, 1)
}

func TestASlowCompressedMemberIsSentOrToldOfEverything(t *testing.T) {
	s := run(t, func(c *setup) { c.slow(room.Drop, 8, 0) })
	c := s.connect(dialing{deflate: true, small: true})
	c.ledger = newLedger(nil)
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	s.untilMetric("fanfare_memberships", 1)
	m := c.expect("joined")
	_ = c.ledger.take(&m)
	var last protocol.Position
	const all = 600
	for i := range all {
		last = protocol.Position(s.store("r", noise(i, 30<<10)))
	}
	if a := c.upTo(c.ledger, "r", last); a.delivered+a.gapped != all || a.gapped == 0 {
		t.Errorf("%d delivered, %d in gaps, of %d", a.delivered, a.gapped, all)
	}
	s.store("r", text(1, 5000))
	c.upTo(c.ledger, "r", protocol.Position{Epoch: last.Epoch, Seq: last.Seq + 1})
}

// noise is data that does not compress to much less.
func noise(seed, n int) string {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'A' + byte(x>>24)%26
	}
	return `"` + string(b) + `"`
}
