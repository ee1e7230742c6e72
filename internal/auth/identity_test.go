package auth

import (
	"encoding/json"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func grants(t *testing.T, claim string) Grants {
	t.Helper()
	g, err := ParseGrants([]byte(claim))
	if err != nil {
		t.Fatalf("%s: %v", claim, err)
	}
	return g
}

func TestTheLongestPatternDecides(t *testing.T) {
	g := grants(t, `{"*":[], "news:*":["join"], "news:live":["publish"], "*:live":["members"], "a*c":["join"], "ab*":["history"], "abc":["publish"]}`)
	for room, want := range map[string][]string{
		"lobby": {}, "news:x": {"join"}, "news:live": {"publish"}, "x:live": {"members"}, "my-news:x": {},
		// Of equal length: literal for longer.
		"abc": {"publish"}, "abbc": {"history"}, "axc": {"join"},
	} {
		if v, ok := g.Of(room); !ok || !slices.Equal(v.Names(), want) {
			t.Errorf("%s: %v %v, want %v", room, v.Names(), ok, want)
		}
	}
	if v, ok := grants(t, `{"lobby":["join"]}`).Of("lobby2"); ok || v != 0 {
		t.Errorf("no pattern matches lobby2, got %v", v.Names())
	}
}

func TestAPatternIsLiteralButForStars(t *testing.T) {
	g := grants(t, `{"a.b":["join"], "[a-z]+":["join"], "?":["join"], "%":["join"], "(a|b)":["join"]}`)
	for _, room := range []string{"axb", "abc", "a", "b", ""} {
		if _, ok := g.Of(room); ok {
			t.Errorf("%q matches", room)
		}
	}
}

func TestUnknownVerbsAreLeftOut(t *testing.T) {
	v, ok := grants(t, `{"a":["fly","join","JOIN","join",""]}`).Of("a")
	if !ok || v != VerbsOf(Join) {
		t.Errorf("got %v %v", v.Names(), ok)
	}
}

func TestAnEmptyRoomsClaimIsOne(t *testing.T) {
	if g := grants(t, `{}`); g == nil || len(g) != 0 {
		t.Errorf("got %#v", g)
	}
}

func TestRoomsClaimsOfAnotherShapeAreRefused(t *testing.T) {
	for _, claim := range []string{
		``, `null`, `[]`, `"lobby"`, `7`, `true`, `{"a":"join"}`, `{"a":null}`, `{"a":{"join":true}}`, `{"a":[1]}`, `{"a":[["join"]]}`,
		`{"a":["join"],"a":["publish"]}`, `{"a":["join"],"\u0061":[]}`, `{"a":["join"]`, `{"a":["join"]}x`, "{\"\xff\":[]}",
	} {
		if g, err := ParseGrants([]byte(claim)); err == nil {
			t.Errorf("%s: taken as %v", claim, g)
		} else if strings.Contains(err.Error(), "join") {
			t.Errorf("%s: the error quotes it: %v", claim, err)
		}
	}
}

// FuzzGrants holds what ParseGrants takes against a plain reading of the claim.
func FuzzGrants(f *testing.F) {
	for _, claim := range []string{`{"a*c":["join"],"ab*":["publish","members"]}`, `{"*":["history"]}`, `{"":[]}`, `{"a":null}`, `[]`} {
		f.Add([]byte(claim), "abc")
	}
	f.Fuzz(func(t *testing.T, claim []byte, room string) {
		g, err := ParseGrants(claim)
		if err != nil {
			return
		}
		var plain map[string][]string
		if err := json.Unmarshal(claim, &plain); err != nil || len(plain) != len(g) {
			t.Fatalf("%d grants of %v (%v)", len(g), plain, err)
		}
		longest := -1
		for p, names := range plain {
			quoted := strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `(?s:.*)`)
			if matches(t, `\A`+quoted+`\z`, room) && len(p) > longest {
				longest = len(p)
			}
			for _, name := range names {
				if v := slices.Index(verbNames[:], name); v >= 0 && !g[slices.IndexFunc(g, func(g Grant) bool { return g.Pattern == p })].Verbs.Has(Verb(v)) {
					t.Fatalf("%q lacks %s", p, name)
				}
			}
		}
		v, ok := g.Of(room)
		if ok != (longest >= 0) || !ok && v != 0 || bits.Len8(uint8(v)) > int(verbs) {
			t.Fatalf("%q: %v %v, the longest that matches has %d", room, v, ok, longest)
		}
		if i := slices.IndexFunc(g, func(g Grant) bool { return len(g.Pattern) == longest }); ok && g[:i].covers(room) {
			t.Fatalf("%q: a pattern before those of length %d matches", room, longest)
		}
	})
}

func (g Grants) covers(room string) bool { _, ok := g.Of(room); return ok }

func matches(t *testing.T, expression, name string) bool {
	t.Helper()
	e, err := regexp.Compile(expression)
	if err != nil {
		t.Skip(err) // too long, or not UTF-8: for the plain reading alone
	}
	return e.MatchString(name)
}
