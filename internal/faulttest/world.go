package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

const (
	joinWait    = 30 * time.Second
	warmUp      = 1500 * time.Millisecond
	settleWait  = caughtUpIn + 5*time.Second
	afterwards  = time.Second
	answersWait = 10 * time.Second
	revokeAfter = time.Second // of a fault's begin
	// A publish is answered within, be it that the broker is away.
	answeredIn = 5 * time.Second
)

// redisBinary and haproxyBinary are the programs, as the tests found them.
var (
	redisBinary   = "redis-server"
	haproxyBinary = "haproxy"
)

// fault is one row of the table.
type fault struct {
	name     string
	backend  func(*world) error // what the gateways stand on
	gateways int
	balancer bool // clients come through HAProxy
	rate     int  // messages per second in all; 0: 300
	short    bool // of the short set
	loses    bool // logs may be lost or rewound, so that resets are due
	// spoils: others write to the keys of users, which is told to no gateway: their
	// lists and names are then what they are.
	spoils bool
	// inject breaks something, waits and heals it; the fault is over when it
	// returns. It may say in w.expected what readiness has to be.
	inject func(*world) error
}

// world is one run: its processes, its clients, and what is known of it. It
// belongs to the goroutine of its test.
type world struct {
	fault  *fault
	seed   uint64
	random *rand.Rand // the fault's choices
	dir    string
	logf   func(string, ...any)

	flags    func(gateway int) []string // of the broker
	redis    []*redisServer
	proxies  []*proxy // one for each gateway, before its Redis
	gateways []*gateway
	balancer *balancer
	fleet    *fleet
	press    *press
	people   *people // nil: the fleet alone
	monitors []*monitor

	expected   []expectation
	restarted  map[*gateway]bool // is another process than before the fault
	problems   []violation       // found on the way
	harm       harm
	dead       []*claimant // who do not come back since a gateway's death
	diedAt     time.Duration
	listed     time.Duration // until the lists were the truth, at most
	faultEnd   time.Duration
	frozen     time.Duration // how long a gateway stood still, at most
	end        time.Duration
	reconnects int
}

// result is a row of the report.
type result struct {
	verdict
	reconnects int
	memory     int
	tenures    int           // of names
	agreed     time.Duration // from a fault to lists that are the truth
	slowest    time.Duration // answer to a publish
	took       time.Duration
}

// newWorld starts everything up to the gateways. The caller closes it, also on an
// error.
func newWorld(f *fault, seed uint64, binary string, logf func(string, ...any)) (*world, error) {
	dir, err := os.MkdirTemp("", "fanfare-faults-")
	if err != nil {
		return nil, err
	}
	w := &world{fault: f, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), dir: dir, logf: logf,
		restarted: make(map[*gateway]bool)}
	config, err := configure(dir)
	if err != nil {
		return w, err
	}
	if err := f.backend(w); err != nil {
		return w, err
	}
	for i := range f.gateways {
		w.gateways = append(w.gateways, newGateway(binary, dir, config, i, w.flags(i)))
	}
	if err := w.each(w.gateways, (*gateway).run); err != nil {
		return w, err
	}
	if f.balancer {
		if w.balancer, err = newBalancer(dir, w.gateways); err == nil {
			err = w.balancer.run()
		}
	}
	return w, err
}

