package auth

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestRevokedIdentities(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	rs := new(Revocations)
	for _, r := range []Revocation{
		{TokenID: "t1", Until: now.Add(time.Hour)},
		{User: "ada", Before: now, Until: now.Add(time.Hour)},
		{User: "eve", Before: now}, // for good
	} {
		if _, err := rs.add(r, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		id   *Identity
		at   time.Duration
		want bool
	}{
		{"nobody", nil, 0, false},
		{"the token", &Identity{User: "bob", TokenID: "t1"}, 0, true},
		{"the token, forgotten", &Identity{User: "bob", TokenID: "t1"}, time.Hour, false},
		{"another token", &Identity{User: "bob", TokenID: "t2"}, 0, false},
		{"a token without an id", &Identity{User: "bob"}, 0, false},
		{"a token named as the user", &Identity{User: "bob", TokenID: "ada"}, 0, false},
		{"the user, issued before", &Identity{User: "ada", Issued: now.Add(-time.Second)}, 0, true},
		{"the user, issued just then", &Identity{User: "ada", Issued: now}, 0, true},
		{"the user, issued after", &Identity{User: "ada", Issued: now.Add(time.Second)}, 0, false},
		{"the user, issued nobody knows when", &Identity{User: "ada"}, 0, true},
		{"the user, forgotten", &Identity{User: "ada"}, time.Hour, false},
		{"the user, for good", &Identity{User: "eve"}, 1e6 * time.Hour, true},
		{"a user named as the token", &Identity{User: "t1"}, 0, false},
	} {
		if got := rs.revoked(tt.id, now.Add(tt.at)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if got := len(rs.all(now)); got != 3 {
		t.Errorf("%d revocations, want 3", got)
	}
	if got := len(rs.all(now.Add(time.Hour))); got != 1 {
		t.Errorf("%d revocations after an hour, want 1", got)
	}
}

func TestARevocationIsWidenedAndNeverNarrowed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	rs := new(Revocations)
	wide := Revocation{User: "ada", Before: now, Until: now.Add(time.Hour)}
	for _, r := range []Revocation{wide, {User: "ada", Before: now.Add(-time.Hour), Until: now.Add(time.Minute)}} {
		if _, err := rs.add(r, now); err != nil {
			t.Fatal(err)
		}
	}
	if all := rs.all(now); len(all) != 1 || all[0] != wide {
		t.Errorf("%+v", all)
	}
	forGood := Revocation{User: "ada", Before: now.Add(time.Minute)}
	if news, err := rs.add(forGood, now); err != nil || !news {
		t.Fatal(news, err)
	}
	for _, r := range []Revocation{wide, forGood} {
		if news, err := rs.add(r, now); err != nil || news {
			t.Fatal(news, err)
		}
	}
	if all := rs.all(now); len(all) != 1 || all[0] != forGood {
		t.Errorf("%+v", all)
	}
}

func TestAFullTableForgetsOnlyWhatHasEnded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	rs := new(Revocations)
	for i := range MaxRevocations {
		if _, err := rs.add(Revocation{TokenID: fmt.Sprint(i), Until: now.Add(time.Hour)}, now); err != nil {
			t.Fatal(err)
		}
	}
	more := Revocation{TokenID: "more", Until: now.Add(2 * time.Hour)}
	if _, err := rs.add(more, now); !errors.Is(err, ErrRevocationsFull) {
		t.Errorf("got %v", err)
	}
	if _, err := rs.add(Revocation{TokenID: "7", Until: now.Add(2 * time.Hour)}, now); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if !rs.revoked(&Identity{TokenID: "0"}, now) {
		t.Error("an old one was forgotten for a new one")
	}
	if _, err := rs.add(more, now.Add(time.Hour)); err != nil {
		t.Errorf("once the old have ended: %v", err)
	}
	if got := len(rs.all(now.Add(time.Hour))); got != 2 {
		t.Errorf("%d remain, want 2", got)
	}
}

func TestARevocationIsOfOneThing(t *testing.T) {
	for _, r := range []Revocation{{}, {TokenID: "a", User: "b"}} {
		if _, err := new(Revocations).Add(r); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
	rs := new(Revocations)
	if _, err := rs.Add(Revocation{TokenID: "a", Until: time.Now().Add(-time.Second)}); err != nil || len(rs.All()) != 0 {
		t.Errorf("one that has ended: %v, %v", err, rs.All())
	}
}

func TestRevocationsAreSafeForConcurrentUse(t *testing.T) {
	rs := new(Revocations)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 100 {
				id := &Identity{User: fmt.Sprint(i, n)}
				if rs.Revoked(id) {
					t.Error("revoked before it was")
				}
				if _, err := rs.Add(Revocation{User: id.User, Before: time.Now()}); err != nil {
					t.Error(err)
				}
				if !rs.Revoked(id) {
					t.Error("not revoked")
				}
				rs.All()
			}
		})
	}
	all.Wait()
	if n := testing.AllocsPerRun(100, func() { rs.Revoked(&Identity{User: "nobody"}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
