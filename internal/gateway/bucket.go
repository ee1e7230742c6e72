package gateway

import (
	"sync/atomic"
	"time"
)

// bucket is a token bucket that stores one time, the generic cell rate
// algorithm of ITU-T I.371: due is when it would be full again, were nothing
// more taken. Its zero value is full. Times are nanoseconds of any monotonic
// clock.
type bucket struct{ due int64 }

// rate is what a bucket gives: perSecond in the long run, burst at once.
type rate struct{ perSecond, burst int64 }

// doubled is a rate that gives twice as much at once as in a second.
func doubled(perSecond int64) rate { return rate{perSecond, 2 * perSecond} }

// take takes n, or returns how long it is until that could be had. A rate of 0
// gives without end; more than the burst is given from a full bucket.
func (b *bucket) take(now int64, n int64, r rate) (wait time.Duration) {
	if r.perSecond == 0 {
		return 0
	}
	cost := int64(float64(n) / float64(r.perSecond) * 1e9)
	depth := int64(float64(r.burst) / float64(r.perSecond) * 1e9)
	due := max(b.due, now)
	if over := due + min(cost, depth) - now - depth; over > 0 {
		return time.Duration(over)
	}
	b.due = due + cost
	return 0
}

// sharedBucket is a bucket for all loops, which take from it without a lock.
type sharedBucket struct{ due atomic.Int64 }

// take is bucket's, by the one clock of all loops: monotonic.
func (b *sharedBucket) take(now int64, n int64, r rate) (wait time.Duration) {
	for {
		was := b.due.Load()
		next := bucket{was}
		if wait := next.take(now, n, r); wait > 0 {
			return wait
		}
		if next.due == was || b.due.CompareAndSwap(was, next.due) {
			return 0
		}
	}
}

// full says whether the bucket is as good as new.
func (b *sharedBucket) full(now int64) bool { return b.due.Load() <= now }
