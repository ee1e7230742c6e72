// Package brokertest is the contract that every broker must pass, as a suite of
// tests: a broker's own tests call Run, or RunRealTime where the broker lives by a
// clock that cannot be set.
//
// It owns the brokers it asks for and closes them. Every test uses rooms of its
// own with names that are drawn anew, so that brokers may share a server. A check
// is made on what was promised by the broker interface, and on nothing else: a
// message that comes twice is no failure.
package brokertest

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// Options is what a broker under test is to be made with. Fields that are zero
// stand for the broker's defaults.
type Options struct {
	Bounds      func(room string) broker.Bounds
	DedupWindow time.Duration
	Queue       int    // publications that may wait
	Events      int    // lifecycle events that are kept
	Store       string // brokers of one name share what they keep, where they share at all
	Clock       *Clock // the broker's time; nil: the real one
}

// Clock is a time that the suite moves.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time by d, which may be negative: as a clock that is put back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New makes a broker that is not started. What it needs beside it, it ends by
// t.Cleanup.
type New = func(t *testing.T, o Options) broker.Broker

// Run tests brokers that live by Options.Clock.
func Run(t *testing.T, new New) {
	s := setting{new: new, unit: time.Minute, fake: true}
	s.run(t, messageTests, peopleTests)
}

// RunRealTime tests brokers that live by the real clock. What must pass in time is
// awaited, a few seconds in all.
func RunRealTime(t *testing.T, new New) {
	s := setting{new: new, unit: 2 * time.Second}
	s.run(t, messageTests, peopleTests)
}

// RunShared tests brokers of several gateways, which live by the real clock and
// share what they keep.
func RunShared(t *testing.T, new New) {
	s := setting{new: new, unit: 2 * time.Second}
	s.run(t, sharedTests)
}

// setting is how the suite runs.
type setting struct {
	new  New
	unit time.Duration // of ages and windows: longer than a step of a test takes
	fake bool          // the clock is the suite's
}

// promise is a test of what a broker promises.
type promise struct {
	name string
	test func(*testing.T, setting)
}

var messageTests = []promise{
	{"messages are numbered from 1 in the order published", numbersInOrder},
	{"a message is kept and delivered byte for byte", passesUnchanged},
	{"a message's trace is delivered and not kept", passesTraces},
	{"concurrent publishers get distinct consecutive numbers in one order", oneOrderForAll},
	{"rooms are numbered apart", roomsApart},
	{"what was delivered when its publisher is answered can be read", readableWhenAnswered},
	{"a retry has the first one's position and is not delivered", idempotent},
	{"a retry within one batch is stored once", idempotentInBatch},
	{"an ID belongs to its room", idsApart},
	{"an ID counts again once its window is over", idExpires},
	{"subscribe then range leaves no hole", splices},
	{"subscribing again is answered again", subscribesAgain},
	{"unsubscribe ends the deliveries", unsubscribes},
	{"the newest messages within the number are kept", boundedByMessages},
	{"the newest messages within the bytes are kept", boundedByBytes},
	{"messages past their age are gone", boundedByAge},
	{"a room that keeps nothing numbers and delivers", keepsNothing},
	{"pages hold what was asked for", pages},
	{"pages follow each other without a hole", pagesJoin},
	{"a room that was never used has an epoch and no message", unknownRoom},
	{"range ends with its context", rangeEnds},
	{"every publication is answered once past the queue's bound", answersPastQueue},
	{"every publication is answered once when the broker closes", answersOnClose},
	{"a broker is ready from start to close", ready},
	{"time does not go back within a room", timeNeverBack},
}

func (s setting) run(t *testing.T, lists ...[]promise) {
	for _, p := range slices.Concat(lists...) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(t, s)
		})
	}
}

// rig is one started broker and what it said.
type rig struct {
	broker.Broker
	t     *testing.T
	s     setting
	clock *Clock
	sink  *sink
	once  sync.Once
}

