package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Config of a Broker. The zero value of a field stands for its default.
type Config struct {
	// Bounds of a room's history, asked when the room comes to be and after Rebound,
	// from the broker's goroutine; default 256 messages or 1 MiB for 10 minutes.
	Bounds func(room string) broker.Bounds
	// DedupWindow is for how long a publish ID counts; default 2 minutes, below 0
	// not at all.
	DedupWindow time.Duration
	// Queue and QueueBytes bound the publications that wait, by number (default
	// 65536) and by bytes of Data (default 64 MiB).
	Queue      int
	QueueBytes int64
	// Bytes bounds what all rooms keep together, their own cost included; default
	// 1 GiB. Subscribed rooms count but are never refused.
	Bytes int64
	// Idle is for how long a room that has nothing left to keep and no subscriber
	// is remembered after its last use, so that a client that comes back soon finds
	// the same epoch; default 2 minutes.
	Idle time.Duration
	// Events is how many lifecycle events are kept; 0: none are written.
	Events int
	// Now is the clock; default time.Now. Ages are measured by its monotonic part
	// where it has one, so that a step of the wall clock ages nothing.
	Now func() time.Time
	// Depth is the number of publications waiting; Refused counts those answered
	// with broker.ErrUnavailable. Both may be nil.
	Depth   *metrics.Gauge
	Refused *metrics.Counter
}

var (
	errQueueFull   = fmt.Errorf("queue is full: %w", broker.ErrUnavailable)
	errStoreFull   = fmt.Errorf("memory for rooms is full: %w", broker.ErrUnavailable)
	errNotStarted  = errors.New("broker not started")
	defaultHistory = broker.Bounds{Messages: 256, Bytes: 1 << 20, Age: 10 * time.Minute}
)

// op says what a queued item asks for.
type op uint8

const (
	opPublish op = iota
	opSubscribe
	opUnsubscribe
	opForget
	opRebound
)

// item is one entry of the queue. All but opPublish use only pub.Room.
type item struct {
	op  op
	pub broker.Publication
}

// Broker implements broker.Broker in memory.
type Broker struct {
	// immutable
	cfg    Config
	sink   broker.Sink // set by Start
	start  time.Time
	secret [32]byte
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when the goroutine has ended

	mu           sync.Mutex
	queue        []item
	controls     map[string]int  // room → index in queue of its opSubscribe or opUnsubscribe
	refused      []broker.Result // answered by the goroutine before its next batch
	waiting      int             // publications taken and not yet stored
	waitingBytes int64
	rebounding   bool // an opRebound is in queue
	started      bool
	closed       bool

	shards [shardCount]shard
	keeper // owned by the goroutine

	people      people
	claims      claims
	revocations revocations
	lifecycle   lifecycle

	// owned by the goroutine
	spare      []item // the array of a queue that is done
	slack      int    // batches in a row that needed little of theirs
	large      bool   // the queue's array is
	now        moment
	subscribed []string
	deliveries []broker.Message
	results    []broker.Result
}

var _ broker.Broker = (*Broker)(nil)

// New makes a Broker. It has no goroutine before Start.
func New(cfg Config) *Broker {
	if cfg.Bounds == nil {
		cfg.Bounds = func(string) broker.Bounds { return defaultHistory }
	}
	if cfg.DedupWindow == 0 {
		cfg.DedupWindow = 2 * time.Minute
	}
	if cfg.Queue == 0 {
		cfg.Queue = 65536
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 64 << 20
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = 1 << 30
	}
	if cfg.Idle == 0 {
		cfg.Idle = 2 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Depth == nil {
		cfg.Depth = new(metrics.Gauge)
	}
	if cfg.Refused == nil {
		cfg.Refused = new(metrics.Counter)
	}
	b := &Broker{
		cfg:      cfg,
		start:    cfg.Now(),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		controls: make(map[string]int),
	}
	rand.Read(b.secret[:]) // never fails: crypto/rand ends the process instead
	b.people.rooms = make(map[string]*users)
	b.claims.held = make(map[string]holding)
	b.revocations.kept = make(map[revocation]broker.Revocation)
	b.lifecycle.most, b.lifecycle.now = cfg.Events, cfg.Now
	b.bounds = make(map[broker.Bounds]*broker.Bounds)
	b.ids.window = max(0, int64(cfg.DedupWindow))
	for i := range b.shards {
		b.shards[i].rooms = make(map[string]*room)
	}
	return b
}

// Start implements broker.Broker.
func (b *Broker) Start(sink broker.Sink) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started {
		panic("memory: Start called twice")
	}
	b.sink = sink
	b.started = true
	go b.run()
}

