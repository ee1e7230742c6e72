package faulttest

import (
	"context"
	"slices"
	"time"
)

func (w *world) allReady() bool {
	return !slices.ContainsFunc(w.gateways, func(g *gateway) bool { return g.ready() != isReady })
}

// settlePeople waits until the lists are the truth and every name has its holder, and
// then has a token revoked, by the first gateway that takes it: then nobody is there
// by any that was. It runs beside the rest of settle.
func (w *world) settlePeople(ctx context.Context, first int) (wrong []violation) {
	if !w.fault.spoils {
		wrong = append(wrong, w.agreed("the fault", w.agree(ctx, w.faultEnd, w.gateways))...)
		if err := until(freeIn, "every name has its holder", func() bool { return w.people.nameless() == "" }); err != nil {
			wrong = append(wrong, violation{doubled, w.people.nameless() + " at the end"})
		}
	}
	_ = until(honestIn, "all gateways are ready", w.allReady)
	w.people.revoke(ctx, afterFault, first)
	_ = until(revokedIn+time.Second, "nobody is there by what was revoked", func() bool {
		return w.people.out(beforeFault) && w.people.out(duringFault) && w.people.out(afterFault)
	})
	if w.fault.spoils {
		return wrong
	}
	wrong = append(wrong, w.agreed("the end", w.agree(ctx, w.fleet.clock(), w.gateways))...)
	for i, g := range w.gateways {
		what, room := "", roomName(i*rooms/len(w.gateways))
		if err := until(agreedIn, "", func() bool { what = w.ghostBySocket(ctx, g, room); return what == "" }); err != nil {
			wrong = append(wrong, violation{ghost, what})
		}
	}
	return wrong
}

// spare says that only these gateways are harmed, and whether their leases may run
// out while they live.
func (w *world) spare(lapses bool, harmed ...*gateway) {
	w.harm.lapses, w.harm.touched = lapses, make(map[string]bool)
	for _, g := range harmed {
		w.harm.touched[g.addr] = true
	}
}

// judgePeople holds what claimants and bearers saw against what was promised.
func (w *world) judgePeople(r *result) (found []violation) {
	all := make(map[string]claims)
	for _, c := range w.people.claimants {
		x := all[c.name]
		if x.taken == nil {
			x = claims{name: c.name, taken: make(map[int][]time.Duration)}
		}
		x.tenures, x.taken[c.id] = append(x.tenures, c.tenures...), c.taken
		all[c.name] = x
		r.tenures += len(c.tenures)
	}
	for _, x := range all {
		if w.fault.spoils {
			break
		}
		found = append(found, judgeNames(x, w.harm, w.end)...)
	}
	for _, c := range w.dead {
		found = append(found, judgeFreed(all[c.name], c.id, w.diedAt)...)
	}
	for _, b := range w.people.bearers {
		found = append(found, judgeBearer(b, w.people.revoked[b.kind], w.harm, w.end)...)
	}
	return found
}
