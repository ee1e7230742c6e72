package loop

import (
	"errors"
	"io"
	"runtime/debug"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// readsAtEnd is how often a socket is read in a turn whose peer has shut its
// writing side. Any other socket is read once: who sends much waits in turn.
const readsAtEnd = 16

// reasonPanic is counted among the other reasons of a refusal.
const reasonPanic = "other"

// writable: the socket takes bytes again. EPOLLOUT stays armed over the turn, so
// that a connection that is full again at once costs no system call; an event
// that finds nothing blocked disarms it.
func (l *Loop) writable(c *Conn) {
	if c.hold&holdBlocked == 0 {
		c.flags &^= flagArmed
		if err := l.poller.Watch(int(c.fd), c.token(), false); err != nil {
			l.failed(c, err)
		}
		return
	}
	defer l.recovered(c)
	c.hold &^= holdBlocked
	c.Flush()
	if c.Ready() {
		l.handler.Drained(c)
	}
}

// readable reads what is there.
func (l *Loop) readable(c *Conn, hangup bool) {
	defer l.recovered(c)
	reads := 1
	if hangup {
		reads = readsAtEnd
	}
	if c.secure != nil {
		l.readSecure(c, reads)
		return
	}
	for ; reads > 0 && c.state != closed; reads-- {
		n, err := poll.Read(int(c.fd), l.buf)
		switch err {
		case nil:
		case poll.ErrAgain:
			return
		case io.EOF:
			l.ended(c)
			return
		default:
			l.failed(c, err)
			return
		}
		l.drained = n < len(l.buf)
		l.received(c, l.buf[:n])
	}
}

func (l *Loop) received(c *Conn, b []byte) {
	switch {
	case c.flags&flagDiscard != 0:
	case c.state == handshaking:
		l.receivedHead(c, b)
	default:
		l.receivedFrames(c, b)
	}
}

// receivedFrames feeds bytes to the frame reader and acts on what it finds.
func (l *Loop) receivedFrames(c *Conn, b []byte) {
	if len(b) > 0 {
		c.lastSeen = l.now
	}
	reader := &l.reader
	if c.partial != nil {
		reader = &c.partial.reader
	}
	for len(b) > 0 && c.state != closed && c.flags&flagDiscard == 0 {
		event, n, err := reader.Next(b, &l.readers[c.flags&(flagDeflate|flagBinary)])
		b = b[n:]
		if event.Frames > 0 && c.state == open {
			l.handler.Control(c, event.Frames)
		}
		if err != nil {
			l.violated(c, err)
			break
		}
		if c.partial != nil && event.Kind != frame.NeedMore && !reader.Mid() {
			c.partial.since = 0 // what comes next is another message
		}
		if c.state == open || event.Kind == frame.Close {
			if event.Kind == frame.Close && len(b) == 0 && l.drained {
				c.flags |= flagSaid
			}
			l.act(c, event)
		}
	}
	l.keepReader(c)
}

// keepReader keeps what has come of a frame or message that is not whole, and
// lets go of what has become whole. Between two messages a reader has nothing to
// remember, so that all connections share the loop's.
func (l *Loop) keepReader(c *Conn) {
	switch p := c.partial; {
	case c.state == closed || c.flags&flagDiscard != 0:
		l.reader = frame.Reader{}
		l.dropPartial(c)
	case p == nil && l.reader.Mid():
		c.partial = l.newPartial()
		c.partial.reader, c.partial.since = l.reader, l.now
		l.reader = frame.Reader{}
	case p != nil && !p.reader.Mid():
		l.dropPartial(c)
	case p != nil && p.since == 0:
		p.since = l.now
	}
}

// act acts on one event.
func (l *Loop) act(c *Conn, event frame.Event) {
	switch event.Kind {
	case frame.Text, frame.Binary:
		l.messages++
		l.handler.Message(c, event.Kind == frame.Binary, event.Payload)
	case frame.Ping:
		c.sendPong(event.Payload)
	case frame.Pong:
		if c.unanswered > 0 {
			// Of the first ping that was not answered: they come at this distance.
			missed := int64(c.unanswered-1) * int64(l.cfg.HeartbeatInterval)
			l.metrics.HeartbeatRTT.Observe(uint64(l.now - c.pingAt + missed))
			c.unanswered = 0
		}
	case frame.Close:
		l.closedByPeer(c, event.Code)
	}
}

// violated: RFC 6455 section 7.1.7. The close frame says why, and nothing that
// comes after is read.
func (l *Loop) violated(c *Conn, err error) {
	var fault *frame.CloseError
	if !errors.As(err, &fault) {
		fault = &frame.CloseError{Code: frame.CodeInternal, Reason: "internal error"}
	}
	why := metrics.CloseProtocol
	switch fault.Code {
	case frame.CodeUnsupported:
		why = metrics.CloseUnsupported
	case frame.CodeInvalidPayload:
		why = metrics.CloseInvalidUTF8
	case frame.CodeTooBig:
		why = metrics.CloseTooBig
	case frame.CodeInternal:
		why = metrics.CloseInternal
	}
	c.flags |= flagDiscard
	if c.state == open {
		c.Close(fault.Code, fault.Reason, why)
	} else {
		l.shutWrite(c)
	}
}

// ended: the peer has shut its writing side, and that is the end. What is queued
// for it may still reach it.
func (l *Loop) ended(c *Conn) {
	c.Flush()
	if c.state == open {
		c.why = metrics.CloseEOF
		l.end(c)
		return
	}
	l.failed(c, io.EOF)
}

// failed: the socket is of no more use.
func (l *Loop) failed(c *Conn, err error) {
	switch {
	case c.state == handshaking:
		l.metrics.Rejected(frame.ReasonClosed)
		l.handshakeOver(c)
	case c.state == open && poll.TimedOut(err):
		c.why = metrics.CloseHeartbeat
		l.metrics.HeartbeatTimeout(metrics.HeartbeatTCP)
	case c.state == open:
		c.why = metrics.CloseReset
	}
	l.end(c)
}

// recovered ends a connection whose handler panicked, and keeps the loop.
func (l *Loop) recovered(c *Conn) {
	v := recover()
	if v == nil {
		return
	}
	l.metrics.Panics.Inc()
	l.cfg.Log.Error("panic", "connection", c.id, "panic", v, "stack", string(debug.Stack()))
	c.flags |= flagDiscard
	l.sealed, l.reader = l.sealed[:0], frame.Reader{}
	switch c.state {
	case handshaking:
		l.refuse(c, &frame.Refusal{Status: 500, Message: "internal error", Reason: reasonPanic})
	case open:
		c.Close(frame.CodeInternal, "internal error", metrics.CloseInternal)
	}
}
