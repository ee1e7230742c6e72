package gateway

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestPastTheWatermarkNobodyMoreConnects(t *testing.T) {
	var used atomic.Int64
	s := run(t, func(c *setup) {
		c.Limits.MemoryBytes = 1000
		c.inUse = func(*Gateway) int64 { return used.Load() }
	})
	stays := s.dial()
	used.Store(1000)
	s.untilMetric("fanfare_memory_used_bytes", 1000)
	c, res := s.handshake(dialing{})
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("handshake: %s %s", res.Status, c.raw)
	}
	if n := s.metric(`fanfare_handshakes_rejected_total{reason="memory"}`); n != 1 || s.refusals("memory") != 1 {
		t.Errorf("%v rejected, %v refusals", n, s.refusals("memory"))
	}
	stays.sync()
	used.Store(999)
	s.untilMetric("fanfare_memory_used_bytes", 999)
	s.dial()
}

// Those go that hold the most of their own and take nothing, no more of them than
// it takes, and nobody who holds next to nothing.
func TestPastTheWatermarkTheWorstBlockedConnectionsGo(t *testing.T) {
	const limit, base = 64 << 20, 60 << 20
	s := run(t, func(c *setup) {
		c.Limits.MemoryBytes, c.Limits.ReplyBytes = limit, 64<<20
		c.inUse = func(g *Gateway) int64 { return base + g.queuedBytes() }
	})
	quiet, small, worst := s.dial(), s.connect(dialing{small: true}), s.connect(dialing{small: true})
	s.hoard(small, 1<<20)
	s.hoard(worst, 4<<20)
	s.untilMetric(`fanfare_connections_closed_total{reason="memory",side="gateway"}`, 1)
	worst.closed(protocol.CloseOverloaded)
	worst.conn.Close()
	until(t, "its queue is gone", func() bool { return s.metric("fanfare_queued_reply_bytes") < 4<<20 })
	quiet.sync()
	small.send(`{"type":"ping","request_id":"end"}`)
	small.reply("end")
	if n := s.refusals("memory"); n != 1 {
		t.Errorf("%v are counted", n)
	}
}

func TestTheMemoryInUseIsThatOfTheProcess(t *testing.T) {
	before := memoryInUse()
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	if grown := memoryInUse() - before; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("%d bytes more with %d more", grown, len(held))
	}
	held[0] = 2
}

// What a room costs in which nothing happens, all of the gateway's own and what the
// broker keeps of it in this process: README says what a hundred thousand take.
func TestAnIdleRoomTakesLittleMemory(t *testing.T) {
	needsPlain(t)
	const rooms, most = 2000, 1000
	s := run(t, func(c *setup) { c.Classes[0].Presence = true })
	c := s.dial()
	join := func(n int) {
		for i := range n {
			c.join(fmt.Sprintf("room-%d-%d", n, i), "")
		}
		s.untilMetric("fanfare_rooms", float64(n))
		until(t, "who is in them is said", func() bool { return s.set.PresenceUnsaid.Value() == 0 })
		s.letGo() // of what was of use only meanwhile
	}
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what is in pools goes at the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	join(rooms)
	if each := (live() - before) / rooms; each > most {
		t.Errorf("%d bytes for each of %d rooms, want at most %d", each, rooms, most)
	} else {
		t.Logf("%d bytes for each", each)
	}
}
