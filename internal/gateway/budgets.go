package gateway

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	budgetStripes = 64
	// idleBudgets bounds a stripe's budgets without connections. Past it the one
	// goes that was used longest ago, and what was known of it: who makes so many new
	// ones gains a fresh burst with each, and costs no more memory.
	idleBudgets = 1024
)

// use is what a budget is used for.
type use uint8

const (
	useConnects use = iota
	useMessages
	useBytes
	useHistory
	useConnections
	useRooms
	uses

	useRates = useConnections // how many are rates, the first ones
)

// rate is what a budget is given of a use.
func (u *Usage) rate(of use) rate {
	switch of {
	case useConnects:
		return doubled(int64(u.ConnectsPerSecond))
	case useMessages:
		return doubled(int64(u.MessagesPerSecond))
	case useBytes:
		return doubled(u.BytesPerSecond)
	default:
		return doubled(int64(u.HistoryPerSecond))
	}
}

// limited says whether any bound is set.
func (u *Usage) limited() bool { return *u != Usage{} }

// budgets is what those have used together that share a key: the name of a user,
// an address or a room. A key has a budget while it has connections, and then for
// as long as its buckets take to be as good as new. Any goroutine may use it; the
// lock of a stripe is held for some map look-ups at most, but by sweep.
type budgets[K comparable] struct {
	seed    maphash.Seed
	stripes [budgetStripes]budgetStripe[K]
}

type budgetStripe[K comparable] struct {
	mu   sync.Mutex
	all  map[K]*budget[K]
	idle idleList[K]
}

// budget is what one key has used.
type budget[K comparable] struct {
	key     K // immutable
	buckets [useRates]sharedBucket
	rooms   atomic.Int64

	// Guarded by the stripe's mu.
	connections int
	prev, next  *budget[K] // in idle
}

func newBudgets[K comparable]() *budgets[K] {
	t := &budgets[K]{seed: maphash.MakeSeed()}
	for i := range t.stripes {
		t.stripes[i].all = make(map[K]*budget[K])
	}
	return t
}

func (t *budgets[K]) stripe(key K) *budgetStripe[K] {
	return &t.stripes[maphash.Comparable(t.seed, key)%budgetStripes]
}

// enter counts a connection of a key. Where it is over a limit, it says over which,
// and how long until another may come, 0 where nobody knows; a is nil then.
func (t *budgets[K]) enter(key K, limits *Usage, now int64) (a *budget[K], over use, wait time.Duration) {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.take(key)
	if wait := a.take(useConnects, now, 1, limits); wait > 0 {
		s.rest(a, now)
		return nil, useConnects, wait
	}
	if limits.Connections > 0 && a.connections >= limits.Connections {
		s.rest(a, now)
		return nil, useConnections, 0
	}
	a.connections++
	return a, 0, 0
}

// attach counts a connection of a key that is there already, whatever the limits.
func (t *budgets[K]) attach(key K) *budget[K] {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.take(key)
	a.connections++
	return a
}

// leave is owed for each enter and attach.
func (t *budgets[K]) leave(a *budget[K], now int64) {
	s := t.stripe(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a.connections--
	s.rest(a, now)
}

// touch is the budget of a key that has no connections.
func (t *budgets[K]) touch(key K, now int64) *budget[K] {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.take(key)
	s.keep(a)
	return a
}

// sweep forgets what is as good as new, and says how many there are still.
func (t *budgets[K]) sweep(now int64) (left int) {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for a := s.idle.first; a != nil; {
			next := a.next
			if a.rested(now) {
				s.forget(a)
			}
			a = next
		}
		left += len(s.all)
		s.mu.Unlock()
	}
	return left
}

// take is the budget of a key, which is idle no more.
func (s *budgetStripe[K]) take(key K) *budget[K] {
	a := s.all[key]
	if a == nil {
		a = &budget[K]{key: key}
		s.all[key] = a
	} else if a.connections == 0 {
		s.idle.remove(a)
	}
	return a
}

// rest keeps a budget that has no connections, if anything is to be known of it.
func (s *budgetStripe[K]) rest(a *budget[K], now int64) {
	switch {
	case a.connections > 0:
	case a.rested(now):
		delete(s.all, a.key)
	default:
		s.keep(a)
	}
}

func (s *budgetStripe[K]) keep(a *budget[K]) {
	s.idle.add(a)
	if s.idle.n > idleBudgets {
		s.forget(s.idle.first)
	}
}

// forget lets go of an idle budget.
func (s *budgetStripe[K]) forget(a *budget[K]) {
	s.idle.remove(a)
	delete(s.all, a.key)
}

// take takes n of a rate, or says how long until that could be had.
func (a *budget[K]) take(of use, now, n int64, limits *Usage) time.Duration {
	return a.buckets[of].take(now, n, limits.rate(of))
}

// join counts a joined room, unless there are too many.
func (a *budget[K]) join(limits *Usage) bool {
	if n := a.rooms.Add(1); limits.Rooms == 0 || n <= int64(limits.Rooms) {
		return true
	}
	a.rooms.Add(-1)
	return false
}

// rested says whether a budget without connections is as good as a new one.
func (a *budget[K]) rested(now int64) bool {
	for i := range a.buckets {
		if !a.buckets[i].full(now) {
			return false
		}
	}
	return true
}

// idleList is budgets without connections, the one that was used longest ago
// first.
type idleList[K comparable] struct {
	first, last *budget[K]
	n           int
}

func (l *idleList[K]) add(a *budget[K]) {
	a.prev, a.next = l.last, nil
	if l.last == nil {
		l.first = a
	} else {
		l.last.next = a
	}
	l.last = a
	l.n++
}

func (l *idleList[K]) remove(a *budget[K]) {
	if a.prev == nil {
		l.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		l.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.prev, a.next = nil, nil
	l.n--
}
