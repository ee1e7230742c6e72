package faulttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// rollMost is more than any room here has users.
const rollMost = 1000

// roll is who is in a room as one member knows it: by the list that it asked for
// when it had joined, and by what it was told since. Where an event's count is not
// what it has, or the event says that it does not name all, it asks again, as
// PROTOCOL.md has clients do.
type roll struct {
	users map[string]bool     // nil: no list yet
	asked bool                // a list is on its way
	early []protocol.Presence // what was told meanwhile
	count int                 // by the newest event; -1: none yet
}

func newRoll() roll { return roll{count: -1} }

// told takes an event in. It reports whether the list has to be asked for.
func (r *roll) told(p protocol.Presence) (ask bool) {
	if r.count = p.Count; r.asked {
		r.early = append(r.early, p)
		return false
	}
	return r.apply(p)
}

// apply reports whether what is known now cannot be all.
func (r *roll) apply(p protocol.Presence) (wrong bool) {
	for _, user := range p.Joined {
		r.users[user] = true
	}
	for _, user := range p.Left {
		delete(r.users, user)
	}
	return p.Incomplete || len(r.users) != p.Count
}

// listed takes the list in, and what was told since it was asked for.
func (r *roll) listed(m protocol.Members) (ask bool) {
	r.asked, r.users = false, make(map[string]bool)
	for _, u := range m.Users {
		r.users[u.User] = true
	}
	early := r.early
	r.early = nil
	for _, p := range early {
		ask = r.apply(p)
	}
	return ask
}

// differs says how what is known differs from the truth; "": not at all.
func (r *roll) differs(truth map[string]int) string {
	switch {
	case r.users == nil || r.asked:
		return "has no list yet"
	case r.count >= 0 && r.count != len(truth):
		return fmt.Sprintf("was told last that %d are there, not %d", r.count, len(truth))
	}
	known := make(map[string]int, len(r.users))
	for user := range r.users {
		known[user] = truth[user] // it is not told by how many connections
	}
	return difference(known, truth)
}

// difference says how a list of users differs from the truth; "": not at all.
func difference(list, truth map[string]int) string {
	var parts []string
	for _, user := range slices.Sorted(maps.Keys(list)) {
		switch n, there := truth[user]; {
		case !there:
			parts = append(parts, fmt.Sprintf("a ghost %s", user))
		case n != list[user]:
			parts = append(parts, fmt.Sprintf("%s by %d connections, not %d", user, list[user], n))
		}
	}
	for _, user := range slices.Sorted(maps.Keys(truth)) {
		if _, there := list[user]; !there {
			parts = append(parts, fmt.Sprintf("%s is missing", user))
		}
	}
	return strings.Join(parts, ", ")
}
