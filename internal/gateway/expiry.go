package gateway

import (
	"container/heap"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// expiries is a loop's callers whose tokens run out, the next one first. Who has
// none costs nothing, and a tick in which none runs out looks at one.
type expiries []*caller

// add takes a caller in, if it ever runs out.
func (e *expiries) add(c *caller) {
	c.at = -1
	if !c.expires.IsZero() {
		heap.Push(e, c)
	}
}

// remove takes out a caller that was added.
func (e *expiries) remove(c *caller) {
	if c.at >= 0 {
		heap.Remove(e, c.at)
	}
}

// expire ends the sessions whose tokens have run out.
func (s *shard) expire(now time.Time) {
	for len(s.expiries) > 0 && !s.expiries[0].expires.After(now) {
		c := heap.Pop(&s.expiries).(*caller)
		c.session.conn.Close(protocol.CloseToken, "the token has run out", metrics.CloseTokenExpired)
	}
}

// Len, Less, Swap, Push and Pop are heap.Interface's.

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires.Before(e[j].expires) }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].at, e[j].at = i, j
}

func (e *expiries) Push(x any) {
	c := x.(*caller)
	c.at = len(*e)
	*e = append(*e, c)
}

func (e *expiries) Pop() any {
	last := len(*e) - 1
	c := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	c.at = -1
	return c
}
