package brokertest

import (
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// release is ReleaseName that must succeed.
func (c *crowd) release(name, connection string, grace time.Duration) {
	c.t.Helper()
	if err := c.ReleaseName(c.t.Context(), c.hold(name, "", connection), grace); err != nil {
		c.t.Fatalf("release: %v", err)
	}
}

func oneHolder(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	for range 2 {
		if !c.claim("ada", "key 1", "c1") {
			t.Fatal("a free name is not given, or not again")
		}
	}
	if c.claim("ada", "key 2", "c2") || c.claim("ada", "", "c2") {
		t.Error("a name that is held was given to another")
	}
	if !c.claim("Ada", "key 2", "c2") || !c.claim("名前", "", "c3") {
		t.Error("another name is not given")
	}
	c.release("ada", "c2", 0) // not its holder
	if c.claim("ada", "key 2", "c2") {
		t.Error("one who did not hold it gave it back")
	}
	c.release("ada", "c1", 0)
	if !c.claim("ada", "key 2", "c2") {
		t.Error("a name that was given back is not free")
	}
	if !c.claim("none", "", "c1") || c.claim("none", "", "c2") {
		t.Error("a name without a key was taken over")
	}
}

func keyTakesOver(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	if !c.claim("ada", "key", "c1") || !c.claim("ada", "key", "c2") {
		t.Fatal("the key does not take it over")
	}
	c.release("ada", "c1", 0) // the one before it ends late
	if c.claim("ada", "other", "c3") {
		t.Error("one who had lost it gave it back")
	}
}

func nameGrace(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	for _, name := range []string{"ada", "bob", "cleo"} {
		if !c.claim(name, "key", "c1") {
			t.Fatal("a free name is not given")
		}
		c.release(name, "c1", s.unit)
	}
	if c.claim("ada", "other", "c2") {
		t.Error("another has it within the grace")
	}
	if !c.claim("bob", "key", "c2") {
		t.Error("who knows the key does not have it within the grace")
	}
	c.pass(s.unit + s.unit/4)
	if !c.claim("ada", "other", "c2") {
		t.Error("it is not free after the grace")
	}
	if c.claim("bob", "other", "c3") {
		t.Error("the grace ended a hold that was taken over in it")
	}
	if !c.claim("cleo", "", "c4") {
		t.Error("it is not free after the grace, for one without a key")
	}
}

// revocation of a token, or of a user's up to now, that runs out after d.
func (c *crowd) revocation(token, user string, d time.Duration) broker.Revocation {
	now := time.Now()
	if c.clock != nil {
		now = c.clock.Now()
	}
	now = now.Truncate(time.Millisecond)
	r := broker.Revocation{TokenID: token, User: user, Until: now.Add(d)}
	if user != "" {
		r.Before = now
	}
	return r
}

// revoked is Revocations that must succeed, by token and user.
func (c *crowd) revoked() map[string]broker.Revocation {
	c.t.Helper()
	list, err := c.Revocations(c.t.Context())
	if err != nil {
		c.t.Fatalf("revocations: %v", err)
	}
	all := make(map[string]broker.Revocation)
	for _, r := range list {
		all[r.TokenID+"/"+r.User] = r
	}
	if len(all) != len(list) {
		c.t.Errorf("one stands twice in %+v", list)
	}
	return all
}

func (c *crowd) revoke(r broker.Revocation) {
	c.t.Helper()
	if err := c.Revoke(c.t.Context(), r); err != nil {
		c.t.Fatalf("revoke: %v", err)
	}
}

func revocationsRunOut(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	if got := c.revoked(); len(got) != 0 {
		t.Errorf("at first %+v", got)
	}
	short, long, user := c.revocation("short", "", s.unit), c.revocation("long", "", 100*s.unit), c.revocation("", "Zoë", 100*s.unit)
	for _, r := range []broker.Revocation{short, long, user} {
		c.revoke(r)
	}
	got := c.revoked()
	if len(got) != 3 || !got["long/"].Until.Equal(long.Until) || !got["/Zoë"].Before.Equal(user.Before) {
		t.Errorf("kept %+v", got)
	}
	c.pass(s.unit + s.unit/4)
	if got := c.revoked(); len(got) != 2 || got["short/"].TokenID != "" {
		t.Errorf("afterwards %+v", got)
	}
}

func revocationsGrow(t *testing.T, s setting) {
	c := s.crowd(t, Options{})
	early, late := c.revocation("", "ada", s.unit), c.revocation("", "ada", 100*s.unit)
	early.Before, late.Before = late.Before.Add(-time.Hour), late.Before.Add(-time.Minute)
	for _, r := range []broker.Revocation{early, late, early} {
		c.revoke(r)
	}
	if got := c.revoked()["/ada"]; !got.Before.Equal(late.Before) || !got.Until.Equal(late.Until) {
		t.Errorf("%+v, want %+v", got, late)
	}
}
