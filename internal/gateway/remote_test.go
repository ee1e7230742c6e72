package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// remote is a broker that is another process, as far as a gateway can tell: its
// relay loses what a test wants lost, its logs can be rewound, and it knows other
// gateways. The embedded broker under it answers subscriptions.
type remote struct {
	broker.Broker

	// Called before the broker does what they are named for, which an error
	// prevents. Set before the gateway starts; nil does nothing.
	onRange func(broker.Query) error
	onPage  func(broker.Page) // with what is about to be answered
	onRenew func() error

	mu sync.Mutex
	// Guarded by mu, which is held while the sink is called, so that it hears of a
	// room in its order.
	sink      broker.Sink
	away      error
	deaf      bool // nothing is delivered, and no reset told
	blind     bool // Tails fails, so that a comparison finds nothing
	logs      map[string]*remoteLog
	made      uint64 // epochs and stamps
	keeps     int    // messages of each room; 0: all
	reads     int
	compared  [][]string
	renewals  int
	announced []broker.Member
	lease     time.Duration
	withdrawn []string
	others    []broker.Member
}

type remoteLog struct {
	epoch    string
	last     uint64
	stamp    uint64 // of the newest message, kept or not
	messages []broker.Message
}

var (
	_ broker.Remote = (*remote)(nil)
	_ broker.Fleet  = (*remote)(nil)
)

// runRemote starts a gateway on such a broker, its relay's series exported.
func runRemote(t testing.TB, change ...func(*setup, *remote)) (*remote, *service) {
	t.Helper()
	b := &remote{Broker: memory.New(memory.Config{}), logs: make(map[string]*remoteLog)}
	s := run(t, func(c *setup) {
		c.Loops, c.Broker = 2, b
		for _, f := range change {
			f(c, b)
		}
	})
	s.set.AddRelay(s.gw.cfg.Relay)
	return b, s
}

// confirming is the embedded broker's sink: all it has to say is Subscribed.
type confirming struct {
	broker.Sink
	b *remote
}

func (c confirming) Subscribed(rooms []string) { c.b.confirm(rooms...) }

// confirm says that rooms are subscribed, or were again.
func (b *remote) confirm(rooms ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sink.Subscribed(rooms)
}

func (b *remote) Start(s broker.Sink) {
	b.mu.Lock()
	b.sink = s
	b.mu.Unlock()
	b.Broker.Start(confirming{s, b})
}

func (b *remote) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away
}

func (b *remote) setReady(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = err
}

func (b *remote) log(name string) *remoteLog {
	l := b.logs[name]
	if l == nil {
		b.made++
		l = &remoteLog{epoch: fmt.Sprint("e", b.made)}
		b.logs[name] = l
	}
	return l
}

// store appends messages; deliver hands them over too.
func (b *remote) store(name string, deliver bool, data ...string) broker.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.log(name)
	for _, d := range data {
		m := b.append(name, l, []byte(d))
		if deliver && !b.deaf {
			b.sink.Deliver([]broker.Message{m})
		}
	}
	return broker.Position{Epoch: l.epoch, Seq: l.last}
}

func (b *remote) append(name string, l *remoteLog, data []byte) broker.Message {
	b.made++
	l.last++
	l.stamp = b.made
	m := broker.Message{Room: name, Position: broker.Position{Epoch: l.epoch, Seq: l.last}, Time: time.Now().UnixMilli(), From: "x", Data: data, Stamp: l.stamp}
	l.messages = append(l.messages, m)
	if n := len(l.messages); b.keeps > 0 && n > b.keeps {
		l.messages = l.messages[n-b.keeps:]
	}
	return m
}

// rewind makes the log what a replica had that stands in for it now: all after
// seq has never been.
func (b *remote) rewind(name string, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.log(name)
	l.messages = slices.DeleteFunc(slices.Clone(l.messages), func(m broker.Message) bool { return m.Seq > seq })
	l.last, l.stamp = seq, 0
	if n := len(l.messages); n > 0 {
		l.stamp = l.messages[n-1].Stamp
	}
}

func (b *remote) Publish(batch []broker.Publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := make([]broker.Result, len(batch))
	for i, p := range batch {
		m := b.append(p.Room, b.log(p.Room), p.Data)
		if !b.deaf {
			b.sink.Deliver([]broker.Message{m})
		}
		results[i] = broker.Result{Room: p.Room, Position: m.Position, Ticket: p.Ticket}
	}
	b.sink.Published(results)
}

