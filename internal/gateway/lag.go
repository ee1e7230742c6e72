package gateway

import (
	"sync"
	"time"
)

// lag hands out what is put into it after a constant time, in its order.
type lag[T any] struct {
	after time.Duration // immutable

	mu    sync.Mutex
	items []lagged[T]
}

type lagged[T any] struct {
	value T
	due   time.Time
}

// put takes v in at now. It reports whether nothing was there: who waits for the
// next has to be woken.
func (l *lag[T]) put(v T, now time.Time) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, lagged[T]{v, now.Add(l.after)})
	return len(l.items) == 1
}

// take returns what is due at now.
func (l *lag[T]) take(now time.Time) (due []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.items) && !l.items[n].due.After(now) {
		due = append(due, l.items[n].value)
		n++
	}
	clear(l.items[:n])
	if l.items = l.items[n:]; len(l.items) == 0 {
		l.items = nil
	}
	return due
}

// next is when the first is due, if there is any.
func (l *lag[T]) next() (due time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.items) == 0 {
		return time.Time{}, false
	}
	return l.items[0].due, true
}

// len is how many wait.
func (l *lag[T]) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items)
}
