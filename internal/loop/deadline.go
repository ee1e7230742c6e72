package loop

import (
	"math"
	"math/rand/v2"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const never int64 = math.MaxInt64

// schedule sets when c is looked at next.
func (l *Loop) schedule(c *Conn, due int64) {
	l.wheel.remove(c)
	c.due = due
	if due != never {
		l.wheel.add(c)
	}
}

// beats is how many times in an interval pings are sent: those that fall due in
// between go out together, so that their pongs come together too.
const beats = 64

// beatOf is how far the pings of a loop are apart, 0 where that is less than its
// clock tells. Who is silent is asked well before its time is out.
func beatOf(c *Config) int64 {
	beat := int64(c.HeartbeatInterval) / beats
	if timeout := int64(c.HeartbeatTimeout); timeout > 0 {
		beat = min(beat, (timeout-int64(c.HeartbeatInterval))/4)
	}
	if beat < wheelTick {
		return 0
	}
	return beat
}

// onBeat puts a ping off until others are sent.
func (l *Loop) onBeat(due int64) int64 {
	if l.beat == 0 {
		return due
	}
	return due + l.beat - 1 - (due+l.beat-1)%l.beat
}

// scheduleFirst spreads the first pings of connections that came together: each
// comes early, somewhere in the interval, and the later ones keep the distance.
func (l *Loop) scheduleFirst(c *Conn) {
	if interval := int64(l.cfg.HeartbeatInterval); interval > 0 {
		l.schedule(c, l.onBeat(l.now+interval/4+rand.Int64N(interval-interval/4)-l.beat))
		return
	}
	l.schedule(c, l.nextLook(c))
}

// timers judges the deadlines that have come, and ticks. n is what the wait
// found: as long as waits come back full, sockets are read first, but once as
// many events as there are connections have gone by, each has had its turn.
func (l *Loop) timers(n int) {
	l.unjudged += n
	if n < len(l.events) || l.unjudged > len(l.slots) {
		l.unjudged = 0
		l.judgeSome()
	}
	if l.now >= l.nextTick {
		l.nextTick = l.now + tickEvery
		l.handler.Tick(l.now)
	}
}

// judgedAtOnce is how many connections are judged in a turn: between turns sockets
// are read, and rooms are written to.
const judgedAtOnce = 256

// judgeSome judges the next ones whose time in the wheel has come.
func (l *Loop) judgeSome() {
	for range judgedAtOnce {
		c := l.wheel.pop(l.now)
		if l.late = c != nil; !l.late {
			return
		}
		l.judge(c)
	}
}

// judge looks at a connection whose time in the wheel has come.
func (l *Loop) judge(c *Conn) {
	switch {
	case l.now < c.due:
		l.schedule(c, c.due)
	case c.state == handshaking:
		l.timedOut(c)
	case c.state == closing:
		l.end(c)
	case c.state == open:
		l.judgeOpen(c)
	}
}

func (l *Loop) judgeOpen(c *Conn) {
	timeout := int64(l.cfg.HeartbeatTimeout)
	blockedAt, blocked := c.Blocked()
	midSince := c.midSince()
	switch {
	case timeout == 0:
	case blocked && l.now-blockedAt >= timeout:
		l.metrics.HeartbeatTimeout(metrics.HeartbeatWrite)
		c.Close(codeHeartbeat, "nothing is read", metrics.CloseHeartbeat)
		return
	case l.now-c.lastSeen >= timeout:
		l.metrics.HeartbeatTimeout(metrics.HeartbeatSilent)
		c.Close(codeHeartbeat, "heartbeat timeout", metrics.CloseHeartbeat)
		return
	case midSince != 0 && l.now-midSince >= timeout:
		c.Close(frame.CodePolicy, "a message was not complete in time", metrics.CloseSlowMessage)
		return
	}
	if interval := int64(l.cfg.HeartbeatInterval); interval > 0 &&
		(c.flags&flagUnpinged != 0 || l.now-max(c.lastSeen, c.pingAt) >= interval) {
		l.ping(c)
	}
	l.schedule(c, l.nextLook(c))
}

// ping asks for life. On a full socket one ping waits at most.
func (l *Loop) ping(c *Conn) {
	c.flags &^= flagUnpinged
	c.pingAt = l.now
	if c.unanswered < math.MaxUint8 {
		c.unanswered++
	}
	if c.unanswered > 1 && c.hold&holdBlocked != 0 {
		return
	}
	c.enqueue(frame.EmptyPing)
}

// nextLook is when something of an open connection falls due first, if nothing
// comes in between. Blocking later than now ends later than that.
func (l *Loop) nextLook(c *Conn) int64 {
	next := never
	if interval := int64(l.cfg.HeartbeatInterval); interval > 0 {
		next = l.onBeat(max(c.lastSeen, c.pingAt) + interval)
	}
	timeout := int64(l.cfg.HeartbeatTimeout)
	if timeout == 0 {
		return next
	}
	next = min(next, c.lastSeen+timeout)
	if since := c.midSince(); since != 0 {
		next = min(next, since+timeout)
	}
	if blockedAt, blocked := c.Blocked(); blocked {
		next = min(next, blockedAt+timeout)
	}
	return next
}
