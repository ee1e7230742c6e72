package gateway

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// The books of a roster are right whatever comes and goes, and whatever fails: in
// the end the broker has been told what is.
func TestARosterTellsWhatIs(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		depth := new(metrics.Gauge)
		r := &roster{depth: depth}
		truth, grace := map[string]int{}, map[string]bool{}
		told := map[string]int{}
		state, warm := "idle", false
		now, steps, cools, warms, asked, answered := int64(0), 0, 0, false, 0, 0
		queue := func(q bool) {
			if q {
				if state != "idle" && !(state == "cooling" && warm) {
					t.Fatalf("seed %d: queued while %s", seed, state)
				}
				state, warm = "ready", false
			}
		}
		step := func() {
			steps++
			user, guest := fmt.Sprint("u", rng.IntN(4)), false
			if rng.IntN(3) == 0 {
				user, guest = fmt.Sprint("g", rng.IntN(4)), true
			}
			switch rng.IntN(4) {
			case 0, 1:
				if guest && truth[user] > 0 {
					return
				}
				truth[user]++
				delete(grace, user)
				queue(r.enter(user, guest))
			case 2:
				if truth[user] == 0 {
					return
				}
				truth[user]--
				queue(r.exit(user, guest))
			case 3:
				if guest || truth[user] == 0 {
					return
				}
				truth[user]--
				last, q := r.close(user)
				if queue(q); last {
					grace[user] = true
				}
			}
		}
		speak := func(fails bool) {
			if state != "ready" {
				return
			}
			users := r.take(1 + rng.IntN(3))
			taken := r.taken
			for fails = fails && rng.IntN(2) == 0; fails; fails = rng.IntN(2) == 0 {
				for _, u := range users {
					if rng.IntN(2) == 0 { // it was done, and the answer lost
						told[u.User] = u.Connections
					}
				}
				step()
				r.refresh(users)
			}
			for _, u := range users {
				told[u.User] = u.Connections
			}
			now += int64(rng.IntN(int(time.Second)))
			done, soon := r.said(now)
			settleAll(done)
			cools++
			warms = warms || soon
			state, warm = "cooling", false
			if r.told != taken {
				t.Fatalf("seed %d: told up to %d of %d", seed, r.told, taken)
			}
		}
		cool := func() {
			if cools == 0 {
				return
			}
			if cools--; cools == 0 && state == "cooling" {
				state = "idle"
			}
			queue(r.cooled())
		}
		warmUp := func() {
			if !warms {
				return
			}
			if warms = false; state == "cooling" {
				warm = true
			}
			queue(r.warmed())
		}
		// Who waits hears of it when all that was there is told.
		settle := func() {
			want := maps.Clone(truth)
			for user := range grace {
				delete(want, user) // who may or may not have been told
			}
			asked++
			called, before := false, steps
			then := func() {
				called = true
				answered++
				for user, n := range want {
					if steps == before && told[user] != n {
						t.Errorf("seed %d: settled while %s has %d connections, told %d", seed, user, n, told[user])
					}
				}
			}
			waits, soon := r.settle(then)
			if warms = warms || soon; !waits {
				then()
			}
			if !called && r.noted == r.told {
				t.Errorf("seed %d: it waits for nothing", seed)
			}
		}
		for range 200 {
			switch rng.IntN(7) {
			case 0:
				speak(true)
			case 6:
				r.rest(now)
			case 1:
				cool()
			case 4:
				warmUp()
			case 5:
				settle()
			case 2:
				for user := range grace {
					steps++
					delete(grace, user)
					queue(r.over(user))
				}
			default:
				step()
			}
		}
		for user := range grace {
			queue(r.over(user))
		}
		for range 300 {
			speak(false)
			cool()
			warmUp()
		}
		if asked != answered || r.books != nil && r.waiting != nil {
			t.Errorf("seed %d: %d waited and %d were called", seed, asked, answered)
		}
		for user, n := range truth {
			if told[user] != n {
				t.Errorf("seed %d: %s has %d connections, told %d", seed, user, n, told[user])
			}
		}
		named := 0
		for user, n := range truth {
			if user[0] == 'u' && n > 0 {
				named++
			}
		}
		if depth.Value() != 0 || r.lacking() != 0 || r.idle() != (named == 0) {
			t.Errorf("seed %d: depth %d, delta %d, %d named", seed, depth.Value(), r.lacking(), named)
		}
		r.rest(now + int64(time.Minute))
		if r.books == nil != (named == 0) || named > 0 && len(r.users) != named {
			t.Errorf("seed %d: the books of %d named users are %+v", seed, named, r.books)
		}
	}
}

func TestWhatLagsComesInItsOrder(t *testing.T) {
	l := lag[int]{after: time.Second}
	now := time.Unix(1_800_000_000, 0)
	for i := range 10 {
		if first := l.put(i, now.Add(time.Duration(i)*time.Millisecond)); first != (i == 0) {
			t.Errorf("%d is the first: %v", i, first)
		}
	}
	if got := l.take(now.Add(time.Second - 1)); len(got) != 0 {
		t.Errorf("%v came early", got)
	}
	if at, ok := l.next(); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("next %v %v", at, ok)
	}
	if got := l.take(now.Add(time.Second + 4*time.Millisecond)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) || l.len() != 5 {
		t.Errorf("%v, %d left", got, l.len())
	}
	l.take(now.Add(time.Minute))
	if _, ok := l.next(); ok || !l.put(1, now) {
		t.Error("it is not empty")
	}
}
