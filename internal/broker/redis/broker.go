package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	crand "crypto/rand"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// Broker implements broker.Broker, broker.Fleet and broker.People on Redis.
type Broker struct {
	// Immutable after New.
	cfg       Config
	client    goredis.UniversalClient
	sharded   bool
	publish   string // PUBLISH or SPUBLISH
	shards    []*shard
	lanes     []*lane
	id        string // of this process, drawn at random
	refusals  refusals
	fencing   fencing
	master    *master // nil but in the mode Sentinel
	rollCall  time.Duration
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	done      sync.WaitGroup
	reloading sync.Mutex // held while the Cluster's slots are asked for anew
	reloaded  time.Time  // guarded by reloading

	waiting      atomic.Int64 // publications taken and not yet answered
	waitingBytes atomic.Int64
	advised      atomic.Bool

	// Set before the goroutines begin.
	sink     broker.Sink
	listener func(message []byte)       // nil: nobody takes control messages
	watch    func(broker.PresenceEvent) // nil: nobody watches

	standingMu sync.Mutex
	standing   map[string]*standings // by gateway
	owed       owed
	revoked    revoked

	mu      sync.Mutex
	started bool
	closed  bool
}

// New makes a Broker. It connects to nothing before Start, and fails only where the
// configuration is wrong.
func New(cfg Config) (*Broker, error) {
	cfg.setDefaults()
	options, err := cfg.parse()
	if err != nil {
		return nil, err
	}
	quiet()
	var m *master
	var client goredis.UniversalClient
	if cfg.Mode == Sentinel {
		// It connects to whom the sentinels name, by its dialer.
		m = newMaster(&cfg, options)
		client = goredis.NewClient(options.Simple())
	} else {
		client = goredis.NewUniversalClient(options)
	}
	b := &Broker{
		cfg: cfg, sharded: cfg.Mode == Cluster, publish: "PUBLISH",
		rollCall: rollCall,
		standing: make(map[string]*standings),
		id:       strings.ToLower(crand.Text()[:16]), client: client, master: m,
	}
	b.refusals.init(b)
	b.fencing.init(b)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	hashTags := make([]string, standaloneShards)
	if b.sharded {
		b.publish = "SPUBLISH"
		hashTags = tags(cfg.Partitions)
	}
	for i, tag := range hashTags {
		n := newNames(cfg.Prefix, tag, options.DB)
		b.shards = append(b.shards, newShard(b, i, n))
		b.lanes = append(b.lanes, newLane(b, i, n))
	}
	cfg.Metrics.ProbeAge(b.probeAge)
	return b, nil
}

// Start implements broker.Broker.
func (b *Broker) Start(sink broker.Sink) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started {
		panic("redis: Start called twice")
	}
	b.started, b.sink = true, sink
	if b.closed {
		return
	}
	b.done.Go(b.refusals.run)
	b.done.Go(b.fencing.run)
	if b.master != nil {
		b.done.Go(b.watchMaster)
	}
	b.done.Go(b.keep)
	for i := range b.shards {
		b.done.Go(b.lanes[i].run)
		b.done.Go(b.shards[i].run)
		b.done.Go(b.shards[i].dispatch)
	}
}

// Close implements broker.Broker. It must not be called from the Sink. What is on
// its way to Redis is waited for, for Config.PublishTimeout at most.
func (b *Broker) Close() {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if first {
		b.cancel()
	}
	b.done.Wait()
	if first {
		b.client.Close()
		b.master.close()
	}
}

func (b *Broker) of(room string) int { return int(hashOf(room) % uint64(len(b.shards))) }

// Publish implements broker.Broker. After Close there is no goroutine left to
// answer from: the Sink is then called from within Publish.
func (b *Broker) Publish(batch []broker.Publication) {
	for i := range batch {
		p := &batch[i]
		lane := b.lanes[b.of(p.Room)]
		switch err := lane.put(p); {
		case err == nil:
		case err == broker.ErrClosed:
			b.answerClosed(batch[i:])
			return
		default:
			b.cfg.Refused.Inc()
			b.refusals.add(broker.Result{Room: p.Room, Err: err, Ticket: p.Ticket})
		}
	}
}

func (b *Broker) answerClosed(batch []broker.Publication) {
	if b.sink == nil {
		return
	}
	results := make([]broker.Result, len(batch))
	for i := range batch {
		results[i] = broker.Result{Room: batch[i].Room, Err: broker.ErrClosed, Ticket: batch[i].Ticket}
	}
	b.sink.Published(results)
}

// Subscribe implements broker.Broker.
func (b *Broker) Subscribe(rooms ...string) {
	for _, room := range rooms {
		b.shards[b.of(room)].want(room, true)
	}
}

// Unsubscribe implements broker.Broker.
func (b *Broker) Unsubscribe(rooms ...string) {
	for _, room := range rooms {
		b.shards[b.of(room)].want(room, false)
	}
}

// Ready implements broker.Broker: every subscriber's connection was proven within
// Config.ProbeTimeout.
func (b *Broker) Ready() error {
	b.mu.Lock()
	started, closed := b.started, b.closed
	b.mu.Unlock()
	if closed {
		return broker.ErrClosed
	}
	if !started {
		return fmt.Errorf("not started: %w", broker.ErrUnavailable)
	}
	var worst *shard
	missing := 0
	for _, s := range b.shards {
		if s.unproven() > b.cfg.ProbeTimeout || s.proof.Load() == 0 {
			missing++
			if worst == nil || s.unproven() > worst.unproven() {
				worst = s
			}
		}
	}
	if worst == nil {
		return nil
	}
	since := time.Now().Add(-worst.unproven()).UTC().Format(time.RFC3339)
	return fmt.Errorf("redis: delivery not proven on %d of %d subscriber connections since %s: %s",
		missing, len(b.shards), since, worst.trouble())
}

func (b *Broker) probeAge() time.Duration {
	var oldest time.Duration
	for _, s := range b.shards {
		oldest = max(oldest, s.unproven())
	}
	return oldest
}

// reload has the Cluster's slots asked for anew, once for all who want it within a
// moment.
func (b *Broker) reload() {
	cluster, ok := b.client.(*goredis.ClusterClient)
	if !ok {
		return
	}
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if time.Since(b.reloaded) > 250*time.Millisecond {
		cluster.ReloadState(b.ctx)
		b.reloaded = time.Now()
	}
}

// keep extends the life of the rooms that are subscribed and silent.
func (b *Broker) keep() {
	ticks := time.NewTicker(stateLife / 8)
	defer ticks.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticks.C:
			for _, s := range b.shards {
				rooms := s.wanted()
				_, err := b.Tails(b.ctx, rooms)
				if err = errors.Join(err, b.extendPresence(rooms)); err != nil {
					b.cfg.Log.Warn("rooms not kept alive", "error", err)
				}
			}
		}
	}
}
