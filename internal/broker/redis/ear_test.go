package redis

import (
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// ear is a Sink that remembers.
type ear struct {
	t testing.TB

	mu sync.Mutex
	// block, where it is not nil, keeps Deliver until it is closed.
	block      chan struct{}
	results    map[int]broker.Result
	next       int
	subscribed map[string]int
	delivered  map[string][]broker.Message
	resets     map[string][]broker.Position
	told       []string
}

func newEar(t testing.TB) *ear {
	return &ear{
		t: t, results: make(map[int]broker.Result), subscribed: make(map[string]int),
		delivered: make(map[string][]broker.Message), resets: make(map[string][]broker.Position),
	}
}

func (e *ear) Published(results []broker.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range results {
		if _, twice := e.results[r.Ticket.(int)]; twice {
			e.t.Errorf("answered twice: %+v", r)
		}
		e.results[r.Ticket.(int)] = r
	}
}

func (e *ear) Subscribed(rooms []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, room := range rooms {
		e.subscribed[room]++
	}
}

func (e *ear) Deliver(messages []broker.Message) {
	e.mu.Lock()
	block := e.block
	e.mu.Unlock()
	if block != nil {
		<-block
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range messages {
		e.delivered[m.Room] = append(e.delivered[m.Room], m)
	}
}

func (e *ear) Reset(room string, p broker.Position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resets[room] = append(e.resets[room], p)
}

func (e *ear) listen(message []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, string(message))
}

// times is how often the room was said to be subscribed.
func (e *ear) times(room string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.subscribed[room]
}

// has says whether a message with this text was delivered.
func (e *ear) has(room, text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.delivered[room] {
		if string(m.Data) == text {
			return true
		}
	}
	return false
}

// rig is a broker, what it said, and a test.
type rig struct {
	*Broker
	t   testing.TB
	ear *ear
}

// newRig starts a broker that proves itself often.
func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval, cfg.ProbeTimeout = 100*time.Millisecond, 800*time.Millisecond
	}
	r := &rig{Broker: mustNew(t, cfg), t: t, ear: newEar(t)}
	r.Listen(r.ear.listen)
	r.Start(r.ear)
	t.Cleanup(r.Close)
	return r
}

func (r *rig) ready() {
	r.t.Helper()
	eventually(r.t, "ready", func() bool { return r.Ready() == nil })
}

// send publishes without waiting and returns the ticket.
func (r *rig) send(p broker.Publication) int {
	r.ear.mu.Lock()
	p.Ticket = r.ear.next
	r.ear.next++
	r.ear.mu.Unlock()
	r.Publish([]broker.Publication{p})
	return p.Ticket.(int)
}

func (r *rig) answer(ticket int) broker.Result {
	r.t.Helper()
	var res broker.Result
	eventually(r.t, "an answer", func() bool {
		r.ear.mu.Lock()
		defer r.ear.mu.Unlock()
		var ok bool
		res, ok = r.ear.results[ticket]
		return ok
	})
	return res
}

// try publishes and returns the answer.
func (r *rig) try(p broker.Publication) broker.Result {
	r.t.Helper()
	return r.answer(r.send(p))
}

// say publishes what must be stored.
func (r *rig) say(room, text string) broker.Result {
	r.t.Helper()
	res := r.try(broker.Publication{Room: room, Data: []byte(text)})
	if res.Err != nil {
		r.t.Fatalf("publish to %q: %v", room, res.Err)
	}
	return res
}

// recovers waits until a publication to the room is stored again.
func (r *rig) recovers(room, text string) broker.Result {
	r.t.Helper()
	var res broker.Result
	eventually(r.t, "a publication is stored again", func() bool {
		res = r.try(broker.Publication{Room: room, Data: []byte(text)})
		return res.Err == nil
	})
	return res
}

func (r *rig) subscribe(rooms ...string) {
	r.t.Helper()
	r.Subscribe(rooms...)
	for _, room := range rooms {
		eventually(r.t, "subscribed "+room, func() bool { return r.ear.times(room) > 0 })
	}
}

func (r *rig) read(room string) broker.Page {
	r.t.Helper()
	page, err := r.Range(r.t.Context(), broker.Query{Room: room})
	if err != nil {
		r.t.Fatalf("range %q: %v", room, err)
	}
	return page
}

func (r *rig) tail(room string) broker.Tail {
	r.t.Helper()
	tails, err := r.Tails(r.t.Context(), []string{room})
	if err != nil {
		r.t.Fatalf("tails of %q: %v", room, err)
	}
	return tails[0]
}
