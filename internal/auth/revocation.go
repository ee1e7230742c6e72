package auth

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Revocation ends identities before they run out: those of one token, or those
// of one user whose tokens were issued at or before a time.
type Revocation struct {
	TokenID string    // jti; or
	User    string    // in NFC
	Before  time.Time // with User: tokens issued then or sooner, or that do not say when
	Until   time.Time // when it may be forgotten, as every token it is about has run out; zero: never
}

// MaxRevocations bounds a table. Each takes some 200 bytes.
const MaxRevocations = 100_000

// ErrRevocationsFull is returned where a table has no room: forgetting another
// would let a revoked token in again.
var ErrRevocationsFull = errors.New("the table of revocations is full")

// Revocations is a bounded table of them. The zero value is an empty one. It is
// safe for concurrent use.
type Revocations struct {
	size atomic.Int64 // of both maps; most tables are empty, and asked for every token

	mu     sync.RWMutex
	tokens map[string]Revocation
	users  map[string]Revocation
}

// Add takes a revocation. One of the same token or user is widened: the later
// times of both count. It reports whether the table says more than before.
func (rs *Revocations) Add(r Revocation) (news bool, err error) { return rs.add(r, time.Now()) }

func (rs *Revocations) add(r Revocation, now time.Time) (news bool, err error) {
	if (r.TokenID == "") == (r.User == "") {
		return false, errors.New("a revocation is of a token or of a user")
	}
	if r.ended(now) {
		return false, nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.tokens == nil {
		rs.tokens, rs.users = make(map[string]Revocation), make(map[string]Revocation)
	}
	table, name := rs.tokens, r.TokenID
	if r.User != "" {
		table, name = rs.users, r.User
	}
	if before, ok := table[name]; ok {
		if r = widened(before, r); r.equal(&before) {
			return false, nil
		}
	} else if len(rs.tokens)+len(rs.users) >= MaxRevocations {
		rs.sweep(now)
		if len(rs.tokens)+len(rs.users) >= MaxRevocations {
			return false, ErrRevocationsFull
		}
	}
	table[name] = r
	rs.size.Store(int64(len(rs.tokens) + len(rs.users)))
	return true, nil
}

// equal compares two of the same token or user.
func (r *Revocation) equal(other *Revocation) bool {
	return r.Before.Equal(other.Before) && r.Until.Equal(other.Until)
}

func (r *Revocation) ended(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

func widened(a, b Revocation) Revocation {
	if b.Before.After(a.Before) {
		a.Before = b.Before
	}
	if b.Until.IsZero() || !a.Until.IsZero() && b.Until.After(a.Until) {
		a.Until = b.Until
	}
	return a
}

// sweep forgets what has ended; mu is held.
func (rs *Revocations) sweep(now time.Time) {
	for _, table := range []map[string]Revocation{rs.tokens, rs.users} {
		for name, r := range table {
			if r.ended(now) {
				delete(table, name)
			}
		}
	}
	rs.size.Store(int64(len(rs.tokens) + len(rs.users)))
}

// Len is how many there are, some of which may have ended.
func (rs *Revocations) Len() int { return int(rs.size.Load()) }

// Revoked tells whether an identity is. One that is nil is not.
func (rs *Revocations) Revoked(id *Identity) bool { return rs.revoked(id, time.Now()) }

func (rs *Revocations) revoked(id *Identity, now time.Time) bool {
	if id == nil || rs.size.Load() == 0 {
		return false
	}
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	if r, ok := rs.tokens[id.TokenID]; ok && id.TokenID != "" && !r.ended(now) {
		return true
	}
	r, ok := rs.users[id.User]
	return ok && !r.ended(now) && !id.Issued.After(r.Before)
}

// All returns those that have not ended, in no order.
func (rs *Revocations) All() []Revocation { return rs.all(time.Now()) }

func (rs *Revocations) all(now time.Time) []Revocation {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.sweep(now)
	all := make([]Revocation, 0, len(rs.tokens)+len(rs.users))
	for _, table := range []map[string]Revocation{rs.tokens, rs.users} {
		for _, r := range table {
			all = append(all, r)
		}
	}
	return slices.Clip(all)
}
