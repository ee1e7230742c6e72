package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// tap stands between a gateway and its broker. It lets a test publish without a
// connection, and a test may replace what passes.
type tap struct {
	broker.Broker
	broker.People

	// Set before the gateway starts; called on the broker's goroutine or the
	// reader's. nil passes everything on.
	deliver    func([]broker.Message) []broker.Message
	subscribed func([]string) []string
	reset      func(string, broker.Position) bool
	reading    func(broker.Query) error
	read       func(broker.Query, broker.Page) broker.Page
	published  func([]broker.Result) []broker.Result
	onReady    func()
	saying     func([]broker.RoomUsers) error                // before presence is set, which an error prevents
	claiming   func(context.Context, broker.NameClaim) error // before a name is claimed, which an error prevents
	writing    func([]broker.ConnectionChange) error         // before connections are said, which an error prevents
	watcher    func(broker.PresenceEvent)                    // set by the gateway

	unheard atomic.Bool // what the broker tells of who comes and goes is lost

	mu    sync.Mutex
	ready error
	sink  broker.Sink
}

func (b *tap) Start(s broker.Sink) {
	b.mu.Lock()
	b.sink = s
	b.mu.Unlock()
	b.Broker.Start(tapped{s, b})
}

func (b *tap) Ready() error {
	if b.onReady != nil {
		b.onReady()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready != nil {
		return b.ready
	}
	return b.Broker.Ready()
}

func (b *tap) SetPresence(ctx context.Context, gateway string, rooms []broker.RoomUsers) error {
	if b.saying != nil {
		if err := b.saying(rooms); err != nil {
			return err
		}
	}
	return b.People.SetPresence(ctx, gateway, rooms)
}

func (b *tap) ClaimName(ctx context.Context, c broker.NameClaim) (bool, error) {
	if b.claiming != nil {
		if err := b.claiming(ctx, c); err != nil {
			return false, err
		}
	}
	return b.People.ClaimName(ctx, c)
}

func (b *tap) Connections(ctx context.Context, gateway string, changes []broker.ConnectionChange) error {
	if b.writing != nil {
		if err := b.writing(changes); err != nil {
			return err
		}
	}
	return b.People.Connections(ctx, gateway, changes)
}

func (b *tap) WatchPresence(f func(broker.PresenceEvent)) {
	b.watcher = f
	b.People.WatchPresence(func(e broker.PresenceEvent) {
		if !b.unheard.Load() {
			f(e)
		}
	})
}

func (b *tap) setReady(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = err
}

func (b *tap) Range(ctx context.Context, q broker.Query) (broker.Page, error) {
	if b.reading != nil {
		if err := b.reading(q); err != nil {
			return broker.Page{}, err
		}
	}
	p, err := b.Broker.Range(ctx, q)
	if err == nil && b.read != nil {
		p = b.read(q, p)
	}
	return p, err
}

// tapped is the broker's sink.
type tapped struct {
	broker.Sink
	tap *tap
}

func (s tapped) Published(results []broker.Result) {
	var theirs []broker.Result
	for _, r := range results {
		if answers, ok := r.Ticket.(chan broker.Result); ok {
			answers <- r // has room for all
			continue
		}
		theirs = append(theirs, r)
	}
	if s.tap.published != nil {
		theirs = s.tap.published(theirs)
	}
	if len(theirs) > 0 {
		s.Sink.Published(theirs)
	}
}

func (s tapped) Deliver(messages []broker.Message) {
	if s.tap.deliver != nil {
		messages = s.tap.deliver(messages)
	}
	if len(messages) > 0 {
		s.Sink.Deliver(messages)
	}
}

func (s tapped) Subscribed(rooms []string) {
	if s.tap.subscribed != nil {
		rooms = s.tap.subscribed(rooms)
	}
	if len(rooms) > 0 {
		s.Sink.Subscribed(rooms)
	}
}

func (s tapped) Reset(name string, p broker.Position) {
	if s.tap.reset == nil || s.tap.reset(name, p) {
		s.Sink.Reset(name, p)
	}
}

// gate lets the reads of a room wait until free is closed, or the test is over.
func gate(t *testing.T, name string, free <-chan struct{}) func(broker.Query) error {
	return func(q broker.Query) error {
		if q.Room == name {
			select {
			case <-free:
			case <-t.Context().Done():
			}
		}
		return nil
	}
}

// always fails every read.
func always(err error) func(broker.Query) error {
	return func(broker.Query) error { return err }
}

func queryAll(name string) broker.Query { return broker.Query{Room: name} }