// each does something with gateways at once.
func (w *world) each(gateways []*gateway, do func(*gateway) error) error {
	errs := make([]error, len(gateways))
	var all sync.WaitGroup
	for i, g := range gateways {
		all.Go(func() { errs[i] = do(g) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// close ends every process and removes the logs, unless they are to be kept.
func (w *world) close(keep bool) {
	for _, g := range w.gateways {
		g.kill()
	}
	if w.balancer != nil {
		w.balancer.kill()
	}
	for _, p := range w.proxies {
		p.close()
	}
	for _, r := range w.redis {
		r.kill()
	}
	if !keep {
		_ = os.RemoveAll(w.dir)
	}
}

// addresses is where clients connect, and publishers, which know their gateways.
func (w *world) addresses() (clients, publishers []string) {
	for _, g := range w.gateways {
		publishers = append(publishers, g.addr)
	}
	if w.balancer != nil {
		return []string{w.balancer.addr}, publishers
	}
	return publishers, publishers
}

// run lets the clients live through the fault and judges what they saw.
func (w *world) run() (result, error) {
	began := time.Now()
	clients, publishers := w.addresses()
	w.fleet = newFleet(w.seed, clients)
	rate := w.fault.rate
	if rate == 0 {
		rate = 300
	}
	w.press = newPress(w.fleet, w.seed, publishers, rate)
	w.people = newPeople(w.seed, w.fleet.clock, w.gateways)
	w.fleet.start()
	w.press.start()
	ctx, cancel := context.WithCancel(context.Background())
	var monitoring sync.WaitGroup
	for _, g := range w.gateways {
		m := &monitor{gateway: g, clock: w.fleet.clock}
		w.monitors = append(w.monitors, m)
		monitoring.Go(func() { m.run(ctx) })
	}
	err := w.live(ctx)
	w.press.stop()
	w.reconnects = w.fleet.reconnects() // before each client's last
	w.end = w.fleet.clock()
	w.people.stop()
	w.fleet.stop()
	cancel()
	monitoring.Wait()
	if err != nil {
		return result{}, err
	}
	r := w.judge()
	r.took = time.Since(began)
	return r, nil
}

// live is the run's time: all join, the fault, catching up, the end.
func (w *world) live(ctx context.Context) error {
	if err := w.people.start(); err != nil {
		return err
	}
	if err := until(joinWait, "all clients are joined", func() bool { return w.fleet.joinedCount() == clientsInAll }); err != nil {
		return fmt.Errorf("%w: %d are", err, w.fleet.joinedCount())
	}
	w.people.revoke(ctx, beforeFault, 0)
	w.press.markNow()
	if err := until(joinWait, "every room has its first message", func() bool { _, all := w.press.afterMark(); return all }); err != nil {
		return err
	}
	wait(ctx, warmUp)
	w.problems = append(w.problems, w.agreed("the start", w.agree(ctx, w.fleet.clock(), w.gateways))...)
	before := make([]sample, len(w.monitors))
	for i, m := range w.monitors {
		before[i] = m.last()
	}
	if err := w.inject(ctx); err != nil {
		return fmt.Errorf("inject: %w", err)
	}
	w.settle(ctx)
	for i, m := range w.monitors {
		m.mu.Lock()
		m.samples = append(m.samples, m.take(ctx, true))
		w.problems = append(w.problems, judgeBounds(m.gateway.name, m.samples, before[i], w.restarted[m.gateway])...)
		m.mu.Unlock()
	}
	return nil
}

// inject has the fault happen, and a user's tokens revoked meanwhile, by any gateway
// that takes it.
func (w *world) inject(ctx context.Context) error {
	w.harm = harm{from: w.fleet.clock(), lapses: true, back: make(map[string]time.Duration)}
	var revoking sync.WaitGroup
	first := int(w.seed % uint64(len(w.gateways))) // the fault has all of random
	revoking.Go(func() {
		if wait(ctx, revokeAfter) {
			w.people.revoke(ctx, duringFault, first)
		}
	})
	err := w.fault.inject(w)
	w.faultEnd = w.fleet.clock()
	w.harm.to = w.faultEnd
	w.press.markNow()
	revoking.Wait()
	return err
}

// settle waits until everyone has everything. What does not come in time is not
// an error here: the judge finds it.
func (w *world) settle(ctx context.Context) {
	var people sync.WaitGroup
	first := int((w.seed + 1) % uint64(len(w.gateways)))
	var wrong []violation
	if w.people != nil {
		people.Go(func() { wrong = w.settlePeople(ctx, first) })
	}
	err := until(settleWait, "everyone has caught up", func() bool {
		targets, all := w.press.afterMark()
		n, _ := w.fleet.missing(targets)
		return all && n == 0
	})
	if err != nil {
		n, example := w.fleet.missing(w.press.ends())
		targets, _ := w.press.afterMark()
		w.logf("%v: %d of %d rooms have a message since; %d clients are behind: %s", err, len(targets), rooms, n, example)
	}
	wait(ctx, afterwards)
	_ = until(honestIn, "all gateways are ready", w.allReady)
	wait(ctx, 2*sampleEvery) // so that the monitors have seen it
	people.Wait()
	w.problems = append(w.problems, wrong...)
	w.press.quiet.Store(true)
	if err := until(answersWait, "all publishes are answered", func() bool { return w.press.unanswered() == 0 }); err != nil {
		w.problems = append(w.problems, violation{dishonest, fmt.Sprintf("%d publishes got no acknowledgement", w.press.unanswered())})
	}
	if err := until(caughtUpIn, "everyone has all", func() bool { n, _ := w.fleet.missing(w.press.ends()); return n == 0 }); err != nil {
		n, example := w.fleet.missing(w.press.ends())
		w.logf("%v: %d clients: %s", err, n, example)
	}
}

// judge holds what was seen against what was promised.
func (w *world) judge() result {
	r := result{slowest: w.press.slowest, reconnects: w.reconnects, agreed: w.listed}
	r.verdict = judgeAll(evidence{
		journals: w.fleet.journals(), publications: w.press.publications(), faultEnd: w.faultEnd, keeps: keeps, strays: w.press.strays,
	})
	r.violations = append(r.violations, w.fleet.reports...)
	r.violations = append(r.violations, w.problems...)
	if w.people != nil {
		r.violations = append(r.violations, w.judgePeople(&r)...)
	}
	for _, m := range w.monitors {
		r.memory = max(r.memory, peakMemory(m.samples))
		x := expectation{gateway: m.gateway.name, from: w.faultEnd, to: w.faultEnd}
		for _, e := range w.expected {
			if e.gateway == m.gateway.name {
				x = e
			}
		}
		r.violations = append(r.violations, judgeReadiness(m.samples, x, w.end)...)
	}
	for _, s := range w.redis {
		if s.running() {
			r.violations = append(r.violations, s.refused()...)
		}
	}
	for _, g := range w.gateways {
		if err := g.end(drainTime + 10*time.Second); err != nil {
			r.violations = append(r.violations, violation{unbounded, fmt.Sprintf("%s ended with: %v", g.name, err)})
		}
	}
	if r.slowest > answeredIn+w.frozen {
		r.violations = append(r.violations, violation{unbounded, fmt.Sprintf("a publish was answered after %s", r.slowest.Round(time.Millisecond))})
	}
	if r.resets > 0 && !w.fault.loses {
		r.violations = append(r.violations, violation{badReset, fmt.Sprintf("%d members were told of a new log, and none was lost", r.resets)})
	}
	return r
}

// broken says that a gateway's delivery through Redis was broken for a time.
func (w *world) broken(g *gateway, from, to time.Duration) {
	w.expected = append(w.expected, expectation{gateway: g.name, from: from, to: to})
}

// allBroken is broken for every gateway.
func (w *world) allBroken(from, to time.Duration) {
	for _, g := range w.gateways {
		w.broken(g, from, to)
	}
}

// pause lets the load go on for so long.
func (w *world) pause(d time.Duration) { wait(context.Background(), d) }

// between is a time that the seed chooses.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.random.Int64N(int64(high-low)))
}

// anyGateway is one that the seed chooses.
func (w *world) anyGateway() *gateway { return w.gateways[w.random.IntN(len(w.gateways))] }
