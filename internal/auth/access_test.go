package auth

import (
	"fmt"
	"testing"
)

// The whole table: who asks, against what the class says, for each verb.
func TestPermissions(t *testing.T) {
	user := func(claim string) Caller {
		id := &Identity{User: "ada"}
		if claim != "" {
			id.Grants = grants(t, claim)
		}
		return Caller{Identity: id}
	}
	member := func(c Caller) Caller { c.Member = true; return c }
	key := func(a Allow) Caller { return Caller{Key: &Key{Name: "k", Allow: a}} }
	// A row has the verbs that are allowed, by their first letters, for a class
	// that says the same of all four.
	for _, tt := range []struct {
		name                          string
		caller                        Caller
		anyone, member, claim, server string
	}{
		{"no token", Caller{}, "jphm", "", "", ""},
		{"no token, a member", member(Caller{}), "jphm", "jphm", "", ""},
		{"no rooms claim", user(""), "jphm", "", "", ""},
		{"no rooms claim, a member", member(user("")), "jphm", "jphm", "", ""},
		{"an empty rooms claim", user(`{}`), "", "", "", ""},
		{"an empty rooms claim, a member", member(user(`{}`)), "", "", "", ""},
		{"other rooms", user(`{"other":["join","publish","history","members"]}`), "", "", "", ""},
		{"nothing of the room", user(`{"room":[],"*":["join","publish","history","members"]}`), "", "", "", ""},
		{"join", user(`{"room":["join"]}`), "jhm", "", "j", ""},
		{"join, a member", member(user(`{"room":["join"]}`)), "jhm", "jhm", "j", ""},
		{"publish", user(`{"*":["publish"]}`), "p", "", "p", ""},
		{"history, a member", member(user(`{"r*":["history"]}`)), "h", "h", "h", ""},
		{"members", user(`{"room":["members"]}`), "m", "", "m", ""},
		{"all", user(`{"room":["join","publish","history","members"]}`), "jphm", "", "jphm", ""},
		{"all, a member", member(user(`{"room":["join","publish","history","members"]}`)), "jphm", "jphm", "jphm", ""},
		{"a key to publish", key(AllowPublish), "p", "p", "p", "p"},
		{"a key to read", key(AllowRead), "jhm", "jhm", "jhm", "jhm"},
		{"a key to administer", key(AllowAdmin), "", "", "", ""},
		{"a key for all", key(AllowPublish | AllowRead | AllowAdmin), "jphm", "jphm", "jphm", "jphm"},
		{"a key beside a token", Caller{Key: &Key{Allow: AllowRead}, Identity: user(`{"*":["publish"]}`).Identity}, "jhm", "jhm", "jhm", "jhm"},
	} {
		for access, want := range map[Access]string{Anyone: tt.anyone, Member: tt.member, Claim: tt.claim, Server: tt.server} {
			got := ""
			for v := range verbs {
				if Allowed(tt.caller, v, "room", Rules{access, access, access, access}) {
					got += v.String()[:1]
				}
			}
			if got != want {
				t.Errorf("%s, a class for %v: %q are allowed, want %q", tt.name, access, got, want)
			}
		}
	}
}

// Each verb is judged by its own rule.
func TestEachVerbHasItsRule(t *testing.T) {
	for v := range verbs {
		rules := []Access{Server, Server, Server, Server}
		rules[v] = Anyone
		for w := range verbs {
			if got := Allowed(Caller{}, w, "room", Rules{rules[0], rules[1], rules[2], rules[3]}); got != (v == w) {
				t.Errorf("only %v is open, %v: %v", v, w, got)
			}
		}
	}
}

func TestDecidingAllocatesNothing(t *testing.T) {
	c := Caller{Identity: &Identity{Grants: grants(t, `{"news:*":["join"],"a*b*c":["publish"],"*":["members"]}`)}}
	if n := testing.AllocsPerRun(100, func() { Allowed(c, Publish, "axxbxxc", Rules{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAccessIsReadAsItIsWritten(t *testing.T) {
	for a := range accesses {
		if got, err := ParseAccess(a.String()); got != a || err != nil {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	for _, s := range []string{"", "Anyone", "everybody"} {
		if a, err := ParseAccess(s); err == nil {
			t.Errorf("%q is %v", s, a)
		}
	}
	if fmt.Sprint(Access(0)) != "anyone" {
		t.Error("the zero Access is not anyone")
	}
}
