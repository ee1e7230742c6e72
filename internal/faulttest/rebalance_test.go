package faulttest

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	fewGateways, allGateways = 3, 6
	rebalancedClients        = 4 * rooms
	// A gateway sheds an eighth of its surplus every two seconds: from twice the mean
	// to a fifth above it takes 24 s.
	evenIn = 45 * time.Second
	evenTo = 0.2 // of the mean
)

// A fleet of three is scaled to six under load. New connections alone would never
// even it out: the gateways do, and nothing is lost on the way.
func TestAFleetThatGrowsEvensOutByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("evening out takes half a minute")
	}
	need(t, "redis-server", "haproxy")
	haproxyBinary = "haproxy"
	if _, err := exec.LookPath(haproxyBinary); err != nil {
		haproxyBinary = "/usr/sbin/haproxy"
	}
	build(t)
	w := growing(t)
	defer func() { w.close(t.Failed()) }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.fleet.start()
	w.press.start()
	err := until(joinWait, "all clients are joined", func() bool { return w.fleet.joinedCount() == rebalancedClients })
	if err == nil {
		err = until(joinWait, "three gateways are even", func() bool { return uneven(w.loads(ctx, fewGateways)) <= evenTo })
	}
	grown := time.Now()
	if err == nil {
		err = w.each(w.gateways[fewGateways:], (*gateway).run)
	}
	if err == nil {
		err = until(evenIn, "six gateways are even", func() bool { return uneven(w.loads(ctx, allGateways)) <= evenTo })
	}
	took := time.Since(grown)
	w.faultEnd = w.fleet.clock()
	w.press.markNow()
	w.settle(ctx)
	loads := w.loads(ctx, allGateways)
	resumed := 0.0
	for _, g := range w.gateways {
		resumed += g.metric(ctx, "fanfare_resume_total")["fanfare_resume_total"]
	}
	w.press.stop()
	w.reconnects = w.fleet.reconnects()
	w.fleet.stop()
	t.Logf("%v after %s, %d reconnects", loads, took.Round(100*time.Millisecond), w.reconnects)
	if err != nil {
		t.Error(err)
	}
	if off := uneven(loads); off > evenTo {
		t.Errorf("the fleet did not stay even: %v", loads)
	}
	// Half of the clients have to move; who moves twice or without need is too many.
	if w.reconnects < rebalancedClients/3 || w.reconnects > rebalancedClients {
		t.Errorf("%d of %d clients came anew", w.reconnects, rebalancedClients)
	}
	if resumed < float64(w.reconnects)/2 {
		t.Errorf("%v resumes are counted of %d clients that came anew", resumed, w.reconnects)
	}
	r := w.judge()
	t.Logf("%d acknowledged, %d deliveries, %d lost, %d gaps, %d resets", r.acked, r.deliveries, r.losses, r.gaps, r.resets)
	if r.acked == 0 || r.deliveries < r.acked {
		t.Errorf("%d messages were acknowledged, and there were %d deliveries", r.acked, r.deliveries)
	}
	if r.gapped > 0 || r.resets > 0 {
		t.Errorf("%d messages in gaps and %d resets, though the broker lost nothing", r.gapped, r.resets)
	}
	for i, v := range r.violations {
		if i < shown {
			t.Errorf("%s: %s", v.invariant, v.detail)
		}
	}
}

// growing is a world whose balancer knows six gateways, of which three run.
func growing(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "fanfare-rebalance-")
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	w := &world{fault: &fault{name: "rebalance", gateways: allGateways}, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), dir: dir,
		logf: t.Logf, restarted: make(map[*gateway]bool)}
	fail := func(err error) {
		if err != nil {
			w.close(false)
			t.Fatal(err)
		}
	}
	config, err := configure(dir)
	fail(err)
	fail(single(w))
	for i := range allGateways {
		w.gateways = append(w.gateways, newGateway(binary, dir, config, i, append(w.flags(i), "--rebalance-enabled")))
	}
	fail(w.each(w.gateways[:fewGateways], (*gateway).run))
	w.balancer, err = newBalancer(dir, w.gateways)
	fail(err)
	fail(w.balancer.run())
	w.fleet = newFleet(seed, []string{w.balancer.addr})
	w.fleet.clients = w.fleet.clients[:rebalancedClients]
	_, publishers := w.addresses()
	w.press = newPress(w.fleet, seed, publishers[:fewGateways], 200)
	return w
}

// loads is the connections of the first n gateways.
func (w *world) loads(ctx context.Context, n int) (loads []float64) {
	for _, g := range w.gateways[:n] {
		loads = append(loads, g.metric(ctx, "fanfare_connections")["fanfare_connections"])
	}
	return loads
}

// uneven is how far the one that is farthest from the mean is from it, as a part
// of the mean.
func uneven(loads []float64) (most float64) {
	sum := 0.0
	for _, n := range loads {
		sum += n
	}
	mean := sum / float64(len(loads))
	if mean == 0 {
		return 1
	}
	for _, n := range loads {
		most = max(most, (n-mean)/mean, (mean-n)/mean)
	}
	return most
}
