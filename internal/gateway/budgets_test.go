package gateway

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// len is how many budgets there are.
func (t *budgets[K]) len() (n int) {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		n += len(s.all)
		s.mu.Unlock()
	}
	return n
}

// wantNoUse sees that nobody is counted for any more.
func wantNoUse[K comparable](t testing.TB, what string, table *budgets[K]) {
	t.Helper()
	for i := range table.stripes {
		for key, b := range table.stripes[i].all {
			if b.connections != 0 || b.rooms.Load() != 0 {
				t.Errorf("%s %v has %d connections and %d rooms", what, key, b.connections, b.rooms.Load())
			}
		}
	}
}

const second = int64(time.Second)

func TestABudgetIsKeptWhileItHasConnectionsOrIsNotAsNew(t *testing.T) {
	table := newBudgets[string]()
	limits := &Usage{Connections: 2, ConnectsPerSecond: 4}
	a, _, _ := table.enter("ada", limits, 0)
	b, _, _ := table.enter("ada", limits, 0)
	if a == nil || a != b {
		t.Fatal("two connections of one user have two budgets")
	}
	if c, over, _ := table.enter("ada", limits, 0); c != nil || over != useConnections {
		t.Errorf("a third of two: %v, over %v", c, over)
	}
	table.leave(a, 0)
	table.leave(b, 0)
	table.sweep(second / 4)
	if table.len() != 1 {
		t.Error("forgotten before its bucket is full again")
	}
	table.sweep(2 * second)
	if table.len() != 0 {
		t.Error("kept when there is nothing to be known of it")
	}
	if c, _, _ := table.enter("ada", limits, 2*second); c == a || c.connections != 1 {
		t.Error("who comes again has the budget that was forgotten")
	}
}

func TestConnectsPerSecondCountWhoIsGoneAndWhoIsRefused(t *testing.T) {
	table := newBudgets[string]()
	limits := &Usage{ConnectsPerSecond: 2}
	for range 4 {
		a, _, _ := table.enter("ada", limits, 0)
		table.leave(a, 0)
	}
	a, over, wait := table.enter("ada", limits, 0)
	if a != nil || over != useConnects || wait != time.Second/2 {
		t.Errorf("a fifth at once: %v, over %v, wait %v", a, over, wait)
	}
	if a, _, _ := table.enter("ben", limits, 0); a == nil {
		t.Error("another is refused")
	}
	if a, _, _ := table.enter("ada", limits, second/2); a == nil {
		t.Error("refused after the wait")
	}
}

func TestRoomsOfABudgetAreCounted(t *testing.T) {
	a := new(budget[string])
	limits := &Usage{Rooms: 2}
	for room, want := range []bool{true, true, false} {
		if got := a.join(limits); got != want {
			t.Errorf("room %d of 2 is joined: %v", room+1, got)
		}
	}
	a.rooms.Add(-1)
	if !a.join(limits) || !a.join(&Usage{}) || a.rooms.Load() != 3 {
		t.Errorf("%d rooms", a.rooms.Load())
	}
}

// A bucket that all loops take from gives what one of one loop would.
func TestASharedBucketGivesNoMoreToMany(t *testing.T) {
	var b sharedBucket
	var given [4]int
	var done sync.WaitGroup
	for i := range given {
		done.Go(func() {
			for range 1000 {
				if b.take(0, 1, doubled(500)) == 0 {
					given[i]++
				}
			}
		})
	}
	done.Wait()
	if sum := given[0] + given[1] + given[2] + given[3]; sum != 1000 {
		t.Errorf("%v given of a burst of 1000", given)
	}
}

func hostile(i uint64) netip.Addr {
	b := [16]byte{0: 0x20, 1: 0x01}
	binary.BigEndian.PutUint64(b[2:], i) // another /64 each
	return netip.AddrFrom16(b)
}

