package memory

import (
	"iter"
	"maps"
	"slices"
)

// fewUsers is how many users of a room lie in a slice. Most rooms have no more, and
// there are very many: the smallest map takes 250 bytes more.
const fewUsers = 8

// users is who is in a room, with their connections, none of them 0. A nil one is
// empty.
type users struct {
	few  []user
	many map[string]int32 // instead, once they are more
}

type user struct {
	name        string
	connections int32
}

func (u *users) count() int {
	if u == nil {
		return 0
	}
	return len(u.few) + len(u.many)
}

func (u *users) place(name string) int {
	return slices.IndexFunc(u.few, func(one user) bool { return one.name == name })
}

func (u *users) connections(name string) int32 {
	if u == nil {
		return 0
	}
	if i := u.place(name); i >= 0 {
		return u.few[i].connections
	}
	return u.many[name]
}

// set says how many connections a user has; 0 is none. It reports whether the user
// was there before.
func (u *users) set(name string, connections int32) (there bool) {
	if u.many != nil {
		_, there = u.many[name]
		if connections > 0 {
			u.many[name] = connections
		} else if delete(u.many, name); len(u.many) == 0 {
			u.many = nil
		}
		return there
	}
	i := u.place(name)
	switch {
	case i < 0 && connections == 0:
	case i >= 0 && connections == 0:
		u.few = slices.Delete(u.few, i, i+1)
	case i >= 0:
		u.few[i].connections = connections
	case len(u.few) < fewUsers:
		u.few = append(u.few, user{name, connections})
	default:
		u.many = make(map[string]int32, fewUsers+1)
		for _, one := range u.few {
			u.many[one.name] = one.connections
		}
		u.many[name], u.few = connections, nil
	}
	return i >= 0
}

// all is everyone's name.
func (u *users) all() iter.Seq[string] {
	switch {
	case u == nil:
		return func(func(string) bool) {}
	case u.many != nil:
		return maps.Keys(u.many)
	}
	return func(yield func(string) bool) {
		for _, one := range u.few {
			if !yield(one.name) {
				return
			}
		}
	}
}