// Publish implements broker.Broker. After Close there is no goroutine left to
// answer from: the Sink is then called from within Publish.
func (b *Broker) Publish(batch []broker.Publication) {
	if len(batch) == 0 {
		return
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		b.answerClosed(batch)
		return
	}
	full := 0
	for i := range batch {
		p := &batch[i]
		size := int64(len(p.Data))
		if b.waiting >= b.cfg.Queue || b.waitingBytes+size > b.cfg.QueueBytes {
			b.refused = append(b.refused, broker.Result{Room: p.Room, Err: errQueueFull, Ticket: p.Ticket})
			full++
			continue
		}
		b.waiting++
		b.waitingBytes += size
		b.queue = append(b.queue, item{op: opPublish, pub: *p})
	}
	b.cfg.Depth.Set(int64(b.waiting))
	b.mu.Unlock()
	if full > 0 {
		b.cfg.Refused.Add(full)
	}
	b.signal()
}

func (b *Broker) answerClosed(batch []broker.Publication) {
	if b.sink == nil {
		return
	}
	results := make([]broker.Result, len(batch))
	for i := range batch {
		results[i] = broker.Result{Room: batch[i].Room, Err: broker.ErrClosed, Ticket: batch[i].Ticket}
	}
	b.sink.Published(results)
}

// Subscribe implements broker.Broker.
func (b *Broker) Subscribe(rooms ...string) { b.control(opSubscribe, rooms) }

// Unsubscribe implements broker.Broker.
func (b *Broker) Unsubscribe(rooms ...string) { b.control(opUnsubscribe, rooms) }

// control queues o for each room. A room has at most one such item in the queue:
// a later one takes the place of the one that waits, which keeps the queue within
// the number of rooms however often they are joined and left. Being earlier in
// the room's order than asked for is more than was promised.
func (b *Broker) control(o op, rooms []string) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	for _, name := range rooms {
		if i, ok := b.controls[name]; ok {
			b.queue[i].op = o
			continue
		}
		b.controls[name] = len(b.queue)
		b.queue = append(b.queue, item{op: o, pub: broker.Publication{Room: name}})
	}
	b.mu.Unlock()
	b.signal()
}

// Forget implements broker.Broker, in the room's order: behind every publication
// that was taken before. It never blocks; the error is broker.ErrUnavailable (the
// queue is full), broker.ErrClosed, or the context's.
func (b *Broker) Forget(ctx context.Context, room string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("forget %q: %w", room, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	if b.waiting >= b.cfg.Queue {
		return errQueueFull
	}
	b.waiting++
	b.queue = append(b.queue, item{op: opForget, pub: broker.Publication{Room: room}})
	b.signal()
	return nil
}

// Rebound says that Config.Bounds now answers otherwise. Every room is given its
// new bounds, behind what was published before: what they do not keep goes, and
// more is kept from the next message on. It never blocks.
func (b *Broker) Rebound() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.rebounding {
		return
	}
	b.rebounding = true
	b.queue = append(b.queue, item{op: opRebound})
	b.signal()
}

// Range implements broker.Broker. It waits for nothing but a short lock.
func (b *Broker) Range(ctx context.Context, q broker.Query) (broker.Page, error) {
	if err := ctx.Err(); err != nil {
		return broker.Page{}, fmt.Errorf("range %q: %w", q.Room, err)
	}
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return broker.Page{}, broker.ErrClosed
	}
	at := int64(b.cfg.Now().Sub(b.start))
	s, in := b.shardOf(q.Room)
	s.mu.Lock()
	if r := s.rooms[q.Room]; r != nil {
		defer s.mu.Unlock()
		return r.page(q, at), nil
	}
	generation := s.generations[in.slot]
	s.mu.Unlock()
	return broker.Page{Epoch: b.epoch(q.Room, generation), First: 1}, nil
}

// Ready implements broker.Broker: a broker in memory is, between Start and Close.
func (b *Broker) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return broker.ErrClosed
	case !b.started:
		return errNotStarted
	}
	return nil
}

// Close implements broker.Broker. It must not be called from the Sink.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	started := b.started
	b.mu.Unlock()
	b.signal()
	if started {
		<-b.done
	}
}

func (b *Broker) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
