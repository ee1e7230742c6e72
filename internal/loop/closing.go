package loop

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// slowLinger is how long a slow consumer may take to read up to its close frame,
// which lies behind all that the kernel has for it: by 2 s it would seldom get
// there, and never learn why it was closed. Its rooms have let it go by then: what
// it still holds is a frame that has begun, and its unread replies.
const slowLinger = 10 * time.Second

// Close sends a close frame behind what is queued, waits up to Config.Linger for
// the peer's, and ends the socket. c is no longer Ready, takes no Send and gives
// no Message; Closed comes later in the turn. A connection that is not open is
// left alone.
func (c *Conn) Close(code uint16, reason string, why metrics.CloseReason) {
	if c.state != open {
		return
	}
	l := c.loop
	l.leave(c, why)
	if c.out != nil {
		// A close frame is the last frame.
		l.queued -= len(c.out.pong)
		c.out.pong = c.out.pong[:0]
	}
	l.control = frame.AppendClose(l.control[:0], code, reason)
	c.enqueue(l.control)
}

// Abort ends the socket at once, by a reset: what the peer has not taken is
// lost, and the kernel's memory for it is free.
func (c *Conn) Abort(why metrics.CloseReason) {
	if c.state == open {
		c.why = why
	}
	if c.state == open || c.state == closing {
		c.flags |= flagReset
		c.loop.end(c)
	}
}

// leave takes c out of the open state, with a deadline.
func (l *Loop) leave(c *Conn, why metrics.CloseReason) {
	c.why = why
	c.state = closing
	c.hold |= holdState
	linger := l.cfg.Linger
	if why == metrics.CloseSlowConsumer {
		linger = max(linger, slowLinger)
	}
	l.schedule(c, l.now+int64(linger))
	l.leaveLater(c)
}

// closedByPeer: the closing handshake's other half, RFC 6455 section 5.5.1.
func (l *Loop) closedByPeer(c *Conn, code uint16) {
	c.flags |= flagDiscard
	if c.state != open {
		l.shutWrite(c)
		return
	}
	why := metrics.CloseOther
	switch code {
	case frame.CodeNormal:
		why = metrics.CloseNormal
	case frame.CodeGoingAway:
		why = metrics.CloseGoingAway
	}
	c.Close(code, "", why)
}

// shutWrite ends our side of a closing connection, once what is queued is out.
// Where the closing handshake was the last that the peer sent, nothing can be left
// unread, and the socket may close at once: two system calls and an event less.
func (l *Loop) shutWrite(c *Conn) {
	if c.out == nil && c.secure == nil && c.flags&flagSaid != 0 {
		l.end(c)
		return
	}
	if c.out == nil && (c.secure == nil || c.sayEnd()) {
		_ = poll.CloseWrite(int(c.fd))
	}
}

// end: nothing more is read or written. The descriptor and the slot are freed at
// the end of the turn.
func (l *Loop) end(c *Conn) {
	if c.state == closed {
		return
	}
	if c.hold&holdBlocked != 0 {
		// The peer takes nothing; the kernel need not keep it for the peer.
		c.flags |= flagReset
	}
	c.state = closed
	c.hold |= holdState
	l.wheel.remove(c)
	if c.flags&flagRefused != 0 {
		l.refused--
	}
	l.leaveLater(c)
}

func (l *Loop) leaveLater(c *Conn) {
	if c.flags&flagLeaving == 0 {
		c.flags |= flagLeaving
		l.leaving = append(l.leaving, c)
	}
}

// reap tells the handler who has left, and frees what has ended. A Closed may
// end further connections, which are then reaped too.
func (l *Loop) reap() {
	for i := 0; i < len(l.leaving); i++ {
		c := l.leaving[i]
		l.leaving[i] = nil
		c.flags &^= flagLeaving
		c.Own()
		if c.flags&flagOpened != 0 {
			c.flags &^= flagOpened
			l.metrics.Connections.Add(-1)
			l.metrics.Closed(c.why)
			l.tellClosed(c)
			c.Data = nil
		}
		if c.state == closed && l.slots[c.slot] == c {
			c.dropOutbox()
			l.dropPartial(c)
			l.freeSlot(c)
		}
	}
	l.leaving = l.leaving[:0]
}

func (l *Loop) tellClosed(c *Conn) {
	defer l.recovered(c)
	l.handler.Closed(c)
}

// stopAll closes all connections; see Stop.
func (l *Loop) stopAll() {
	l.stopping = true
	l.Hurry()
	for _, c := range l.slots {
		if c != nil && c.state == open {
			c.Close(frame.CodeGoingAway, "the gateway is going away", metrics.CloseShutdown)
		}
	}
}

// Hurry lets no one hold up an end who is not open: an unfinished handshake is
// refused with 503 now, and who is closing has no longer than Config.Linger. Only
// on the loop's goroutine.
func (l *Loop) Hurry() {
	for _, c := range l.slots {
		if c == nil {
			continue
		}
		switch c.state {
		case handshaking:
			l.refuse(c, &frame.Refusal{
				Status:  503,
				Message: "the gateway is going away",
				Header:  [][2]string{{"Retry-After", "1"}},
				Reason:  frame.ReasonDraining,
			})
		case closing:
			if soon := l.now + int64(l.cfg.Linger); soon < c.due {
				l.schedule(c, soon)
			}
		}
	}
}
