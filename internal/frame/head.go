package frame

import (
	"bytes"
	"net/url"
	"strings"
)

// HeadLimits bounds a request head; 0 is no bound.
type HeadLimits struct {
	Bytes   int // of the whole head, the blank line included
	Headers int // header lines
}

// HeadEnd returns the index just behind the blank line that ends a head in b, or
// -1. from is how many bytes of b an earlier call has searched, so that the work
// over all calls is linear. A blank line that ends in a bare LF counts too: the
// head is over, and ParseHead refuses it now instead of a deadline later.
func HeadEnd(b []byte, from int) int {
	i := max(from-2, 0) // the line before may end there
	for {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return -1
		}
		i += lf + 1
		switch rest := b[i:]; {
		case len(rest) >= 1 && rest[0] == '\n':
			return i + 1
		case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// ParseHead reads one complete HTTP/1.x request head, which must end with head's
// last byte. It is as strict as RFC 9112 allows, for what two parsers read
// differently is how requests are smuggled (section 11.2): CRLF only, no bare
// CR, LF or control character, no space before a colon, no folding, one Host.
// An upgrade must have no body. r, which may be of an earlier head, does not keep
// this one; it is of use only where nothing is refused.
func ParseHead(r *Request, head []byte, limits HeadLimits) *Refusal {
	if limits.Bytes > 0 && len(head) > limits.Bytes {
		return HeadTooLarge(limits)
	}
	line, rest, ok := cutLine(string(head))
	if !ok {
		return malformed("a line does not end in CRLF")
	}
	clear(r.fields)
	*r = Request{fields: r.fields[:0]}
	if refusal := r.parseRequestLine(line); refusal != nil {
		return refusal
	}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return malformed("a line does not end in CRLF")
		}
		if line == "" {
			break
		}
		if limits.Headers > 0 && len(r.fields) == limits.Headers {
			return tooManyHeaders(limits)
		}
		if refusal := r.parseField(line); refusal != nil {
			return refusal
		}
	}
	if rest != "" {
		return malformed("bytes behind the head")
	}
	if refusal := r.checkHost(); refusal != nil {
		return refusal
	}
	return r.checkBody()
}

func malformed(message string) *Refusal { return BadRequest(ReasonBadRequest, message) }

// cutLine cuts text behind its first LF and the line before its CR. A bare CR
// stays in the line, where no grammar takes it.
func cutLine(text string) (line, rest string, ok bool) {
	lf := strings.IndexByte(text, '\n')
	if lf < 1 || text[lf-1] != '\r' {
		return "", text, false
	}
	return text[:lf-1], text[lf+1:], true
}

func (r *Request) parseRequestLine(line string) *Refusal {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) {
		return malformed("malformed request line")
	}
	minor, ok := strings.CutPrefix(version, "HTTP/1.")
	if !ok || len(minor) != 1 || minor[0] < '0' || minor[0] > '9' {
		return malformed("the HTTP version must be 1.0 or 1.1")
	}
	r.Method = method
	r.minor = minor[0] - '0'
	return r.parseTarget(target)
}

// parseTarget takes the four forms of RFC 9112 section 3.2.
func (r *Request) parseTarget(target string) *Refusal {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return malformed("malformed request target")
		}
	}
	switch {
	case strings.HasPrefix(target, "/"):
		return r.parseOriginForm(target)
	case r.Method == "OPTIONS" && target == "*":
		r.Path = target
		return nil
	case r.Method == "CONNECT" && validHost(target):
		r.Host = target
		return nil
	default:
		return r.parseAbsoluteForm(target)
	}
}

func (r *Request) parseOriginForm(target string) *Refusal {
	path, query, _ := strings.Cut(target, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return malformed("malformed request target")
	}
	r.Path, r.Query = path, query
	return nil
}

func (r *Request) parseAbsoluteForm(target string) *Refusal {
	u, err := url.Parse(target)
	if err != nil || u.User != nil || !validHost(u.Host) {
		return malformed("malformed request target")
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return malformed("malformed request target")
	}
	// RFC 9112 section 3.2.2: the target's authority stands for the Host field's.
	r.Host = u.Host
	r.Path, r.Query = u.Path, u.RawQuery
	if r.Path == "" {
		r.Path = "/"
	}
	return nil
}

func (r *Request) parseField(line string) *Refusal {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return malformed("malformed header line")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return malformed("control character in a header value")
		}
	}
	r.fields = append(r.fields, field{name, value})
	return nil
}

// checkHost is RFC 9112 section 3.2: exactly one valid Host, which HTTP/1.0 may
// leave out.
func (r *Request) checkHost() *Refusal {
	host, lines := r.only("Host")
	switch {
	case lines > 1:
		return malformed("more than one Host")
	case lines == 0 && r.minor > 0:
		return malformed("no Host")
	case lines == 0:
		return nil
	case host != "" && !validHost(host):
		return malformed("malformed Host")
	}
	if r.Host == "" {
		r.Host = host
	}
	return nil
}

// checkBody refuses the two framings of a body at once (RFC 9112 section 6.1)
// and any body of an upgrade, whose bytes would be taken for frames. How long a
// plain request's body is, net/http judges.
func (r *Request) checkBody() *Refusal {
	lengths := r.HeaderValues("Content-Length")
	coded := len(r.HeaderValues("Transfer-Encoding")) > 0
	if coded && len(lengths) > 0 {
		return malformed("Content-Length beside Transfer-Encoding")
	}
	if !r.IsUpgrade() {
		return nil
	}
	if coded {
		return BadRequest(ReasonBody, "an upgrade with a body")
	}
	for _, length := range lengths {
		if length == "" || strings.Trim(length, "0") != "" {
			return BadRequest(ReasonBody, "an upgrade with a body")
		}
	}
	return nil
}

// validHost reports whether host is a host of RFC 3986 and perhaps a port, no
// user before an @ among it and nothing percent-encoded.
func validHost(host string) bool {
	if isPlainHost(host) {
		return true
	}
	for i := range len(host) {
		if c := host[i]; !isAlphanumeric(c) && strings.IndexByte("-._~!$&'()*+,;=:[]", c) < 0 {
			return false
		}
	}
	_, err := url.Parse("//" + host)
	return err == nil && host != ""
}

// isPlainHost reports whether host is made as nearly every one is, which need not
// be parsed: a name or an IPv4 address, and perhaps a port.
func isPlainHost(host string) bool {
	name, port, _ := strings.Cut(host, ":")
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '.' && c != '-' {
			return false
		}
	}
	for i := range len(port) {
		if c := port[i]; c < '0' || c > '9' {
			return false
		}
	}
	return name != ""
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
