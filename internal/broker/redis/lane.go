package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const (
	// A pipeline is as large as what waits, up to these: past some hundred commands
	// the round trip costs nothing any more.
	pipelineCommands = 512
	pipelineBytes    = 4 << 20
	// Between two tries to reach Redis again.
	tryBase, tryCap = 50 * time.Millisecond, time.Second
)

var (
	errQueueFull = fmt.Errorf("queue is full: %w", broker.ErrUnavailable)
	errOther     = fmt.Errorf("an old master answered: %w", broker.ErrUnavailable)
	errAway      = fmt.Errorf("redis is away: %w", broker.ErrUnavailable)
)

// lane sends the publications of one shard.
type lane struct {
	b     *Broker
	index int
	names names
	fence *fence
	wake  chan struct{} // capacity 1
	away  atomic.Bool   // the last round trip failed; a goroutine tries for the next
	// sending is held from when publications are sent until their answers are known to
	// the fence.
	sending sync.Mutex

	mu     sync.Mutex
	queue  []broker.Publication
	closed bool

	// Owned by the lane's goroutine.
	batch   []broker.Publication
	token   string          // of the term that it is sent in
	sent    []sent          // as batch
	runs    []*run          // of the script, which together have all of the batch
	idle    []*run          // to be used again
	newest  map[string]*run // of a room
	stamp   uint64          // the last that was given
	results []broker.Result
	logged  time.Time
	loaded  bool // Redis was given the script since it was away
}

func newLane(b *Broker, index int, n names) *lane {
	return &lane{
		b: b, index: index, names: n, fence: &b.shards[index].fence, wake: make(chan struct{}, 1), newest: make(map[string]*run),
	}
}

// put queues a publication.
func (l *lane) put(p *broker.Publication) error {
	b, size := l.b, int64(len(p.Data))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return broker.ErrClosed
	case l.away.Load():
		return errAway
	case b.waiting.Add(1) > int64(b.cfg.Queue):
		b.waiting.Add(-1)
		return errQueueFull
	case b.waitingBytes.Add(size) > b.cfg.QueueBytes:
		b.waiting.Add(-1)
		b.waitingBytes.Add(-size)
		return errQueueFull
	}
	b.cfg.Depth.Add(1)
	l.queue = append(l.queue, *p)
	signal(l.wake)
	return nil
}

func (l *lane) run() {
	for {
		select {
		case <-l.wake:
			for l.take() {
				l.send()
				if l.b.ctx.Err() != nil {
					break
				}
			}
		case <-l.b.ctx.Done():
			l.end()
			return
		}
	}
}

// take moves what waits, or a part of it, into the batch.
func (l *lane) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) && n < pipelineCommands && (n == 0 || size+len(l.queue[n].Data) <= pipelineBytes) {
		size += len(l.queue[n].Data)
		n++
	}
	l.batch = append(l.batch[:0], l.queue[:n]...)
	clear(l.queue[:n])
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return n > 0
}

// end answers what waits when the broker closes.
func (l *lane) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for l.take() {
		l.results = l.results[:0]
		for i := range l.batch {
			l.results = append(l.results, broker.Result{Room: l.batch[i].Room, Err: broker.ErrClosed, Ticket: l.batch[i].Ticket})
		}
		l.answer()
	}
}

// send stores the batch and answers it.
func (l *lane) send() {
	l.results = l.results[:0]
	if !l.store() {
		for i := range l.batch {
			l.results = append(l.results, broker.Result{Room: l.batch[i].Room, Err: errAway, Ticket: l.batch[i].Ticket})
		}
	}
	l.answer()
}

// store returns false if the batch was not sent.
func (l *lane) store() (sent bool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	var open bool
	if l.token, open = l.b.master.publishing(); !open {
		l.lose()
	}
	if l.away.Load() {
		return false
	}
	// Not the broker's context: what is on its way at Close gets its answer.
	ctx, cancel := context.WithTimeout(context.Background(), l.b.cfg.PublishTimeout)
	defer cancel()
	begun := time.Now()
	if !l.loaded {
		// Where it is not known, only a part of a pipeline may be refused for it: see
		// again. An error shows in what follows.
		l.loaded = l.load(ctx) == nil
	}
	l.sent = l.sent[:0]
	for i := range l.batch {
		l.sent = append(l.sent, l.fence.sending(l.batch[i].Room, l.nextStamp(), begun))
	}
	l.divide()
	l.exec(ctx, l.runs, false)
	l.again(ctx)
	l.b.cfg.Metrics.Command(metrics.RedisPublish, time.Since(begun), false)
	l.conclude()
	return true
}

// load gives the script to the server of the lane, and to no other: one that is
// down must not hold up the rest.
func (l *lane) load(ctx context.Context) error {
	var node goredis.Scripter = l.b.client
	if cluster, ok := l.b.client.(*goredis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, l.names.probeKey("lane"))
		if err != nil {
			return err
		}
		node = master
	}
	return node.ScriptLoad(ctx, scriptPublish.text).Err()
}

