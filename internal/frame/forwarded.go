package frame

import (
	"net/netip"
	"strings"
)

// ForwardedFor returns whom the proxies on the way had the request from, by its
// X-Forwarded-For lines, to whose end each has appended the address at its own
// socket's other end: the last one that is not itself trusted. What stands before
// it anyone may have written. Anything that is no address ends the search, for
// then a proxy did not know.
func (r *Request) ForwardedFor(trusted func(netip.Addr) bool) (client netip.AddrPort, ok bool) {
	for i := len(r.fields) - 1; i >= 0; i-- {
		if !strings.EqualFold(r.fields[i].name, "X-Forwarded-For") {
			continue
		}
		for rest, more := r.fields[i].value, true; more; {
			var last string
			rest, last, more = cutLast(rest, ',')
			client, ok = parseForwarded(strings.Trim(last, " \t"))
			if !ok || !trusted(client.Addr()) {
				return client, ok
			}
		}
	}
	return netip.AddrPort{}, false
}

// cutLast cuts text around its last sep; without one, all of it is last.
func cutLast(text string, sep byte) (before, last string, found bool) {
	at := strings.LastIndexByte(text, sep)
	if at < 0 {
		return "", text, false
	}
	return text[:at], text[at+1:], true
}

// parseForwarded reads an address with or without a port, IPv6 with or without
// brackets, as proxies write them.
func parseForwarded(text string) (client netip.AddrPort, ok bool) {
	if client, err := netip.ParseAddrPort(text); err == nil && client.Addr().Zone() == "" {
		return netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), true
	}
	if inner, found := strings.CutPrefix(text, "["); found {
		if text, found = strings.CutSuffix(inner, "]"); !found || !strings.Contains(text, ":") {
			return netip.AddrPort{}, false
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), 0), true
}

// ForwardedProto returns the scheme, http or https, that the client's request
// came by, by its X-Forwarded-Proto line; "" where it says nothing clear.
func (r *Request) ForwardedProto() string {
	values := r.HeaderValues("X-Forwarded-Proto")
	if len(values) != 1 {
		return ""
	}
	switch strings.ToLower(values[0]) {
	case "https", "wss":
		return "https"
	case "http", "ws":
		return "http"
	}
	return ""
}
