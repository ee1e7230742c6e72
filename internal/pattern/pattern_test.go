package pattern

import (
	"regexp"
	"strings"
	"testing"
)

// Against every pattern of up to 5 and every name of up to 6 letters.
func TestPatternsMatchTheWholeName(t *testing.T) {
	for _, pattern := range words("ab*", 5) {
		slow := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		for _, name := range words("ab", 6) {
			if got, want := Match(pattern, name), slow.MatchString(name); got != want {
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
