// Package pattern holds names against patterns that are literal but for *,
// which stands for any run of characters, also none. Classes of rooms and the
// rooms of a token are chosen by it. It only computes.
package pattern

import "strings"

// Match holds pattern against the whole of name. Between its stars a pattern is
// literal; taking each piece at its first place is enough, so the time is linear
// in the name for each piece.
func Match(pattern, name string) bool {
	head, rest, starred := strings.Cut(pattern, "*")
	if !strings.HasPrefix(name, head) {
		return false
	}
	if !starred {
		return name == head
	}
	name = name[len(head):]
	for {
		piece, more, starred := strings.Cut(rest, "*")
		if !starred {
			return strings.HasSuffix(name, piece)
		}
		at := strings.Index(name, piece)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(piece):], more
	}
}
