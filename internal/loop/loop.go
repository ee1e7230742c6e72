package loop

import (
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const (
	readBytes     = 64 << 10 // what one read takes at most
	eventsPerWait = 256
	tickEvery     = int64(time.Second)
	// What the virtual clock may go on between two turns beyond the time that was
	// waited for: more is a stall, not time in which clients were silent.
	stallLimit = int64(time.Second)
)

// connIDs numbers the connections of the process.
var connIDs atomic.Uint64

// Loop is one event loop. New makes it, Run runs it.
type Loop struct {
	// Immutable.
	cfg     Config
	handler Handler
	metrics *metrics.Loop
	poller  *poll.Poller
	readers [4]frame.ReaderConfig // by flagDeflate and flagBinary
	beat    int64                 // between pings

	// The loop's goroutine's: time.
	now      int64 // virtual, nanoseconds since New
	clock    int64 // Config.Clock's, when now was set
	waited   int64 // what the wait before that was to take at most
	nextTick int64
	wheel    wheel

	// The loop's goroutine's: connections.
	slots       []*Conn // nil where free
	generations []uint32
	free        []uint32
	flushes     []*Conn // that queued something in this turn
	leaving     []*Conn // that left the open state or ended in this turn
	refused     int     // sockets that linger after an HTTP answer
	stopping    bool
	more        bool // the handler's last Turn left something
	unjudged    int  // events since deadlines were last judged
	late        bool // there may be more deadlines to judge
	drained     bool // the last read has taken all that its socket had

	// The loop's goroutine's: memory.
	events   []poll.Event
	buf      []byte
	control  []byte        // a control frame, or the answer to an upgrade, on its way into a queue
	request  frame.Request // the one that is answered
	sealed   []byte        // by TLS, on its way to a socket
	outboxes []*outbox
	partials []*partial
	reader   frame.Reader // of connections that stand between two messages

	// The loop's goroutine's: counted here, shown at the end of the turn.
	bytesSent  int
	framesSent int
	messages   int
	queued     int // bytes in outboxes

	// Any goroutine's.
	inbox inbox
	conns atomic.Int64 // sockets, from Adopt to their end
}

// New makes a loop. It holds descriptors, which Run frees.
func New(cfg Config, h Handler, m *metrics.Loop) (*Loop, error) {
	p, err := poll.New()
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	l := &Loop{
		cfg:      cfg.withDefaults(),
		handler:  h,
		metrics:  m,
		poller:   p,
		nextTick: tickEvery,
		events:   make([]poll.Event, eventsPerWait),
		buf:      make([]byte, readBytes),
	}
	l.wheel.conns = &l.slots
	l.beat = beatOf(&l.cfg)
	l.SetLimits(cfg.Limits)
	l.clock = l.cfg.Clock()
	return l, nil
}

// SetLimits puts other limits into force: for connections that are open too, and
// for the part still to come of messages that have begun. A handshake under way
// keeps its timeout. Only on the loop's goroutine, or before Run.
func (l *Loop) SetLimits(limits Limits) {
	l.cfg.Limits = limits
	for i := range l.readers {
		l.readers[i] = frame.ReaderConfig{
			MessageBytes: limits.MessageBytes,
			Fragments:    limits.Fragments,
			Deflate:      flags(i)&flagDeflate != 0,
			Binary:       flags(i)&flagBinary != 0,
		}
	}
}

// Now is the loop's clock: monotonic nanoseconds, set once a turn, which stand
// still over a stall. Only on the loop's goroutine.
func (l *Loop) Now() int64 { return l.now }

// Conns is how many sockets the loop has, those in their handshake or closing
// included. Any goroutine may ask.
func (l *Loop) Conns() int { return int(l.conns.Load()) }

// Each calls f for every open connection. Only on the loop's goroutine.
func (l *Loop) Each(f func(*Conn)) {
	for _, c := range l.slots {
		if c != nil && c.state == open {
			f(c)
		}
	}
}

// Walk calls f for the open connections of the n places from at on, and returns
// where the next part begins, 0 after the last. Who connects meanwhile may have a
// place that has been visited. Only on the loop's goroutine.
func (l *Loop) Walk(at, n int, f func(*Conn)) (next int) {
	end := min(at+n, len(l.slots))
	for _, c := range l.slots[min(at, end):end] {
		if c != nil && c.state == open {
			f(c)
		}
	}
	if end == len(l.slots) {
		return 0
	}
	return end
}

// Run runs the loop on the calling goroutine. It returns after Stop, once the
// last connection has ended, or when the poller fails.
func (l *Loop) Run() error {
	defer l.shut()
	for {
		if err := l.turn(); err != nil {
			return fmt.Errorf("event loop: %w", err)
		}
		if l.stopping && l.conns.Load() == 0 {
			return nil
		}
	}
}

// shut frees what New made. What is posted or adopted from now on is let go.
func (l *Loop) shut() {
	for _, a := range l.inbox.close() {
		l.decline(a)
	}
	for _, c := range l.slots {
		if c != nil {
			l.failed(c, net.ErrClosed)
		}
	}
	l.reap()
	l.publish()
	_ = l.poller.Close()
}

func (l *Loop) turn() error {
	n, err := l.wait()
	if err != nil {
		return err
	}
	l.advance()
	begun := l.clock
	posts, adopts, stop := l.inbox.take(l.metrics)
	for _, a := range adopts {
		l.adopt(a)
	}
	for _, e := range l.events[:n] {
		l.dispatch(e)
	}
	if stop && !l.stopping {
		l.stopAll()
	}
	if len(posts) > 0 {
		l.handler.Posted(posts)
	}
	l.inbox.done(posts, adopts)
	l.timers(n)
	l.more = l.handler.Turn()
	l.flushAll()
	l.reap()
	l.publish()
	l.metrics.Turns.Observe(uint64(max(l.cfg.Clock()-begun, 0)))
	return nil
}

// wait waits for events, not longer than to the next deadline.
func (l *Loop) wait() (int, error) {
	var timeout int64
	if !l.more && !l.late && len(l.flushes) == 0 && len(l.leaving) == 0 {
		next := min(l.nextTick, l.wheel.next()*wheelTick)
		timeout = max(next-l.now, 0)
	}
	l.waited = timeout
	if timeout == 0 {
		// Others must not wait for the processor until the runtime takes it away.
		runtime.Gosched()
	}
	return l.poller.Wait(l.events, time.Duration(timeout))
}

// advance moves the virtual clock.
func (l *Loop) advance() {
	clock := l.cfg.Clock()
	l.now += min(max(clock-l.clock, 0), l.waited+stallLimit)
	l.clock = clock
}

// dispatch hands an event to its connection, if that still stands.
func (l *Loop) dispatch(e poll.Event) {
	slot := e.Token.Slot()
	if int(slot) >= len(l.slots) || l.generations[slot] != e.Token.Generation() {
		return
	}
	c := l.slots[slot]
	if c == nil {
		return
	}
	if e.Writable && c.state != closed {
		l.writable(c)
	}
	if e.Readable && c.state != closed {
		l.readable(c, e.Hangup)
	}
}

// flushLater has c flushed at the end of the turn.
func (l *Loop) flushLater(c *Conn) {
	if c.flags&flagFlush == 0 {
		c.flags |= flagFlush
		l.flushes = append(l.flushes, c)
	}
}

func (l *Loop) flushAll() {
	for i, c := range l.flushes {
		c.flags &^= flagFlush
		c.Flush()
		l.flushes[i] = nil
	}
	l.flushes = l.flushes[:0]
}

// publish shows what was counted in the turn.
func (l *Loop) publish() {
	if l.bytesSent > 0 {
		l.metrics.BytesSent.Add(l.bytesSent)
	}
	if l.framesSent > 0 {
		l.metrics.FramesSent.Add(l.framesSent)
	}
	if l.messages > 0 {
		l.metrics.MessagesReceived.Add(l.messages)
	}
	l.bytesSent, l.framesSent, l.messages = 0, 0, 0
	l.metrics.QueuedReplies.Set(int64(l.queued))
}
