package frame

import (
	"slices"
	"strings"
)

const (
	deflateName   = "permessage-deflate"
	deflateAnswer = deflateName + "; server_no_context_takeover; client_no_context_takeover"
)

// negotiateDeflate returns the answer to the first permessage-deflate offer that
// can be taken, or "". An offer with parameters that RFC 7692 section 7.1 does not
// know is declined, which is no failure; a field that RFC 6455 section 9.1 does
// not allow is one, and then ok is false.
func negotiateDeflate(r *Request) (answer string, ok bool) {
	for _, f := range r.fields {
		if !strings.EqualFold(f.name, "Sec-WebSocket-Extensions") {
			continue
		}
		s := scanner{rest: f.value}
		for !s.done() {
			offer, ok := s.extension()
			if !ok {
				return "", false
			}
			if answer == "" && offer.name == deflateName {
				answer = offer.accept()
			}
		}
	}
	return answer, true
}

type extension struct {
	name       string
	parameters []field // value "" where there is none
}

// accept returns the answer to a permessage-deflate offer, or "" to decline it.
// Frames are compressed once for all receivers with the full window, so an offer
// that wants the server's smaller is declined. The client may use any window.
func (e extension) accept() string {
	answer := deflateAnswer
	for i, p := range e.parameters {
		if slices.ContainsFunc(e.parameters[:i], func(q field) bool { return q.name == p.name }) {
			return ""
		}
		valid := false
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			valid = p.value == ""
		case "client_max_window_bits":
			valid = p.value == "" || validWindow(p.value)
		case "server_max_window_bits":
			// Section 7.1.2.1: taking the offer means answering the parameter.
			valid = p.value == "15"
			answer += "; server_max_window_bits=15"
		}
		if !valid {
			return ""
		}
	}
	return answer
}

// validWindow takes 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
func validWindow(bits string) bool {
	switch bits {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// scanner reads a field value of RFC 6455 section 9.1's grammar, in one pass.
type scanner struct{ rest string }

// done skips to the next element of the list and reports whether there is none.
func (s *scanner) done() bool {
	s.rest = strings.TrimLeft(s.rest, ", \t")
	return s.rest == ""
}

func (s *scanner) extension() (e extension, ok bool) {
	if e.name, ok = s.token(); !ok {
		return e, false
	}
	for s.take(';') {
		var p field
		if p.name, ok = s.token(); !ok {
			return e, false
		}
		if s.take('=') {
			if p.value, ok = s.value(); !ok {
				return e, false
			}
		}
		e.parameters = append(e.parameters, p)
	}
	return e, s.rest == "" || s.rest[0] == ','
}

// take consumes c where it is next, and white space around it.
func (s *scanner) take(c byte) bool {
	s.skipSpace()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	s.skipSpace()
	return true
}

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) token() (token string, ok bool) {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token, s.rest = s.rest[:n], s.rest[n:]
	return token, n > 0
}

// value reads a token, or a quoted string whose content is one.
func (s *scanner) value() (value string, ok bool) {
	if s.rest == "" || s.rest[0] != '"' {
		return s.token()
	}
	var content strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return content.String(), isToken(content.String())
		case '\\':
			if i++; i < len(s.rest) {
				content.WriteByte(s.rest[i])
			}
		default:
			content.WriteByte(c)
		}
	}
	return "", false
}
