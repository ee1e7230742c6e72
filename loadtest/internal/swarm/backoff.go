package swarm

import (
	"math/rand/v2"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// As every client of Fanfare: exponential with full jitter, PROTOCOL.md section 7.
const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = 20 * time.Second
	settled     = 10 * time.Second // a connection that lasted so long resets the back-off
)

// backoff is the wait before the attempt of that number, from 0.
func backoff(attempt int) time.Duration {
	ceiling := backoffCap
	if attempt < 6 { // 500 ms doubled six times is past the cap
		ceiling = min(ceiling, backoffBase<<attempt)
	}
	return rand.N(ceiling + 1)
}

// ending is why a connection ended, and what its client makes of it.
type ending struct {
	what    string // for counting: "close 1012", "reset by peer", "handshake 503"
	verdict protocol.Verdict
	after   time.Duration // at least, before coming back
}

// pause is how long the client waits before it comes back. A gateway that asked
// for a time has spread its clients itself, and gets just that; but not from one
// short connection to the next.
func (c *client) pause(e ending, now int64) time.Duration {
	if c.opened > 0 && now-c.opened >= int64(settled) && e.verdict == protocol.ComeBack {
		c.attempt = 0
	}
	if c.hinted {
		hint := c.hint
		c.hint, c.hinted = 0, false
		if c.attempt++; c.attempt > 1 {
			return max(hint, backoff(c.attempt-1))
		}
		return hint
	}
	c.attempt++
	return max(e.after, backoff(c.attempt-1))
}
