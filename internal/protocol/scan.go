package protocol

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// tooDeep reports whether msg nests deeper than limit. Of a message that is
// not JSON it may say anything: that message is bad_json either way.
func tooDeep(msg []byte, limit int) bool {
	// Nearly every message is settled by counting, which is some bytes per cycle.
	if bytes.Count(msg, []byte{'{'})+bytes.Count(msg, []byte{'['}) <= limit {
		return false
	}
	depth := 0
	for i := 0; i < len(msg); i++ {
		switch msg[i] {
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(msg) && msg[i] != '"'; i++ {
				if msg[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// members walks the members of an object that is known to be valid JSON and
// begins at its brace.
type members struct {
	object []byte
	next   int // 0: before the first member
}

// member returns the next member: its name with the quotes, and its value.
func (m *members) member() (name, value []byte, ok bool) {
	b := m.object
	i := skipSpace(b, m.next+1) // behind the brace or the comma
	if b[i] == '}' {
		return nil, nil, false
	}
	end := stringEnd(b, i)
	name = b[i:end]
	i = skipSpace(b, end)
	i = skipSpace(b, i+1) // the colon
	end = valueEnd(b, i)
	value = b[i:end]
	if i = skipSpace(b, end); b[i] == '}' {
		i-- // so that the next call finds the brace
	}
	m.next = i
	return name, value, true
}

// elements walks the elements of an array that is known to be valid JSON.
type elements struct {
	array []byte
	next  int
}

func (e *elements) element() (value []byte, ok bool) {
	b := e.array
	i := skipSpace(b, e.next+1)
	if b[i] == ']' {
		return nil, false
	}
	end := valueEnd(b, i)
	value = b[i:end]
	if i = skipSpace(b, end); b[i] == ']' {
		i--
	}
	e.next = i
	return value, true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index behind the value that begins at i.
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return compositeEnd(b, i)
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

func compositeEnd(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			i = stringEnd(b, i)
			continue
		}
		i++
	}
}

// stringEnd returns the index behind the string whose opening quote is at i.
func stringEnd(b []byte, i int) int {
	start := i + 1
	for i = start; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		escapes := i
		for escapes > start && b[escapes-1] == '\\' {
			escapes--
		}
		if (i-escapes)%2 == 0 {
			return i + 1
		}
	}
}

// text returns the content of a JSON string: a slice of raw where nothing is
// escaped, else decoded behind what scratch holds.
func text(raw []byte, scratch *[]byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	from := len(*scratch)
	// The string was validated, so that there is no error to expect.
	*scratch, _ = jsontext.AppendUnquote(*scratch, raw)
	return (*scratch)[from:len(*scratch):len(*scratch)]
}

// integer reads a JSON integer in plain digits, from 0 to MaxSeq.
func integer[B ~[]byte | ~string](b B) (uint64, bool) {
	if len(b) == 0 || len(b) > 16 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64
	for i := range len(b) {
		c := b[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, n <= MaxSeq
}

// isInteger reports whether a valid JSON value is a number written without
// fraction and exponent.
func isInteger(value []byte) bool {
	if value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return false
	}
	return !bytes.ContainsAny(value, ".eE")
}
