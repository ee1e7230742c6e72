package loop

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// outbox is what a connection has of its own to send. It exists only while there
// is something, or the socket is full.
type outbox struct {
	sealed []byte // of TLS, what the socket did not take: before all else
	rest   []byte // of a shared frame that has begun: before all else
	copied []byte // memory for rest, once it is ours
	queue  []byte // replies and events, whole frames but for what has been sent
	sent   int    // bytes of queue that are out
	pong   []byte // the newest one, while the socket is full

	blockedAt int64 // when the socket last took bytes and became full
}

const (
	sparedOutboxes   = 256     // kept by a loop for the next connections
	sparedBytes      = 8 << 10 // a larger buffer is not kept
	codeSlowConsumer = 4003    // PROTOCOL section 7
	codeHeartbeat    = 4002
)

func (o *outbox) size() int { return len(o.sealed) + len(o.rest) + len(o.queue) - o.sent + len(o.pong) }

// add appends whole frames behind what is queued.
func (o *outbox) add(frames []byte) {
	if o.sent > 0 && len(o.queue)+len(frames) > cap(o.queue) {
		o.queue = o.queue[:copy(o.queue, o.queue[o.sent:])]
		o.sent = 0
	}
	o.queue = append(o.queue, frames...)
}

// Send queues a whole frame behind what is queued; it is copied. It goes out at
// the end of the turn. Beyond Config.ReplyBytes the connection is closed with
// 4003; a single frame on an empty queue may be larger.
func (c *Conn) Send(frame []byte) {
	if c.state != open {
		return
	}
	if !c.roomFor(len(frame)) {
		c.Close(codeSlowConsumer, "replies are not read", metrics.CloseReplies)
		return
	}
	if c.state == open {
		c.loop.framesSent++
		c.enqueue(frame)
	}
}

// roomFor says whether the queue may grow by n. Where it may not, it first lets
// out what the socket takes.
func (c *Conn) roomFor(n int) bool {
	limit := c.loop.cfg.ReplyBytes
	if limit == 0 || c.out == nil || c.out.size()+n <= limit {
		return true
	}
	c.Flush()
	return c.out == nil || c.out.size()+n <= limit
}

// enqueue is Send without its limits, in any state but closed.
func (c *Conn) enqueue(frame []byte) {
	c.box().add(frame)
	c.loop.queued += len(frame)
	c.loop.flushLater(c)
}

// box is the outbox, made if need be.
func (c *Conn) box() *outbox {
	c.hold |= holdQueued
	if c.out == nil {
		c.out = c.loop.newOutbox()
	}
	return c.out
}

// sendPong answers a ping. A full socket keeps only the newest (RFC 6455 section
// 5.5.3), so that a flood costs nothing.
func (c *Conn) sendPong(payload []byte) {
	l := c.loop
	l.control = frame.AppendFrame(l.control[:0], frame.OpPong, payload)
	if c.roomFor(len(l.control)) && c.hold&holdBlocked == 0 {
		if c.state == open {
			c.enqueue(l.control)
		}
		return
	}
	if c.state == open {
		o := c.box()
		l.queued += len(l.control) - len(o.pong)
		o.pong = append(o.pong[:0], l.control...)
	}
}

// Finish gives the rest of a shared frame that WriteShared has begun. It goes out
// before all else and is kept by reference.
func (c *Conn) Finish(rest []byte) {
	if len(rest) == 0 || c.state == closed {
		return
	}
	o := c.box()
	c.loop.queued += len(rest) - len(o.rest)
	o.rest = rest
	c.loop.flushLater(c)
}

// Own copies what Finish was given and is still here, so that its memory can be
// let go.
func (c *Conn) Own() {
	if c.out == nil || len(c.out.rest) == 0 {
		return
	}
	c.out.copied = append(c.out.copied[:0], c.out.rest...)
	c.out.rest = c.out.copied
}

// QueuedBytes is what of its own c has queued, the rest of a begun frame
// included.
func (c *Conn) QueuedBytes() int {
	if c.out == nil {
		return 0
	}
	return c.out.size()
}

// Flush sends now what is queued, as far as the socket takes it.
func (c *Conn) Flush() {
	o := c.out
	if o == nil || c.hold&holdBlocked != 0 || c.state == closed {
		return
	}
	if !c.pushRest(o) {
		return
	}
	if len(o.rest) > 0 {
		o.rest = o.rest[c.write(o.rest):]
		if !c.takes() {
			return
		}
	}
	for o.sent < len(o.queue) || len(o.pong) > 0 {
		if o.sent == len(o.queue) {
			o.queue, o.sent, o.pong = append(o.queue[:0], o.pong...), 0, o.pong[:0]
		}
		o.sent += c.write(o.queue[o.sent:])
		if !c.takes() {
			return
		}
	}
	c.dropOutbox()
	if c.state == closing && c.flags&flagDiscard != 0 {
		// All is said on both sides, or the peer is not heard any more.
		c.loop.shutWrite(c)
	}
}

// write sends b. A socket that is then full or gone takes no more.
func (c *Conn) write(b []byte) int {
	n, err := c.put(b)
	c.loop.bytesSent += n
	c.loop.queued -= n
	if n != len(b) || err != nil {
		c.short(n, err)
	}
	return n
}

// takes says whether the socket may take more.
func (c *Conn) takes() bool { return c.hold&holdBlocked == 0 && c.state != closed }

// dropOutbox lets go of the outbox, and of what is in it.
func (c *Conn) dropOutbox() {
	if c.out == nil {
		return
	}
	c.loop.queued -= c.out.size()
	c.loop.spareOutbox(c.out)
	c.out = nil
	c.hold &^= holdQueued
}

func (l *Loop) newOutbox() *outbox {
	if n := len(l.outboxes); n > 0 {
		o := l.outboxes[n-1]
		l.outboxes = l.outboxes[:n-1]
		return o
	}
	return new(outbox)
}

func (l *Loop) spareOutbox(o *outbox) {
	if len(l.outboxes) == sparedOutboxes || max(cap(o.queue), cap(o.copied), cap(o.sealed)) > sparedBytes {
		return
	}
	*o = outbox{sealed: o.sealed[:0], copied: o.copied[:0], queue: o.queue[:0], pong: o.pong[:0]}
	l.outboxes = append(l.outboxes, o)
}
