package gateway

import (
	"testing"

	"github.com/fanfare-ws/fanfare/internal/room"
)

func TestTheFirstClassThatMatchesWins(t *testing.T) {
	matching := func(patterns ...string) (cs Classes) {
		for _, p := range patterns {
			cs = append(cs, Class{Class: room.Class{Match: p}})
		}
		return cs
	}
	classes := matching("news:*", "*:live", "a*b*c", "lobby", "*")
	for name, want := range map[string]string{
		"news:": "news:*", "news:live": "news:*", "x:live": "*:live", "live": "*",
		"abc": "a*b*c", "a-b-b-c": "a*b*c", "acb": "*", "abcd": "*", "ab": "*",
		"lobby": "lobby", "lobby2": "*", "my-lobby": "*",
	} {
		if got := classes.Of(name).Match; got != want {
			t.Errorf("%s is of class %s, want %s", name, got, want)
		}
	}
	if c := matching("aa*aa").Of("aaa"); c != nil {
		t.Error("two pieces matched the same characters")
	}
	if c := matching("a").Of("b"); c != nil {
		t.Error("no class matches b")
	}
}
