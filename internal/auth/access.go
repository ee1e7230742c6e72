package auth

import (
	"fmt"
	"slices"
)

// Access is who may do something in the rooms of a class.
type Access uint8

const (
	Anyone Access = iota // also without a token
	Member               // who has joined the room on the same connection
	Claim                // whose token lists it for the room
	Server               // backends alone, by their key
	accesses
)

var accessNames = [accesses]string{"anyone", "member", "claim", "server"}

// String is the word of the configuration.
func (a Access) String() string { return accessNames[a] }

// ParseAccess is the inverse of String.
func ParseAccess(s string) (Access, error) {
	i := slices.Index(accessNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("access %q: want one of %q", s, accessNames)
	}
	return Access(i), nil
}

// Rules are who may do what in the rooms of a class. Member makes no sense for
// Join: nobody could.
type Rules struct {
	Join, Publish, History, Members Access
}

func (r Rules) of(v Verb) Access {
	return [verbs]Access{Join: r.Join, Publish: r.Publish, History: r.History, Members: r.Members}[v]
}

// Caller is who asks: a client, or a backend with an API key.
type Caller struct {
	Identity *Identity // nil: no token
	Key      *Key      // not nil: a backend, whatever the rest says
	Member   bool      // has joined the room on this connection
}

// Allowed is the one decision for WebSocket, Server-Sent Events and HTTP.
//
// A backend may what its key is for, in every room. A client with a rooms claim
// needs the claim to list the verb, and besides what the room's class asks for;
// one without is judged by the class alone. Where the class does not ask for a
// claim, join in the claim stands for history and members too: who may join sees
// both anyway, and has to be able to fill its gaps.
func Allowed(c Caller, v Verb, room string, r Rules) bool {
	if c.Key != nil {
		return c.Key.may(v)
	}
	access := r.of(v)
	if access == Server {
		return false
	}
	if c.Identity == nil || c.Identity.Grants == nil {
		return access == Anyone || access == Member && c.Member
	}
	granted, _ := c.Identity.Grants.Of(room)
	reads := (v == History || v == Members) && access != Claim && granted.Has(Join)
	if !granted.Has(v) && !reads {
		return false
	}
	return access != Member || c.Member
}
