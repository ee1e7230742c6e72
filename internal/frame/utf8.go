package frame

import "unicode/utf8"

// checksText reports whether this message's payload is judged as it arrives: a
// text message that is not compressed.
func (r *Reader) checksText() bool {
	return r.flags&(flagBinary|flagDeflate) == 0
}

// checkText judges the next part of a text message, so that what can no longer
// become valid UTF-8 fails now (RFC 6455 section 8.1). A rune may be split over
// parts: the begun one's bytes, at most three, are the last ones stored.
func (r *Reader) checkText(part []byte, last bool) bool {
	if r.partial > 0 && len(part) > 0 {
		var split [2 * utf8.UTFMax]byte
		begun := r.held.message[len(r.held.message)-int(r.partial):]
		joined := append(split[:0], begun...)
		joined = append(joined, part[:min(len(part), utf8.UTFMax-len(begun))]...)
		if !utf8.FullRune(joined) {
			r.partial = uint8(len(joined))
			return !last
		}
		code, size := utf8.DecodeRune(joined)
		if code == utf8.RuneError && size == 1 {
			return false
		}
		part = part[size-len(begun):]
		r.partial = 0
	}
	whole := wholeRunes(part)
	if !utf8.Valid(part[:whole]) {
		return false
	}
	r.partial += uint8(len(part) - whole)
	return !last || r.partial == 0
}

// wholeRunes returns the length of b without an unfinished rune at its end. Bytes
// that no continuation makes valid count as whole, so that they are judged.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-(utf8.UTFMax-1); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