// rig makes and starts a broker that keeps 1000 messages of each room unless o
// says otherwise.
func (s setting) rig(t *testing.T, o Options) *rig {
	t.Helper()
	if o.Bounds == nil {
		o.Bounds = bounds(broker.Bounds{Messages: 1000})
	}
	if s.fake {
		o.Clock = &Clock{now: time.UnixMilli(1_700_000_000_000)}
	}
	r := &rig{Broker: s.new(t, o), t: t, s: s, clock: o.Clock, sink: newSink(t)}
	if p, ok := r.Broker.(broker.People); ok {
		p.WatchPresence(r.sink.presence)
	}
	r.Start(r.sink)
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() { r.once.Do(r.Close) }

// pass lets d go by.
func (r *rig) pass(d time.Duration) {
	if r.s.fake {
		r.clock.Advance(d)
		return
	}
	<-time.After(d)
}

func bounds(b broker.Bounds) func(string) broker.Bounds {
	return func(string) broker.Bounds { return b }
}

// newRoom draws a name that no other test has.
func newRoom() string { return "test:" + strings.ToLower(rand.Text()) }

// post publishes a batch and returns the answers in the batch's order. Tickets are
// set by it.
func (r *rig) post(batch ...broker.Publication) []broker.Result {
	r.t.Helper()
	tickets := r.sink.tickets(batch)
	r.Publish(batch)
	return r.sink.results(tickets)
}

// mustPost publishes a batch that must be taken.
func (r *rig) mustPost(batch ...broker.Publication) []broker.Result {
	r.t.Helper()
	results := r.post(batch...)
	for i, res := range results {
		if res.Err != nil {
			r.t.Fatalf("publication %d of %d: %v", i, len(batch), res.Err)
		}
		if res.Room != batch[i].Room {
			r.t.Fatalf("publication %d is answered for room %q, want %q", i, res.Room, batch[i].Room)
		}
	}
	return results
}

// say publishes each text to a room, in one batch.
func (r *rig) say(room string, texts ...string) []broker.Result {
	r.t.Helper()
	batch := make([]broker.Publication, len(texts))
	for i, text := range texts {
		batch[i] = broker.Publication{Room: room, Data: []byte(text)}
	}
	return r.mustPost(batch...)
}

// subscribe subscribes and waits for the answer.
func (r *rig) subscribe(rooms ...string) {
	r.t.Helper()
	r.Subscribe(rooms...)
	for _, room := range rooms {
		r.sink.wait("Subscribed "+room, func() bool { return r.sink.subscribed[room] > 0 })
	}
}

// read is Range that must succeed and hold together.
func (r *rig) read(q broker.Query) broker.Page {
	r.t.Helper()
	page, err := r.Range(r.t.Context(), q)
	if err != nil {
		r.t.Fatalf("range %+v: %v", q, err)
	}
	checkPage(r.t, q, page)
	return page
}

// checkPage checks what holds for every page.
func checkPage(t *testing.T, q broker.Query, page broker.Page) {
	t.Helper()
	if !validEpoch(page.Epoch) {
		t.Fatalf("range %+v: epoch %q", q, page.Epoch)
	}
	if page.First < 1 || page.First > page.Last+1 {
		t.Fatalf("range %+v: first %d, last %d", q, page.First, page.Last)
	}
	for i, m := range page.Messages {
		switch {
		case m.Room != q.Room || m.Epoch != page.Epoch:
			t.Fatalf("range %+v: message of %q %q in a page of epoch %q", q, m.Room, m.Epoch, page.Epoch)
		case i > 0 && m.Seq != page.Messages[i-1].Seq+1:
			t.Fatalf("range %+v: seq %d behind %d", q, m.Seq, page.Messages[i-1].Seq)
		case m.Seq < page.First || m.Seq > page.Last:
			t.Fatalf("range %+v: seq %d outside %d to %d", q, m.Seq, page.First, page.Last)
		}
	}
}

func validEpoch(epoch string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return len(epoch) >= 1 && len(epoch) <= 64 && strings.Trim(epoch, alphabet) == ""
}
