package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// lifecycleEvery is for how long changes are gathered before they are written.
	lifecycleEvery = 250 * time.Millisecond
	// lifecycleBatch bounds the changes of one call, lifecycleMost those that wait.
	lifecycleBatch = 1024
	lifecycleMost  = 64 << 10
	// lifecycleEnd is how long the last ones may take once the gateway ends.
	lifecycleEnd = time.Second
)

// lifecycle is which connections began and ended, and has still to be written for
// backends.
type lifecycle struct {
	wake chan struct{} // one token while something waits

	writing sync.Mutex // held by who writes, while the broker takes it
	failed  bool       // the last try has; guarded by writing

	mu      sync.Mutex
	changes []broker.ConnectionChange
}

// add puts a change behind the others, and returns how many there are. It returns
// false where it has no room.
func (l *lifecycle) add(c broker.ConnectionChange) (waiting int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.changes) >= lifecycleMost {
		return len(l.changes), false
	}
	l.changes = append(l.changes, c)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(l.changes), true
}

// waiting is how many there are.
func (l *lifecycle) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.changes)
}

// first returns the next ones, which stay until they are done.
func (l *lifecycle) first() []broker.ConnectionChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.changes), lifecycleBatch)
	return l.changes[:n:n]
}

// done lets go of the first n, and returns how many are left.
func (l *lifecycle) done(n int) (waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.changes[:n])
	if l.changes = l.changes[n:]; len(l.changes) == 0 {
		l.changes = nil
	}
	return len(l.changes)
}

// connected and disconnected are told by loops.

func (p *people) connected(ses *session) {
	if p != nil && p.gw.cfg.Events {
		p.changed(broker.ConnectionChange{Connection: ses.name("c-"), User: ses.user()})
	}
}

func (p *people) disconnected(ses *session) {
	if p != nil && p.gw.cfg.Events {
		p.changed(broker.ConnectionChange{
			Connection: ses.name("c-"), User: ses.user(), Ended: true, Reason: ses.conn.CloseReason().String(),
		})
	}
}

func (p *people) changed(c broker.ConnectionChange) {
	waiting, ok := p.lifecycle.add(c)
	p.gw.cfg.Metrics.LifecycleQueue.Set(int64(waiting))
	if !ok {
		p.gw.cfg.Metrics.LifecycleDropped.Inc()
	}
}

// chronicle writes what has gathered, as long as ctx lasts.
func (p *people) chronicle() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.lifecycle.wake:
		}
		for more := true; more; {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(lifecycleEvery):
			}
			for more = true; more && p.write(p.ctx); {
				more = len(p.lifecycle.first()) > 0
			}
		}
	}
}

// writeFirst writes what waits, before the broker is told where users are: a
// backend hears of a connection before it hears of its user's rooms, and of its
// end before the user has left them. Where that has failed the rooms do not wait.
func (p *people) writeFirst() {
	l := &p.lifecycle
	l.writing.Lock()
	failed := l.failed
	l.writing.Unlock()
	for waiting := l.waiting(); waiting > 0 && !failed; waiting -= lifecycleBatch {
		failed = !p.write(p.ctx)
	}
}

// write writes the next changes. It returns false if it has to be tried again.
func (p *people) write(ctx context.Context) bool {
	p.lifecycle.writing.Lock()
	defer p.lifecycle.writing.Unlock()
	batch := p.lifecycle.first()
	if len(batch) == 0 {
		return true
	}
	bounded, cancel := context.WithTimeout(ctx, rangeWait)
	defer cancel()
	err := p.Connections(bounded, p.gw.cfg.ID, batch)
	p.lifecycle.failed = err != nil
	if err != nil {
		if ctx.Err() == nil {
			p.gw.cfg.Log.Debug("lifecycle events not written", "events", len(batch), "error", err)
		}
		return false
	}
	p.gw.cfg.Metrics.LifecycleWritten.Add(len(batch))
	p.gw.cfg.Metrics.LifecycleQueue.Set(int64(p.lifecycle.done(len(batch))))
	return true
}

// finish writes what is left once all connections have ended.
func (p *people) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), lifecycleEnd)
	defer cancel()
	for len(p.lifecycle.first()) > 0 && p.write(ctx) {
	}
	p.gw.cfg.Metrics.LifecycleDropped.Add(p.lifecycle.drop())
	p.gw.cfg.Metrics.LifecycleQueue.Set(0)
}

// drop lets go of all, and returns how many those were.
func (l *lifecycle) drop() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.changes)
	l.changes = nil
	return n
}
