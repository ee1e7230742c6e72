package gateway

import (
	"sync"
	"time"
)

// bucket is a token bucket that stores one time, the generic cell rate
// algorithm of ITU-T I.371: due is when it would be full again, were nothing
// more taken. Its zero value is full. Times are nanoseconds of any monotonic
// clock.
type bucket struct{ due int64 }

// rate is what a bucket gives: perSecond in the long run, burst at once.
type rate struct{ perSecond, burst int64 }

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

// sharedBucket is a bucket for all loops.
type sharedBucket struct {
	mu     sync.Mutex
	bucket bucket
}

// take takes one where perSecond may be taken, as many of them at once.
func (b *sharedBucket) take(now int64, perSecond int) (wait time.Duration) {
	if perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bucket.take(now, 1, rate{int64(perSecond), int64(perSecond)})
}
