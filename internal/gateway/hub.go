package gateway

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

const (
	stripes     = 64
	fillers     = 4 // goroutines that read logs from the broker
	requesters  = 4 // goroutines that answer questions
	requestsMax = 4096
	// The sweep visits a part of the rooms each time, all of them in sweepParts
	// times sweepEvery.
	sweepEvery = time.Second
	sweepParts = 4
)

// hub owns the rooms of a gateway. It is the broker's sink.
type hub struct {
	// Immutable.
	broker broker.Broker
	remote broker.Remote // the same, where it is another process; else nil
	people *people       // nil: the broker keeps none
	live   func() *Live
	set    *metrics.Set
	relay  *metrics.Relay
	log    *slog.Logger
	tracer *tracing.Tracer // nil: nothing is traced
	shards []*shard
	seed   maphash.Seed
	ctx    context.Context // ends with the hub
	cancel context.CancelFunc
	done   sync.WaitGroup

	stripes [stripes]stripe

	fills    roomQueue // whose logs are to be read
	requests chan question
}

// stripe is a part of the rooms, by the hash of their names.
type stripe struct {
	mu    sync.Mutex
	rooms map[string]*hubRoom
	peak  int // rooms that the map has had
}

func newHub(g *Gateway) *hub {
	cfg := &g.cfg
	h := &hub{
		broker:   cfg.Broker,
		people:   g.people,
		live:     g.live,
		set:      cfg.Metrics,
		relay:    cfg.Relay,
		log:      cfg.Log,
		tracer:   cfg.Tracer,
		shards:   g.shards,
		seed:     maphash.MakeSeed(),
		requests: make(chan question, requestsMax),
	}
	h.remote, _ = cfg.Broker.(broker.Remote)
	h.fills.wake = make(chan struct{}, 1)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for i := range h.stripes {
		h.stripes[i].rooms = make(map[string]*hubRoom)
	}
	return h
}

// start begins the hub's goroutines and the broker's.
func (h *hub) start() {
	for range fillers {
		h.done.Go(h.fillLoop)
	}
	for range requesters {
		h.done.Go(h.requestLoop)
	}
	h.done.Go(h.sweepLoop)
	if h.remote != nil {
		h.done.Go(h.compareLoop)
	}
	h.broker.Start(h)
}

// close ends them and waits. No room is left.
func (h *hub) close() {
	h.cancel()
	h.broker.Close()
	h.done.Wait()
	for i := range h.stripes {
		s := &h.stripes[i]
		s.mu.Lock()
		for name, r := range s.rooms {
			delete(s.rooms, name)
			r.close()
			r.roster.end()
			h.set.Rooms.Add(-1)
		}
		s.mu.Unlock()
	}
}

func (h *hub) stripe(name string) *stripe {
	return &h.stripes[maphash.String(h.seed, name)%stripes]
}

// hold returns the room for a shard that now has members in it, and subscribes
// it if it is new. A shard holds a room once, and releases it.
func (h *hub) hold(name string, shard int) *hubRoom {
	s := h.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[name]
	if r == nil {
		r = newHubRoom(name, h.live().Classes.Of(name), len(h.shards), &h.set.PresenceUnsaid)
		s.rooms[name] = r
		h.set.Rooms.Add(1)
		h.broker.Subscribe(name)
	}
	r.holders++
	r.marks[shard].held.Store(true)
	return r
}

// release is hold undone.
func (h *hub) release(r *hubRoom, shard int) {
	s := h.stripe(r.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.marks[shard].held.Store(false)
	r.holders--
	if r.holders == 0 {
		r.idle = monotonic()
	}
}

func (h *hub) find(name string) *hubRoom {
	s := h.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[name]
}

// all is the rooms that are held.
func (h *hub) all() (rooms []*hubRoom) {
	for i := range h.stripes {
		s := &h.stripes[i]
		s.mu.Lock()
		for _, r := range s.rooms {
			rooms = append(rooms, r)
		}
		s.mu.Unlock()
	}
	return rooms
}

// sweepLoop lets go of rooms without members, and of messages that are too old.
func (h *hub) sweepLoop() {
	ticks := time.NewTicker(sweepEvery)
	defer ticks.Stop()
	for part := 0; ; part = (part + 1) % sweepParts {
		select {
		case <-h.ctx.Done():
			return
		case now := <-ticks.C:
			for i := part; i < stripes; i += sweepParts {
				h.sweep(&h.stripes[i], now)
			}
		}
	}
}

func (h *hub) sweep(s *stripe, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range s.rooms {
		if r.holders > 0 || monotonicAt(now)-r.idle < int64(lingerRoom) || !r.roster.idle() {
			r.expire(now)
			continue
		}
		// Under the stripe's lock, so that a Subscribe for who joins next comes after.
		h.broker.Unsubscribe(name)
		delete(s.rooms, name)
		r.close()
		h.set.Rooms.Add(-1)
	}
	s.rooms, s.peak = shrunk(s.rooms, s.peak)
}

// Published is broker.Sink's: each result goes to the loop of its publisher, or
// to the call that waits for it.
func (h *hub) Published(results []broker.Result) {
	answers := make([]*answers, len(h.shards))
	for i := range results {
		t, ok := results[i].Ticket.(*ticket)
		if !ok {
			h.shards[0].m.Published(outcome(&results[i])) // a call is of no loop
			results[i].Ticket.(*callTicket).answer(&results[i])
			continue
		}
		if t.traced != nil {
			t.traced.Relayed(tracedOutcome(&results[i]))
		}
		at := t.session.shard.index
		if answers[at] == nil {
			answers[at] = newAnswers()
		}
		answers[at].results = append(answers[at].results, results[i])
	}
	for i, a := range answers {
		if a != nil {
			h.shards[i].loop.Post(a)
		}
	}
}

// Subscribed is broker.Sink's: the rooms' logs are read from now on.
func (h *hub) Subscribed(rooms []string) {
	for _, name := range rooms {
		if r := h.find(name); r != nil {
			h.refill(r)
		}
	}
}

// Deliver is broker.Sink's.
func (h *hub) Deliver(messages []broker.Message) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	for len(messages) > 0 {
		n := 1
		for n < len(messages) && messages[n].Room == messages[0].Room {
			n++
		}
		if r := h.find(messages[0].Room); r != nil {
			if r.accept(e, messages[:n]) {
				h.fills.add(r)
			}
			h.fanOut(r, e)
			h.tell(r)
		}
		messages = messages[n:]
	}
}

// Reset is broker.Sink's.
func (h *hub) Reset(name string, p broker.Position) {
	if r := h.find(name); r != nil {
		if r.reset(p, &h.set.LogBytes) {
			h.relay.Gaps[metrics.GapReset].Inc()
		}
		h.tell(r)
	}
}

// tell posts the room to each loop that has members and was not told since it
// last looked.
func (h *hub) tell(r *hubRoom) {
	for i := range r.marks {
		if m := &r.marks[i]; m.held.Load() && m.mark() {
			h.shards[i].loop.Post(r)
		}
	}
}
