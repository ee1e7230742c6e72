package auth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fanfare-ws/fanfare/internal/pattern"
)

// Identity is who a verified token says somebody is. It is never modified.
type Identity struct {
	User    string    // sub, in NFC
	TokenID string    // jti; empty: none
	Issued  time.Time // iat; zero: not said
	Expires time.Time // exp; zero: never, only where Config.AllowNoExpiry is set
	Grants  Grants    // nil: the token has no rooms claim
}

// Verb is what may be done in a room.
type Verb uint8

const (
	Join Verb = iota
	Publish
	History
	Members
	verbs
)

var verbNames = [verbs]string{"join", "publish", "history", "members"}

// String is the verb's word in a token.
func (v Verb) String() string { return verbNames[v] }

// ParseVerb is the inverse of a Verb's String.
func ParseVerb(name string) (Verb, error) {
	i := slices.Index(verbNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q: want one of %s", name, strings.Join(verbNames[:], ", "))
	}
	return Verb(i), nil
}

// Verbs is a set of them.
type Verbs uint8

// VerbsOf makes a set.
func VerbsOf(vs ...Verb) Verbs {
	var set Verbs
	for _, v := range vs {
		set |= 1 << v
	}
	return set
}

// Has tells whether v is in the set.
func (s Verbs) Has(v Verb) bool { return s&(1<<v) != 0 }

// Names are the verbs' words, in the order of the constants.
func (s Verbs) Names() []string {
	names := []string{}
	for v, name := range verbNames {
		if s.Has(Verb(v)) {
			names = append(names, name)
		}
	}
	return names
}

// Grant is what a token allows in the rooms whose names match.
type Grant struct {
	Pattern string // literal but for *, held against the whole name
	Verbs   Verbs  // may be empty: the rooms are named to allow nothing in them
}

// Grants is a token's rooms claim, the longest pattern first. Of two that are
// equally long the greater in byte order goes first, which is the one that is
// literal for longer, as * is below every character of a room's name.
type Grants []Grant

// Of returns what the longest pattern that matches allows, and whether any does.
func (g Grants) Of(room string) (v Verbs, ok bool) {
	for i := range g {
		if pattern.Match(g[i].Pattern, room) {
			return g[i].Verbs, true
		}
	}
	return 0, false
}

var errRoomsClaim = errors.New("rooms: want an object of patterns, each with a list of verbs")

// ParseGrants reads a rooms claim, {"PATTERN": ["join", ...], ...}. Verbs that
// are not known are left out: a token may be made for a newer gateway too. A
// pattern that stands twice is refused.
func ParseGrants(claim []byte) (Grants, error) {
	var rooms map[string][]string
	if err := json.Unmarshal(claim, &rooms); err != nil || rooms == nil {
		return nil, errRoomsClaim // the decoder's words would quote the token
	}
	grants := make(Grants, 0, len(rooms))
	for p, names := range rooms {
		if names == nil {
			return nil, errRoomsClaim // null is no list
		}
		grants = append(grants, Grant{Pattern: p, Verbs: parseVerbs(names)})
	}
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(len(b.Pattern)-len(a.Pattern), cmp.Compare(b.Pattern, a.Pattern))
	})
	return grants, nil
}

func parseVerbs(names []string) Verbs {
	var set Verbs
	for _, name := range names {
		if v, err := ParseVerb(name); err == nil {
			set |= VerbsOf(v)
		}
	}
	return set
}
