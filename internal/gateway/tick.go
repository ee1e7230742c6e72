package gateway

import (
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// relievePause is longer than a connection that is closed may hold what it had
// queued (loop.Config.Linger), which must not count against others.
const relievePause = 3 * time.Second

// samples is about how many connections a loop looks at each second for the
// depth of their queues.
const samples = 1024

// Tick is loop.Handler's, about once a second.
func (s *shard) Tick(now int64) {
	s.expire(time.Now())
	s.forgetNames(time.Now())
	s.sampleQueues()
	s.m.QueueOldest.Set(s.oldest(now))
	s.retire(now)
	s.relieve(now)
	if s.waiting > 0 {
		for _, lr := range s.rooms {
			if lr.awaited() {
				lr.expire(now)
			}
		}
	}
}

// relieve ends connections whose sockets take nothing while the gateway's queues
// are over their limit, or the process over that of its memory, those first that
// hold the most, until what is over is given back.
func (s *shard) relieve(now int64) {
	over, by := s.gw.excess()
	if over <= 0 || now < s.relieved {
		return
	}
	var worst []*loop.Conn
	s.loop.Each(func(c *loop.Conn) { // also those that only replies wait for
		if _, blocked := c.Blocked(); blocked {
			worst = append(worst, c)
		}
	})
	slices.SortFunc(worst, func(a, b *loop.Conn) int { return holds(b) - holds(a) })
	for _, c := range worst {
		held := holds(c)
		if over <= 0 || held <= by.least {
			return
		}
		over -= int64(held)
		s.relieved = now + int64(relievePause)
		s.m.Limited(by.limit)
		c.Close(protocol.CloseOverloaded, by.message, by.why)
	}
}

// shortage is what the gateway has too little of.
type shortage struct {
	limit   metrics.Limit
	least   int // who holds no more is left alone
	message string
	why     metrics.CloseReason
}

var (
	ofQueues = shortage{metrics.LimitQueuedBytes, 0, "the gateway's queues are full", metrics.CloseQueuedBytes}
	ofMemory = shortage{metrics.LimitMemory, worthwhile, "the gateway has no memory to spare", metrics.CloseMemory}
)

// excess is how many bytes are too much, and of what.
func (g *Gateway) excess() (bytes int64, by *shortage) {
	limits := &g.live().Limits
	if limits.QueuedBytes > 0 {
		bytes = g.queuedBytes() - limits.QueuedBytes
	}
	if bytes <= 0 && limits.MemoryBytes > 0 {
		return g.memory.Load() - limits.MemoryBytes, &ofMemory
	}
	return bytes, &ofQueues
}

// holds is what a connection has of its own queued: replies and backlogs.
func holds(c *loop.Conn) (bytes int) {
	bytes = c.QueuedBytes()
	if ses, ok := c.Data.(*session); ok {
		for _, m := range ses.rooms {
			bytes += m.room.members[m.at].cursor.BacklogBytes()
		}
	}
	return bytes
}

// oldest is how long the longest blocked connection has waited.
func (s *shard) oldest(now int64) (nanoseconds int64) {
	for c := range s.blocked {
		if since, ok := c.Blocked(); ok {
			nanoseconds = max(nanoseconds, now-since)
		}
	}
	return nanoseconds
}

// sampleQueues observes every connection, or every so many of them where there
// are more, others each time.
func (s *shard) sampleQueues() {
	step := int(s.m.Connections.Value())/samples + 1
	s.sample++
	at := s.sample
	s.loop.Each(func(c *loop.Conn) {
		if at++; at%step != 0 {
			return
		}
		frames, bytes := 0, c.QueuedBytes()
		if ses, ok := c.Data.(*session); ok {
			f, b := ses.depth()
			frames, bytes = frames+f, bytes+b
		}
		s.m.QueueFrames.Observe(uint64(frames))
		s.m.QueueBytes.Observe(uint64(bytes))
	})
}

// depth is what the session's rooms have for it that is not sent.
func (ses *session) depth() (frames, bytes int) {
	for _, m := range ses.rooms {
		f, b := m.room.members[m.at].cursor.Depth(m.room.log)
		frames, bytes = frames+f, bytes+b
	}
	return frames, bytes
}
