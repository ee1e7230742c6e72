package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
	token   string // of the term that it is sent in
	cmds    []goredis.Cmder
	sent    []sent // as batch
	stamp   uint64 // the last that was given
	results []broker.Result
	logged  time.Time
	loaded  bool // Redis was given the script since it was away
}

func newLane(b *Broker, index int, n names) *lane {
	return &lane{b: b, index: index, names: n, fence: &b.shards[index].fence, wake: make(chan struct{}, 1)}
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
	l.cmds, l.sent = l.cmds[:0], l.sent[:0]
	for i := range l.batch {
		l.sent = append(l.sent, l.fence.sending(l.batch[i].Room, l.nextStamp(), begun))
		l.cmds = append(l.cmds, l.command(ctx, i, false))
	}
	l.exec(ctx, l.cmds)
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

func (l *lane) exec(ctx context.Context, cmds []goredis.Cmder) {
	pipe := l.b.client.Pipeline()
	for _, c := range cmds {
		// It only queues; errors are read from the commands.
		_ = pipe.Process(ctx, c)
	}
	_, _ = pipe.Exec(ctx)
}

// nextStamp draws a stamp, which is not 0.
func (l *lane) nextStamp() uint64 {
	l.stamp = l.fence.base | uint64(uint32(l.stamp+1))
	return l.stamp
}

// command makes the script's call for a publication of the batch.
func (l *lane) command(ctx context.Context, i int, whole bool) goredis.Cmder {
	p, s := &l.batch[i], &l.sent[i]
	bounds := l.b.cfg.Bounds(p.Room)
	stamp := s.stamp
	keys := []string{l.names.state(p.Room), l.names.stream(p.Room)}
	if l.token != "" {
		keys = append(keys, l.names.open())
	}
	window := l.b.cfg.DedupWindow
	if p.ID != "" && window > 0 {
		keys = append(keys, l.names.id(p.Room, p.ID))
	}
	body := make([]byte, 0, 9+4+len(p.From)+len(p.Event)+len(p.Data))
	args := []any{
		stampText(stamp), appendBody(body, p, stamp), len(p.Data),
		max(0, bounds.Messages), max(0, bounds.Bytes), milliseconds(bounds.Age), milliseconds(l.b.life(bounds)),
		milliseconds(window), l.names.channel(p.Room), l.b.publish, s.epoch, s.least,
	}
	switch {
	case p.Trace != nil:
		args = append(args, l.token, appendTrace(nil, p.Trace))
	case l.token != "":
		args = append(args, l.token)
	}
	return scriptPublish.call(ctx, whole, keys, args...)
}

// milliseconds rounds up: a bound that is set must not become none.
func milliseconds(d time.Duration) int64 {
	return int64((max(0, d) + time.Millisecond - 1) / time.Millisecond)
}

// life is for how long a room's state lives after its last use.
func (b *Broker) life(bounds broker.Bounds) time.Duration {
	return max(stateLife, bounds.Age, b.cfg.DedupWindow)
}

// again sends what did not run because Redis had forgotten the script: the first
// with the script's text. Where another publication of its room was stored, one is
// left out: it might come after what it was before.
func (l *lane) again(ctx context.Context) {
	if !slices.ContainsFunc(l.cmds, func(c goredis.Cmder) bool { return isUnknownScript(c.Err()) }) {
		return
	}
	stored := make(map[string]bool)
	for i, c := range l.cmds {
		if c.Err() == nil {
			stored[l.batch[i].Room] = true
		}
	}
	var cmds []goredis.Cmder
	for i := range l.cmds {
		if isUnknownScript(l.cmds[i].Err()) && !stored[l.batch[i].Room] {
			l.sent[i].stamp = l.nextStamp()
			l.cmds[i] = l.command(ctx, i, len(cmds) == 0)
			cmds = append(cmds, l.cmds[i])
		}
	}
	if len(cmds) > 0 {
		l.exec(ctx, cmds)
	}
}

// conclude makes the results of the commands' answers.
func (l *lane) conclude() {
	other := false // an answer is of another epoch than was known
	for i := range l.batch {
		r := broker.Result{Room: l.batch[i].Room, Ticket: l.batch[i].Ticket}
		r.Position, r.Duplicate, r.Err = l.outcome(l.cmds[i].(command))
		other = other || r.Err == nil && l.sent[i].epoch != "" && r.Epoch != l.sent[i].epoch
		l.results = append(l.results, r)
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

func (l *lane) outcome(cmd command) (p broker.Position, duplicate bool, err error) {
	if err := cmd.Err(); err != nil {
		if !reply(err) || isAway(err) {
			l.lose()
		}
		if isUnsettled(err) {
			l.b.master.doubt(l.token)
			l.lose()
		}
		return p, false, unavailable(err)
	}
	text, _ := cmd.Val().(string)
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
	clear(l.cmds)
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
