package redis

import (
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// refusals are answers to publications that are not sent. They have a goroutine of
// their own, so that a lane which waits for Redis keeps nobody waiting.
type refusals struct {
	b    *Broker
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	results []broker.Result
	ended   bool
}

func (r *refusals) init(b *Broker) {
	r.b, r.wake = b, make(chan struct{}, 1)
}

// add never blocks. Its bound is the loops': a publisher waits for its answers.
func (r *refusals) add(results ...broker.Result) {
	r.mu.Lock()
	ended := r.ended
	if !ended {
		r.results = append(r.results, results...)
	}
	r.mu.Unlock()
	if ended {
		r.b.sink.Published(results)
		return
	}
	signal(r.wake)
}

func (r *refusals) run() {
	for {
		ending := false
		select {
		case <-r.wake:
		case <-r.b.ctx.Done():
			ending = true
		}
		r.mu.Lock()
		results := r.results
		r.results, r.ended = nil, ending
		r.mu.Unlock()
		if len(results) > 0 {
			r.b.sink.Published(results)
		}
		if ending {
			return
		}
	}
}

// signal wakes who waits for the channel, which has a capacity of 1.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