func (b *remote) Range(_ context.Context, q broker.Query) (broker.Page, error) {
	if b.onRange != nil {
		if err := b.onRange(q); err != nil {
			return broker.Page{}, err
		}
	}
	p := b.page(q)
	if b.onPage != nil {
		b.onPage(p)
	}
	return p, nil
}

func (b *remote) page(q broker.Query) broker.Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	l := b.log(q.Room)
	p := broker.Page{Epoch: l.epoch, First: l.last - uint64(len(l.messages)) + 1, Last: l.last}
	for _, m := range l.messages {
		if m.Seq > q.After {
			p.Messages = append(p.Messages, m)
		}
	}
	if n := len(p.Messages); q.Newest && q.Limit > 0 && n > q.Limit {
		p.Messages = p.Messages[n-q.Limit:]
	}
	return p
}

func (b *remote) Tails(_ context.Context, rooms []string) ([]broker.Tail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.compared = append(b.compared, slices.Clone(rooms))
	if b.blind {
		return nil, errAway
	}
	tails := make([]broker.Tail, len(rooms))
	for i, name := range rooms {
		l := b.log(name)
		tails[i] = broker.Tail{Position: broker.Position{Epoch: l.epoch, Seq: l.last}, Stamp: l.stamp}
	}
	return tails, nil
}

var errAway = errors.New("the broker is away")

func (b *remote) Renew(_ context.Context, name, epoch string) error {
	b.mu.Lock()
	b.renewals++
	b.mu.Unlock()
	if b.onRenew != nil {
		if err := b.onRenew(); err != nil {
			return err
		}
	}
	b.renew(name, epoch)
	return nil
}

// renew gives the log a new epoch, as any gateway may want it.
func (b *remote) renew(name, epoch string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.log(name)
	if l.epoch != epoch {
		return
	}
	b.made++
	l.epoch = fmt.Sprint("e", b.made)
	for i := range l.messages {
		l.messages[i].Epoch = l.epoch
	}
	if !b.deaf {
		b.tellReset(name, l)
	}
}

// tellReset tells the gateway of the log's epoch. With mu.
func (b *remote) tellReset(name string, l *remoteLog) {
	b.sink.Reset(name, broker.Position{Epoch: l.epoch, Seq: l.last - uint64(len(l.messages))})
	b.sink.Subscribed([]string{name})
}

func (b *remote) setDeaf(deaf bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = deaf
}

func (b *remote) setBlind(blind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blind = blind
}

func (b *remote) tail(name string) protocol.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.log(name)
	return protocol.Position{Epoch: l.epoch, Seq: l.last}
}

// count reads one of the counters.
func (b *remote) count(n *int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *n
}

// comparisons is which rooms were compared, in each round trip.
func (b *remote) comparisons() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.compared)
}

func (b *remote) Announce(_ context.Context, m broker.Member, lease time.Duration) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away != nil {
		return false, b.away
	}
	b.announced, b.lease = append(b.announced, m), lease
	return true, nil
}

func (b *remote) Withdraw(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrawn = append(b.withdrawn, id)
	return nil
}

func (b *remote) Members(context.Context) ([]broker.Member, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(slices.Clone(b.others), b.announced[len(b.announced)-1]), nil
}

func (b *remote) Tell(context.Context, []byte) error { return nil }

func (b *remote) Listen(func([]byte)) {}

// quieten makes rooms look as if nothing had been heard of them, nor read, for so
// long that they are compared, and a late echo is none.
func (s *service) quieten() {
	for i := range s.gw.hub.stripes {
		st := &s.gw.hub.stripes[i]
		st.mu.Lock()
		for _, r := range st.rooms {
			r.mu.Lock()
			r.heard, r.read = r.heard-int64(compareEvery), r.read-int64(max(compareEvery, echoTime))
			r.mu.Unlock()
		}
		st.mu.Unlock()
	}
}

// compareNow does what the comparison does once rooms have been silent for long.
func (s *service) compareNow() {
	s.quieten()
	s.gw.hub.compare(s.gw.hub.silent(time.Now()))
}
