package memory

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func TestUsersAreAsInAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	u, want := new(users), map[string]int32{}
	largest := 0
	for step := range 20_000 {
		// Now many, now few: over the border between the two ways and back.
		name := strconv.Itoa(random.IntN(2 * fewUsers))
		connections := int32(random.IntN(3))
		if step/200%2 == 0 {
			connections = int32(random.IntN(2) * random.IntN(2))
		}
		_, before := want[name]
		if there := u.set(name, connections); there != before {
			t.Fatalf("%s was there: %v, want %v", name, there, before)
		}
		if want[name] = connections; connections == 0 {
			delete(want, name)
		}
		largest = max(largest, len(want))
		if u.count() != len(want) || u.connections(name) != want[name] || !slices.Equal(slices.Sorted(u.all()), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("after %s %d: %v, want %v", name, connections, slices.Sorted(u.all()), want)
		}
	}
	if largest <= fewUsers {
		t.Errorf("never more than %d", largest)
	}
}
