package room

import (
	"regexp"
	"strings"
	"testing"
)

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

// Against every pattern of up to 5 and every name of up to 6 letters.
func TestPatternsMatchTheWholeName(t *testing.T) {
	for _, pattern := range words("ab*", 5) {
		slow := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		for _, name := range words("ab", 6) {
			if got, want := match(pattern, name), slow.MatchString(name); got != want {
				t.Fatalf("%q matches %q: %v, want %v", pattern, name, got, want)
			}
		}
	}
}

// words returns every word of up to n letters.
func words(letters string, n int) []string {
	all := []string{""}
	for last := all; n > 0; n-- {
		var longer []string
		for _, w := range last {
			for _, l := range letters {
				longer = append(longer, w+string(l))
			}
		}
		all = append(all, longer...)
		last = longer
	}
	return all
}
