package protocol

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string: what must be escaped is (RFC 8259
// section 7), other characters are kept, and bytes that are not UTF-8 become
// U+FFFD. jsontext.AppendQuote does the same, but copies a string to the heap
// first.
func appendString[B ~[]byte | ~string](dst []byte, s B) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if n := runeLength(s[i:]); n > 0 {
				i += n
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		dst = appendEscaped(dst, c)
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// runeLength returns the length of the rune that s begins with, 0 if s does
// not begin with valid UTF-8.
func runeLength[B ~[]byte | ~string](s B) int {
	r, n := decodeRune(s)
	if r == utf8.RuneError && n == 1 {
		return 0
	}
	return n
}

func decodeRune[B ~[]byte | ~string](s B) (rune, int) {
	var head [utf8.UTFMax]byte
	return utf8.DecodeRune(head[:copy(head[:], s)])
}

func appendEscaped(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\r':
		return append(dst, `\r`...)
	case c == '\t':
		return append(dst, `\t`...)
	case c == '\b':
		return append(dst, `\b`...)
	case c == '\f':
		return append(dst, `\f`...)
	case c < 0x20:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default:
		return append(dst, "\uFFFD"...)
	}
}

// open appends an envelope up to its payload's brace; closing is "}}".
func open[B ~[]byte | ~string](dst []byte, kind string, id B) []byte {
	dst = openBare(dst, kind, id)
	return append(dst, `,"payload":{`...)
}

// openBare appends an envelope up to where its payload member would stand.
func openBare[B ~[]byte | ~string](dst []byte, kind string, id B) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `","version":1`...)
	if len(id) > 0 {
		dst = append(dst, `,"request_id":`...)
		dst = appendString(dst, id)
	}
	return dst
}

// The key of each member comes with its punctuation: `"room":` or `,"seq":`.

func strMember[B ~[]byte | ~string](dst []byte, key string, value B) []byte {
	return appendString(append(dst, key...), value)
}

func uintMember(dst []byte, key string, value uint64) []byte {
	return strconv.AppendUint(append(dst, key...), value, 10)
}

func intMember(dst []byte, key string, value int64) []byte {
	return strconv.AppendInt(append(dst, key...), value, 10)
}

func position(dst []byte, p Position) []byte {
	dst = strMember(dst, `"epoch":`, p.Epoch)
	return uintMember(dst, `,"seq":`, p.Seq)
}