// Hostile addresses without end cost no more than so much memory, and do not push
// out who is connected.
func TestAFloodOfAddressesIsBounded(t *testing.T) {
	table := newBudgets[netip.Addr]()
	limits := &Usage{Connections: 10, ConnectsPerSecond: 1}
	honest, _, _ := table.enter(netip.MustParseAddr("192.0.2.1"), limits, 0)
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	for i := range uint64(400_000) {
		a, _, _ := table.enter(hostile(i), limits, 0)
		if a == nil {
			t.Fatal("a new address is refused")
		}
		table.leave(a, 0)
	}
	if most := budgetStripes*idleBudgets + 1; table.len() > most {
		t.Errorf("%d budgets, %d at most", table.len(), most)
	}
	// Measured: 17 MB, after a million and after four.
	if grown := int64(memory()) - int64(before); grown > 24<<20 {
		t.Errorf("%d bytes after the flood", grown)
	}
	if again, _, _ := table.enter(netip.MustParseAddr("192.0.2.1"), limits, 0); again != honest || honest.connections != 2 {
		t.Error("who is connected was forgotten")
	}
	table.sweep(2 * second)
	if table.len() != 1 {
		t.Errorf("%d budgets are left of a flood", table.len())
	}
}

// Whatever comes and goes in whatever order, on several loops: the counts are
// those of who is there, and nothing is left when all have gone.
func TestCountsOfBudgetsReturnToZero(t *testing.T) {
	table := newBudgets[int]()
	limits := &Usage{Connections: 5, ConnectsPerSecond: 100, Rooms: 20}
	var clock sync.Mutex
	now := int64(0)
	tick := func(d int64) int64 {
		clock.Lock()
		defer clock.Unlock()
		now += d
		return now
	}
	var loops sync.WaitGroup
	for seed := range uint64(4) {
		loops.Go(func() {
			random := rand.New(rand.NewPCG(seed, 7))
			type member struct {
				a     *budget[int]
				rooms int
			}
			var there []member
			for range 20_000 {
				at := tick(random.Int64N(second / 1000))
				switch random.IntN(6) {
				case 0, 1:
					if a, _, _ := table.enter(random.IntN(10), limits, at); a != nil {
						there = append(there, member{a: a})
					}
				case 2:
					if random.IntN(50) == 0 {
						there = append(there, member{a: table.attach(random.IntN(10))})
					}
				case 3:
					if len(there) > 0 {
						if m := &there[random.IntN(len(there))]; m.a.join(limits) {
							m.rooms++
						}
					}
				case 4:
					if len(there) > 0 {
						i := random.IntN(len(there))
						there[i].a.rooms.Add(-int64(there[i].rooms))
						table.leave(there[i].a, at)
						there[i] = there[len(there)-1]
						there = there[:len(there)-1]
					}
				case 5:
					table.sweep(at)
				}
			}
			for _, m := range there {
				m.a.rooms.Add(-int64(m.rooms))
				table.leave(m.a, tick(0))
			}
		})
	}
	loops.Wait()
	for i := range table.stripes {
		s := &table.stripes[i]
		if len(s.all) != s.idle.n {
			t.Errorf("%d budgets and %d idle ones when all have left", len(s.all), s.idle.n)
		}
	}
	wantNoUse(t, "number", table)
	table.sweep(tick(10 * second))
	if table.len() != 0 {
		t.Errorf("%d budgets are left", table.len())
	}
}

func BenchmarkEnterOfAHostileAddress(b *testing.B) {
	table := newBudgets[netip.Addr]()
	limits := &Usage{Connections: 10, ConnectsPerSecond: 1}
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		a, _, _ := table.enter(hostile(i), limits, 0)
		table.leave(a, 0)
		i++
	}
}

func BenchmarkTakeOfABudget(b *testing.B) {
	a, limits := new(budget[string]), &Usage{MessagesPerSecond: 1 << 30}
	b.ReportAllocs()
	for b.Loop() {
		a.take(useMessages, monotonic(), 1, limits)
	}
}
