package redis

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// deliverMost bounds the messages of one call of Sink.Deliver.
const deliverMost = 256

// dispatch hands over what the shard's connections brought, in the order they did.
func (s *shard) dispatch() {
	var d delivery
	d.s = s
	d.last = make(map[string]uint64)
	var items []item
	for {
		select {
		case <-s.inbox.wake:
		case <-s.b.ctx.Done():
			return
		}
		var lost map[string]struct{}
		items, lost = s.inbox.take(items)
		for i := range items {
			d.add(&items[i])
		}
		d.flush()
		// What was dropped lay behind what was kept.
		for room := range lost {
			d.confirmed = append(d.confirmed, room)
		}
		d.flush()
		clear(items)
		if cap(items) > 4096 {
			items = nil
		}
	}
}

// delivery gathers what goes to the Sink in one call.
type delivery struct {
	s         *shard
	messages  []broker.Message
	confirmed []string
	last      map[string]uint64 // seqs of messages, since they must ascend within a call
	doubts    []doubt
	trace     traced // of the next message, where it was said
}

// traced is a trace that came ahead of its message.
type traced struct {
	room  string
	seq   uint64
	trace *broker.Trace // nil: none did
}

// of returns the message's trace, if it is that.
func (t *traced) of(m *broker.Message) *broker.Trace {
	if t.trace == nil || t.room != m.Room || t.seq != m.Seq {
		return nil
	}
	return t.trace
}

func (d *delivery) add(it *item) {
	switch it.kind {
	case itemConfirmed:
		d.flushMessages()
		d.confirmed = append(d.confirmed, it.room)
	case itemControl:
		d.flush()
		if d.s.b.listener != nil {
			d.s.b.listener([]byte(it.payload))
		}
	case itemMessage:
		d.flushConfirmed()
		d.message(it)
	}
}

func (d *delivery) message(it *item) {
	relay := d.s.b.cfg.Metrics
	kind, rest := byte(0), ""
	if len(it.payload) > 0 {
		kind, rest = it.payload[0], it.payload[1:]
	}
	switch kind {
	case 'M':
		m, err := decodeMessage(it.room, rest)
		if err != nil {
			relay.Junk.Inc()
			return
		}
		relay.Received.Inc()
		m.Trace, d.trace = d.trace.of(&m), traced{}
		if m.Seq <= d.last[m.Room] || len(d.messages) == deliverMost {
			d.flushMessages()
		}
		d.last[m.Room] = m.Seq
		d.messages = append(d.messages, m)
	case 'T':
		seq, t, err := decodeTrace(rest)
		if err != nil {
			relay.Junk.Inc()
			return
		}
		t.Arrived = time.Now()
		d.trace = traced{it.room, seq, t}
	case 'R':
		p, err := decodeReset(rest)
		if err != nil {
			relay.Junk.Inc()
			return
		}
		d.flush()
		d.s.fence.reset(it.room, p, time.Now())
		d.s.b.sink.Reset(it.room, p)
		// The new epoch may keep messages already.
		d.confirmed = append(d.confirmed, it.room)
	case 'P':
		e, err := decodePresence(it.room, rest)
		if err != nil {
			relay.Junk.Inc()
			return
		}
		if d.s.b.watch != nil {
			d.s.b.watch(e)
		}
	default:
		relay.Junk.Inc()
	}
}

func (d *delivery) flush() {
	d.flushMessages()
	d.flushConfirmed()
}

func (d *delivery) flushMessages() {
	if len(d.messages) == 0 {
		return
	}
	d.doubts = d.s.fence.delivered(d.messages, time.Now(), d.doubts[:0])
	d.s.b.fencing.renew(d.doubts...)
	d.s.b.sink.Deliver(d.messages)
	clear(d.messages)
	clear(d.last)
	d.messages = d.messages[:0]
}

func (d *delivery) flushConfirmed() {
	if len(d.confirmed) == 0 {
		return
	}
	d.s.b.sink.Subscribed(d.confirmed)
	clear(d.confirmed)
	d.confirmed = d.confirmed[:0]
}
