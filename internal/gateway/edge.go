package gateway

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// EdgeConfig says which pages may connect, and whose word about others is
// believed.
type EdgeConfig struct {
	Origins        []string // scheme://host[:port], or "*"; none: the request's own host only
	OriginRequired bool     // refuse who names no origin, which is who is no browser
	TrustedProxies []string // addresses and CIDR networks
}

// Edge is an EdgeConfig read once, to be asked at each handshake. It is immutable.
// The zero value is that of an empty configuration.
type Edge struct {
	anyOrigin      bool
	originRequired bool
	origins        map[origin]struct{} // empty: the request's own host only
	proxies        []netip.Prefix
}

// NewEdge reads a configuration. What is no origin and no network in it, which
// who configures has refused, matches nothing.
func NewEdge(c EdgeConfig) Edge {
	e := Edge{originRequired: c.OriginRequired}
	if len(c.Origins) > 0 {
		e.origins = make(map[origin]struct{}, len(c.Origins))
	}
	for _, text := range c.Origins {
		if text == "*" {
			e.anyOrigin = true
		} else if o, ok := parseOrigin(text); ok {
			e.origins[o] = struct{}{}
		}
	}
	for _, text := range c.TrustedProxies {
		if p, ok := parseNetwork(text); ok {
			e.proxies = append(e.proxies, p)
		}
	}
	return e
}

// parseNetwork reads a CIDR network, or an address as the network of itself.
func parseNetwork(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// trusts reports whether a is a proxy whose word about its clients is believed.
func (e *Edge) trusts(a netip.Addr) bool {
	for _, p := range e.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// admit holds a request against the origins. scheme is what it came by, "" where
// that is not known. An opaque origin, "null", is never allowed: any sandboxed
// frame and any file has it (RFC 6454 section 7).
func (e *Edge) admit(r *frame.Request, scheme string) *frame.Refusal {
	values := r.HeaderValues("Origin")
	if len(values) == 0 {
		if !e.originRequired {
			return nil
		}
		return &frame.Refusal{
			Status: http.StatusForbidden, Reason: frame.ReasonOriginMissing, Code: "origin_required",
			Message: "a request must say of which origin it is",
		}
	}
	if o, ok := parseOrigin(strings.Join(values, ",")); ok && e.allows(o, r.Host, scheme) {
		return nil
	}
	return &frame.Refusal{
		Status: http.StatusForbidden, Reason: frame.ReasonOrigin, Code: "forbidden",
		Message: "this origin is not allowed",
	}
}

func (e *Edge) allows(o origin, host, scheme string) bool {
	switch {
	case e.anyOrigin:
		return true
	case e.origins == nil:
		return o.of(host, scheme)
	}
	_, ok := e.origins[o]
	return ok
}
