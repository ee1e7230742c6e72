package frame

import (
	"net/url"
	"strings"
)

// Request is a parsed request head, until ParseHead is given it again. Its strings
// are parts of one copy of the head: clone what outlives the handshake.
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

// only returns the value of the first line of the header field, and how many lines
// it has.
func (r *Request) only(name string) (value string, lines int) {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			if lines++; lines == 1 {
				value = f.value
			}
		}
	}
	return value, lines
}

// QueryValues parses the query; a parameter that does not parse is refused with
// 400.
func (r *Request) QueryValues() (url.Values, *Refusal) {
	if r.Query == "" {
		return nil, nil
	}
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
	for _, f := range r.fields {
		if !strings.EqualFold(f.name, "Sec-WebSocket-Protocol") {
			continue
		}
		for element, rest := cutElement(f.value); element != ""; element, rest = cutElement(rest) {
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
		for element, rest := cutElement(f.value); element != ""; element, rest = cutElement(rest) {
			if strings.EqualFold(element, token) {
				return true
			}
		}
	}
	return false
}

// cutElement cuts the first element off a comma-separated field value, trimmed;
// empty ones are skipped (RFC 9110 section 5.6.1.2). None is left: "".
func cutElement(list string) (element, rest string) {
	for element == "" && list != "" {
		element, list, _ = strings.Cut(list, ",")
		element = strings.Trim(element, " \t")
	}
	return element, list
}
