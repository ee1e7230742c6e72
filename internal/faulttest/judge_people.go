package faulttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// revokedIn is how long after a revocation was answered nobody comes by it, and
	// freeIn how long after a gateway's death others can have its names: the lease, and
	// a third.
	revokedIn = 5 * time.Second
	freeIn    = 15 * time.Second
	// toldIn is how long after a fault who has lost a name to another may not know.
	toldIn = 10 * time.Second
	// surely is how long the name of a connection that has ended is kept for who knows
	// its key: ten seconds where the gateway saw the end, and after its death what is
	// left of its lease.
	surely = 6 * time.Second
)

// harm is what a fault does to gateways, and when. Nothing is excused but by it.
type harm struct {
	from, to time.Duration
	// touched: their links to Redis or they themselves; nil: all of them.
	touched map[string]bool
	// lapses: leases may run out under gateways that live, or what they said be lost.
	lapses bool
	// forgets: the broker was part of a gateway that ended.
	forgets bool
	// back: gateways that were started again, and when that was done.
	back map[string]time.Duration
}

// touches says whether a gateway, by its address, was harmed.
func (h *harm) touches(gateway string) bool { return h.touched == nil || h.touched[gateway] }

// excuses says whether a name that one has by a gateway may be another's, too.
func (h *harm) excuses(gateway string, from, to time.Duration) bool {
	return h.lapses && h.touches(gateway) && from >= h.from && to <= h.to+toldIn
}

// claims is what the claimants of one name saw.
type claims struct {
	name    string
	tenures []tenure
	taken   map[int][]time.Duration // of who asked with a key, by claimant
}

// judgeNames holds the tenures of a name against its being one's. end is when the
// run was over.
func judgeNames(c claims, h harm, end time.Duration) (found []violation) {
	add := func(format string, args ...any) {
		found = append(found, violation{doubled, c.name + ": " + fmt.Sprintf(format, args...)})
	}
	slices.SortFunc(c.tenures, func(a, b tenure) int { return cmp.Compare(a.from, b.from) })
	for i := range c.tenures {
		a := &c.tenures[i]
		ends := a.to
		if ends == 0 {
			ends = end
		}
		for k := i + 1; k < len(c.tenures); k++ {
			b := &c.tenures[k]
			until := ends
			if b.to > 0 {
				until = min(until, b.to)
			}
			if b.from < until && b.claimant != a.claimant && !h.excuses(a.gateway, b.from, until) && !h.excuses(b.gateway, b.from, until) {
				add("claimant %d had it from %s to %s, and claimant %d from %s on", a.claimant, ms(a.from), ms(ends), b.claimant, ms(b.from))
			}
		}
		if a.to == 0 || a.told {
			if a.told && !(h.lapses && h.touches(a.gateway)) {
				add("claimant %d lost it at %s, though nothing was lost", a.claimant, ms(a.to))
			}
			continue
		}
		for _, at := range c.taken[a.claimant] {
			if at > a.to && at < a.to+surely && !h.excuses(a.gateway, a.to, a.to) {
				add("claimant %d came back with its key %s after its connection's end, and another had it", a.claimant, ms(at-a.to))
			}
		}
	}
	return found
}

// judgeFreed checks that another had the name of who died with its gateway.
func judgeFreed(c claims, died int, at time.Duration) (found []violation) {
	for _, t := range c.tenures {
		if t.claimant != died && t.from >= at && t.from <= at+freeIn {
			return nil
		}
	}
	return []violation{{doubled, fmt.Sprintf("%s: nobody had it within %s of its gateway's death at %s", c.name, freeIn, ms(at))}}
}

// judgeBearer holds what a bearer saw against the revocation, which was answered at
// revoked; 0: never.
func judgeBearer(b *bearer, revoked time.Duration, h harm, end time.Duration) (found []violation) {
	add := func(format string, args ...any) {
		found = append(found, violation{unrevoked, fmt.Sprintf("%s: revoked %s the fault at %s: ", b.gateway.name, b.kind, ms(revoked)) + fmt.Sprintf(format, args...)})
	}
	if revoked == 0 {
		add("no gateway took it")
		return found
	}
	due := revoked + revokedIn
	if h.touches(b.gateway.addr) && due > h.from && revoked < h.to {
		due = max(due, h.to+caughtUpIn)
	}
	if h.forgets && revoked < h.to {
		return found
	}
	back, restarted := h.back[b.gateway.addr]
	for _, v := range b.visits {
		switch {
		case v.from > due:
			add("let in at %s", ms(v.from))
		case restarted && v.from >= back && back > revoked:
			add("let in at %s by a gateway that was started since", ms(v.from))
		case v.to == 0 && end > due:
			add("who came at %s is still there", ms(v.from))
		case v.to > due:
			add("who came at %s was there until %s", ms(v.from), ms(v.to))
		case v.to > revoked && v.code != protocol.CloseToken && !(h.touches(b.gateway.addr) && v.to >= h.from && v.to <= h.to):
			add("closed at %s with %d", ms(v.to), v.code)
		}
	}
	if n := len(b.refused); n == 0 || !b.denied {
		add("not refused with 401 at the end, and %d times in all", n)
	}
	return found
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
