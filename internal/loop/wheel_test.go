package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestWheelGivesEachWhenItIsDueAndNotBefore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var conns []*Conn
	w := wheel{conns: &conns}
	waiting := map[*Conn]bool{}
	var now int64
	popped := 0
	for range 20000 {
		for range random.IntN(4) {
			c := &Conn{due: now + random.Int64N(int64(150*time.Second)), lastSeen: now, slot: uint32(len(conns))}
			conns = append(conns, c)
			w.add(c)
			waiting[c] = true
		}
		if random.IntN(3) == 0 {
			for c := range waiting {
				w.remove(c)
				w.remove(c) // a second time does nothing
				delete(waiting, c)
				break
			}
		}
		// The wait never passes over what is due.
		now = min(now+random.Int64N(int64(2*time.Second)), max(now, w.next()*wheelTick))
		for c := w.pop(now); c != nil; c = w.pop(now) {
			if c.due > now {
				if c.due-c.lastSeen < (wheelSlots-3)*wheelTick {
					t.Fatalf("came %v early", time.Duration(c.due-now))
				}
				c.lastSeen = now
				w.add(c) // it was beyond the horizon: looked at on the way
				continue
			}
			popped++
			delete(waiting, c)
		}
		for c := range waiting {
			if c.due <= now-wheelTick {
				t.Fatalf("is %v late", time.Duration(now-c.due))
			}
		}
	}
	if popped < 1000 {
		t.Errorf("only %d came", popped)
	}
	for c := range waiting {
		w.remove(c)
	}
	if w.next() != w.at+1+wheelSlots || slices.ContainsFunc(w.heads[:], func(link uint32) bool { return link != 0 }) {
		t.Error("an empty wheel has something due")
	}
}
