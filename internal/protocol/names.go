package protocol

import (
	"unicode"
	"unicode/utf8"
)

const (
	inEpoch = 1 << iota
	inRoom
)

// charset marks the bytes that may stand in an epoch and in a room's name.
var charset = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
			t[c] = inEpoch | inRoom
		case c == '.', c == ':', c == '@', c == '/':
			t[c] = inRoom
		}
	}
	return t
}()

func consistsOf[B ~[]byte | ~string](s B, set uint8, limit int) bool {
	if len(s) == 0 || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if charset[s[i]]&set == 0 {
			return false
		}
	}
	return true
}

// ValidRoom reports whether b is a room's name: 1 to 128 characters of
// A-Z a-z 0-9 _ - . : @ /.
func ValidRoom[B ~[]byte | ~string](b B) bool { return consistsOf(b, inRoom, MaxRoom) }

// ValidEpoch reports whether b is an epoch: 1 to 64 characters of
// A-Z a-z 0-9 _ -.
func ValidEpoch[B ~[]byte | ~string](b B) bool { return consistsOf(b, inEpoch, MaxEpoch) }

// ValidEvent reports whether b, which is valid UTF-8, is an event's name: 1 to
// 64 characters, none of them a control character.
func ValidEvent(b []byte) bool {
	if len(b) == 0 || len(b) > MaxEvent*utf8.UTFMax || utf8.RuneCount(b) > MaxEvent {
		return false
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if unicode.IsControl(r) {
			return false
		}
		i += n
	}
	return true
}

// ValidPublishID reports whether b may be a publish's id: 1 to 64 bytes.
func ValidPublishID(b []byte) bool { return len(b) >= 1 && len(b) <= MaxPublishID }

// ValidRequestID reports whether b may be a request_id: 1 to 64 bytes.
func ValidRequestID(b []byte) bool { return len(b) >= 1 && len(b) <= MaxRequestID }
