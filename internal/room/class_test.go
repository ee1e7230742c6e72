package room

import "testing"

func TestTheFirstClassThatMatchesWins(t *testing.T) {
	classes := Classes{{Match: "news:*"}, {Match: "*:live"}, {Match: "a*b*c"}, {Match: "lobby"}, {Match: "*"}}
	for room, want := range map[string]string{
		"news:": "news:*", "news:live": "news:*", "x:live": "*:live", "live": "*",
		"abc": "a*b*c", "a-b-b-c": "a*b*c", "acb": "*", "abcd": "*", "ab": "*",
		"lobby": "lobby", "lobby2": "*", "my-lobby": "*",
	} {
		if got := classes.Of(room).Match; got != want {
			t.Errorf("%s is of class %s, want %s", room, got, want)
		}
	}
	if c := (Classes{{Match: "aa*aa"}}).Of("aaa"); c != nil {
		t.Error("two pieces matched the same characters")
	}
	if c := (Classes{{Match: "a"}}).Of("b"); c != nil {
		t.Error("no class matches b")
	}
}
