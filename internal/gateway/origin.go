package gateway

import (
	"net/netip"
	"strconv"
	"strings"
)

// origin is what RFC 6454 calls one, in one form for all ways to write it. port
// is empty where it is the scheme's own.
type origin struct{ scheme, host, port string }

var schemePorts = map[string]string{"http": "80", "https": "443"}

// parseOrigin reads scheme://host[:port] and nothing beside it: no user, path or
// list. "null" is none.
func parseOrigin(text string) (o origin, ok bool) {
	scheme, authority, ok := strings.Cut(lowerASCII(text), "://")
	if !ok || !isScheme(scheme) {
		return origin{}, false
	}
	host, port, ok := splitAuthority(authority)
	if !ok {
		return origin{}, false
	}
	return newOrigin(scheme, host, port), true
}

func newOrigin(scheme, host, port string) origin {
	if port == schemePorts[scheme] {
		port = ""
	}
	return origin{scheme, host, port}
}

// of reports whether o is a page of the host that a request was sent to. Which
// scheme the request came by is not always known: then either may be.
func (o origin) of(host, scheme string) bool {
	if schemePorts[o.scheme] == "" || scheme != "" && scheme != o.scheme {
		return false
	}
	name, port, ok := splitAuthority(lowerASCII(host))
	return ok && o == newOrigin(o.scheme, name, port)
}

// splitAuthority splits host[:port], in lower case. A name is what browsers send:
// ASCII, other alphabets as xn--. A dot at its end makes it another name, as it
// does for a browser. An IPv6 address comes in its shortest form.
func splitAuthority(text string) (host, port string, ok bool) {
	if rest, v6 := strings.CutPrefix(text, "["); v6 {
		var address string
		if address, port, ok = strings.Cut(rest, "]"); !ok {
			return "", "", false
		}
		ip, err := netip.ParseAddr(address)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", false
		}
		if port == "" {
			return ip.String(), "", true
		}
		port, ok = strings.CutPrefix(port, ":")
		return ip.String(), port, ok && isPort(port)
	}
	host, port, found := strings.Cut(text, ":")
	return host, port, isName(host) && (!found || isPort(port))
}

// isPort takes a port as browsers write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

func isName(s string) bool {
	return s != "" && s[0] != '.' && consistsOf(s, "abcdefghijklmnopqrstuvwxyz0123456789-._")
}

func isScheme(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && consistsOf(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.")
}

func consistsOf(s, alphabet string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }) < 0
}

// lowerASCII leaves other letters alone: some of them are of ASCII in lower case.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
