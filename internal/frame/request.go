package frame

import (
	"net/url"
	"strings"
)

// Request is a parsed request head. Its strings are parts of one copy of the
// head: clone what outlives the handshake.
type Request struct {
	Method string
	Path   string // decoded, otherwise as sent: not cleaned
	Query  string // as sent, without the question mark
	Host   string // the target's authority where it has one, else the Host field

	minor  byte // HTTP/1.minor
	fields []field
}

type field struct{ name, value string }

// Header returns the first value of the header field, or "". Names compare
// without regard to case.
func (r *Request) Header(name string) string {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// HeaderValues returns the value of every line of the header field, in order.
func (r *Request) HeaderValues(name string) []string {
	var values []string
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// QueryValues parses the query; a parameter that does not parse is refused with
// 400.
func (r *Request) QueryValues() (url.Values, *Refusal) {
	values, err := url.ParseQuery(r.Query)
	if err != nil {
		return nil, BadRequest(ReasonQuery, "a query parameter does not parse")
	}
	return values, nil
}

// Subprotocols returns the WebSocket subprotocols that the client offers, in its
// order of preference; nil where the field is no list of tokens, which Upgrade
// refuses.
func (r *Request) Subprotocols() []string {
	offered, _ := r.subprotocols()
	return offered
}

func (r *Request) subprotocols() (offered []string, ok bool) {
	for _, value := range r.HeaderValues("Sec-WebSocket-Protocol") {
		for element := range elements(value) {
			if !isToken(element) {
				return nil, false
			}
			offered = append(offered, element)
		}
	}
	return offered, true
}

// IsUpgrade reports whether the request asks for WebSocket: its Upgrade field,
// which may be a list over several lines, names it (RFC 9110 section 7.8).
func (r *Request) IsUpgrade() bool {
	return r.lists("Upgrade", "websocket")
}

// lists reports whether the comma-separated field has token, without regard to
// case.
func (r *Request) lists(name, token string) bool {
	for _, f := range r.fields {
		if !strings.EqualFold(f.name, name) {
			continue
		}
		for element := range elements(f.value) {
			if strings.EqualFold(element, token) {
				return true
			}
		}
	}
	return false
}

// elements yields the elements of a comma-separated field value, trimmed; empty
// ones are skipped (RFC 9110 section 5.6.1.2).
func elements(value string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for element := range strings.SplitSeq(value, ",") {
			element = strings.Trim(element, " \t")
			if element != "" && !yield(element) {
				return
			}
		}
	}
}