// nextStamp draws a stamp, which is not 0.
func (l *lane) nextStamp() uint64 {
	l.stamp = l.fence.base | uint64(uint32(l.stamp+1))
	return l.stamp
}

// conclude makes the results of the commands' answers.
func (l *lane) conclude() {
	for i := range l.batch {
		l.results = append(l.results, broker.Result{Room: l.batch[i].Room, Ticket: l.batch[i].Ticket})
	}
	other := false // an answer is of another epoch than was known
	for _, run := range l.runs {
		for n, i := range run.of {
			r := &l.results[i]
			r.Position, r.Duplicate, r.Err = l.outcome(run.answer(n))
			other = other || r.Err == nil && l.sent[i].epoch != "" && r.Epoch != l.sent[i].epoch
		}
	}
	l.fenceOff(other)
	stored, failed := 0, error(nil)
	for i := range l.results {
		switch r := &l.results[i]; {
		case r.Err != nil:
			l.b.cfg.Metrics.Failed(metrics.RedisPublish)
			failed = r.Err
		case !r.Duplicate:
			stored++
		}
	}
	l.b.cfg.Metrics.Published.Add(stored)
	if failed != nil && time.Since(l.logged) > time.Second {
		l.logged = time.Now()
		l.b.cfg.Log.Warn("publications not stored", "shard", l.index, "of", len(l.batch), "stored", stored, "error", failed)
	}
}

// fenceOff refuses the answers that a server gave which is no longer the master, as
// far as that can be known. other: it may have renewed a log for not knowing it.
func (l *lane) fenceOff(other bool) {
	m := l.b.master
	if m != nil && (other || m.isStale()) {
		l.b.lookForMaster()
	}
	moved := !m.isOf(l.token)
	for i := range l.results {
		r := &l.results[i]
		if r.Err != nil {
			continue
		}
		if r.Duplicate && !moved {
			l.fence.confirm(r.Room, r.Position, time.Now())
			continue
		}
		ok, again := false, false
		if !moved {
			ok, again = l.fence.accept(&l.sent[i], r.Position)
		}
		if ok {
			continue
		}
		if again {
			l.b.fencing.renew(doubt{r.Room, r.Epoch})
		}
		*r = broker.Result{Room: r.Room, Ticket: r.Ticket, Err: errOther}
		l.lose()
	}
}

// outcome is what became of a publication of which the script said text.
func (l *lane) outcome(text string, err error) (p broker.Position, duplicate bool, _ error) {
	if err != nil {
		if !reply(err) || isAway(err) {
			l.lose()
		}
		if isUnsettled(err) {
			l.b.master.doubt(l.token)
			l.lose()
		}
		return p, false, unavailable(err)
	}
	if len(text) > 0 && text[0] == '=' {
		duplicate, text = true, text[1:]
	}
	if p, err = position(text); err != nil {
		l.b.cfg.Metrics.Junk.Inc()
		return p, false, unavailable(err)
	}
	return p, duplicate, nil
}

// isAway tells answers that hold for all publications from those about one.
func isAway(err error) bool {
	for _, prefix := range []string{
		"READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "MOVED", "NOREPLICAS", "MISCONF", "NOAUTH", "BUSY",
		"ERR max number of clients",
	} {
		if goredis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// isUnsettled says that the server takes no publications of that term.
func isUnsettled(err error) bool { return goredis.HasErrorPrefix(err, "UNSETTLED") }

func (l *lane) answer() {
	size := int64(0)
	for i := range l.batch {
		size += int64(len(l.batch[i].Data))
	}
	l.b.waiting.Add(-int64(len(l.batch)))
	l.b.waitingBytes.Add(-size)
	l.b.cfg.Depth.Add(-len(l.batch))
	clear(l.batch)
	for _, r := range l.runs {
		*r = run{of: r.of[:0]}
		l.idle = append(l.idle, r)
	}
	clear(l.runs)
	l.runs = l.runs[:0]
	clear(l.sent)
	l.b.sink.Published(l.results)
	clear(l.results)
}

// lose has publications refused until Redis takes a write again.
func (l *lane) lose() {
	l.loaded = false
	if !l.away.Swap(true) {
		l.b.fencing.suspect(l.fence)
		l.b.done.Go(l.tryAgain)
	}
}

func (l *lane) tryAgain() {
	for wait := tryBase; ; wait = min(2*wait, tryCap) {
		if !l.b.pause(jitter(wait)) {
			return
		}
		if l.b.sharded {
			l.b.reload()
		}
		_, err := l.b.run(l.b.ctx, scriptProbe, []string{l.names.probeKey("lane")}, l.names.probe("lane"), "", l.b.publish)
		// An old master that answers again would take it too.
		if err == nil && l.b.master != nil {
			l.b.lookForMaster()
		}
		if _, open := l.b.master.publishing(); err == nil && open {
			l.away.Store(false)
			return
		}
	}
}

// pause returns false if the broker closes first.
func (b *Broker) pause(d time.Duration) bool { return b.pauseUntil(d, nil) }

// pauseUntil ends early if something comes.
func (b *Broker) pauseUntil(d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-early:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// jitter is a random time from half of d to d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
