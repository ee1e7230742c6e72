package faulttest

import (
	"context"
	"strings"
	"syscall"
	"time"
)

// Faults of gateways, of clients and of the balancer.

// freeze stops a gateway for a time and lets it go on.
func freeze(low, high time.Duration) func(*world) error {
	return func(w *world) error {
		g := w.anyGateway()
		w.frozen = high
		w.spare(true, g)
		g.signal(syscall.SIGSTOP)
		w.pause(w.between(low, high))
		g.signal(syscall.SIGCONT)
		return nil
	}
}

// killGateway ends a gateway without a word, and starts it again once the others
// have all that was its: its users are gone from the lists, its names are free.
func killGateway(w *world) error {
	g, ctx := w.anyGateway(), context.Background()
	w.restarted[g] = true
	w.spare(false, g)
	w.dead = w.people.bereave(g)
	g.kill()
	w.diedAt = w.fleet.clock()
	w.pause(w.between(time.Second, 3*time.Second))
	w.problems = append(w.problems, w.agreed("a gateway's death", w.agree(ctx, w.diedAt, w.others(g)))...)
	_ = until(max(0, w.diedAt+freeIn-w.fleet.clock()), "all names are taken", func() bool { return w.people.nameless() == "" })
	w.harm.back[g.addr] = w.fleet.clock()
	return g.run()
}

// drainGateway ends a gateway as a rolling update does, under load, and starts it
// again.
func drainGateway(w *world) error {
	g := w.anyGateway()
	w.restarted[g] = true
	w.harm.forgets = len(w.redis) == 0
	w.spare(w.harm.forgets, g)
	from := w.fleet.clock()
	if err := g.end(drainTime + 10*time.Second); err != nil {
		w.problems = append(w.problems, violation{unbounded, g.name + " was drained: " + err.Error()})
	}
	w.broken(g, from, w.fleet.clock())
	w.harm.back[g.addr] = w.fleet.clock()
	return g.run()
}

// slowReaders makes a third of the members of some rooms read nothing, while more
// is published there than their window and the kernel hold.
func slowReaders(w *world) error {
	w.spare(false)
	slow := []string{roomName(busyRooms), roomName(busyRooms + 1), roomName(0)}
	var paused []*client
	for _, name := range slow {
		for i, c := range w.fleet.byRoom[name] {
			if i%3 == 0 {
				c.pause()
				paused = append(paused, c)
			}
		}
	}
	stop := w.flood(slow, 1500, 8<<10)
	w.pause(w.between(4*time.Second, 6*time.Second))
	stop()
	for _, c := range paused {
		c.unpause()
	}
	return nil
}

// flood publishes to some rooms beside what is published anyway, until stopped.
func (w *world) flood(names []string, rate, size int) (stop func()) {
	return w.press.extra(w.seed, w.gateways[0].addr, names, rate, strings.Repeat("x", size))
}

// resets ends the connections of many clients with an RST, several times.
func resets(w *world) error {
	w.spare(false)
	for range 5 {
		for _, c := range w.fleet.clients {
			if w.random.IntN(3) == 0 {
				c.sever()
			}
		}
		w.pause(w.between(300*time.Millisecond, time.Second))
	}
	return nil
}

// restartBalancer ends HAProxy, and every client's connection with it.
func restartBalancer(w *world) error {
	w.spare(false)
	w.balancer.kill()
	w.pause(w.between(200*time.Millisecond, time.Second))
	return w.balancer.run()
}
