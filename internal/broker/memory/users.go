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
// empty. Most rooms have a single user: 32 bytes.
type users struct {
	one  user // the only one; without a name where that is not so
	more *several
}

// several are at least two.
type several struct {
	few  []user
	many map[string]int32 // instead, once they are more
}

type user struct {
	name        string
	connections int32
}

func (u *users) count() int {
	switch {
	case u == nil:
		return 0
	case u.more != nil:
		return len(u.more.few) + len(u.more.many)
	case u.one.name != "":
		return 1
	}
	return 0
}

func (s *several) place(name string) int {
	return slices.IndexFunc(s.few, func(one user) bool { return one.name == name })
}

func (u *users) connections(name string) int32 {
	switch {
	case u == nil:
		return 0
	case u.more == nil && u.one.name == name:
		return u.one.connections
	case u.more == nil:
		return 0
	}
	if i := u.more.place(name); i >= 0 {
		return u.more.few[i].connections
	}
	return u.more.many[name]
}

// set says how many connections a user has; 0 is none. It reports whether the user
// was there before.
func (u *users) set(name string, connections int32) (there bool) {
	if s := u.more; s != nil {
		there = s.set(name, connections)
		if len(s.few) == 1 && s.many == nil {
			*u = users{one: s.few[0]}
		}
		return there
	}
	there = u.one.name == name
	switch {
	case connections == 0 && there:
		u.one = user{}
	case connections == 0:
	case there || u.one.name == "":
		u.one = user{name, connections}
	default:
		*u = users{more: &several{few: []user{u.one, {name, connections}}}}
	}
	return there
}

func (s *several) set(name string, connections int32) (there bool) {
	if s.many != nil {
		_, there = s.many[name]
		if connections > 0 {
			s.many[name] = connections
		} else {
			delete(s.many, name)
		}
		if len(s.many) == 1 {
			for name, connections := range s.many {
				s.few, s.many = []user{{name, connections}}, nil
			}
		}
		return there
	}
	i := s.place(name)
	switch {
	case i < 0 && connections == 0:
	case i >= 0 && connections == 0:
		s.few = slices.Delete(s.few, i, i+1)
	case i >= 0:
		s.few[i].connections = connections
	case len(s.few) < fewUsers:
		s.few = append(s.few, user{name, connections})
	default:
		s.many = make(map[string]int32, fewUsers+1)
		for _, one := range s.few {
			s.many[one.name] = one.connections
		}
		s.many[name], s.few = connections, nil
	}
	return i >= 0
}

// all is everyone's name.
func (u *users) all() iter.Seq[string] {
	switch {
	case u.count() == 0:
		return func(func(string) bool) {}
	case u.more == nil:
		return func(yield func(string) bool) { yield(u.one.name) }
	case u.more.many != nil:
		return maps.Keys(u.more.many)
	}
	return func(yield func(string) bool) {
		for _, one := range u.more.few {
			if !yield(one.name) {
				return
			}
		}
	}
}
