package auth

import "crypto/sha256"

// Allow is what an API key is for, a set.
type Allow uint8

const (
	AllowPublish Allow = 1 << iota // publish to any room
	AllowRead                      // history, members and the lists of rooms
	AllowAdmin                     // forget, disconnect, revoke, and see the fleet
)

// Has tells whether all of b are in the set.
func (a Allow) Has(b Allow) bool { return a&b == b }

// Key is a backend's API key. The key itself is not kept, only its digest.
type Key struct {
	Name   string
	Allow  Allow
	digest [sha256.Size]byte
}

// may is what a key decides about a room: reading is joining too.
func (k *Key) may(v Verb) bool {
	if v == Publish {
		return k.Allow.Has(AllowPublish)
	}
	return k.Allow.Has(AllowRead)
}
