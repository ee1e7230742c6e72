package protocol

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
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

// ValidCursor reports whether b may be a page's cursor: 1 to 256 bytes.
func ValidCursor(b []byte) bool { return len(b) >= 1 && len(b) <= MaxCursor }

// ValidUserKey reports whether b is the key of a user's name: 1 to 64
// characters of A-Z a-z 0-9 _ -, so that it may stand in a URL as it is.
func ValidUserKey[B ~[]byte | ~string](b B) bool { return consistsOf(b, inEpoch, MaxUserKey) }

// ValidRequestID reports whether b may be a request_id: 1 to 64 bytes.
func ValidRequestID(b []byte) bool { return len(b) >= 1 && len(b) <= MaxRequestID }

// maxUserBytes bounds what is looked at of a name that is not normalised yet.
// The parts of a letter, written apart, take up to four times its bytes.
const maxUserBytes = MaxUser * utf8.UTFMax * 4

// NormalizeUser returns a user's name as it is compared, which is in NFC, and
// whether it is one: 1 to 64 characters, each a Unicode letter, a decimal digit
// or one of _ - . @. A name of ASCII is returned as it is, without a copy.
func NormalizeUser(name string) (string, bool) {
	if len(name) > maxUserBytes || !utf8.ValidString(name) {
		return "", false
	}
	if !ascii(name) {
		name = norm.NFC.String(name)
	}
	return name, ValidUser(name)
}

// ValidUser reports whether a name is a user's as NormalizeUser makes them.
func ValidUser(name string) bool {
	return userCharacters(name) && (ascii(name) || norm.NFC.IsNormalString(name))
}

// userCharacters reports whether s has the characters of a user's name, and no more
// of them.
func userCharacters[B ~[]byte | ~string](s B) bool {
	characters := 0
	for i := 0; i < len(s); characters++ {
		r, n := decodeRune(s[i:])
		// What is not UTF-8 reads as U+FFFD, which is no letter.
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '.' && r != '@' {
			return false
		}
		if characters == MaxUser {
			return false
		}
		i += n
	}
	return characters > 0
}

// ascii tells whether NFC changes nothing, at no cost.
func ascii[B ~[]byte | ~string](s B) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
