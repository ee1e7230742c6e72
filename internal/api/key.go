package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// developer is who calls from this machine where there are no keys.
var developer = &auth.Key{Name: "dev", Allow: auth.AllowPublish | auth.AllowRead | auth.AllowAdmin}

// authenticate finds the caller's key.
func (x *exchange) authenticate() *problem {
	keys := x.api.keys.Load()
	if keys == nil && x.api.cfg.Dev && local(x.r) {
		x.key = developer
		return nil
	}
	token := bearer(x.r.Header)
	if x.key = keys.Check(token); x.key != nil {
		return nil
	}
	p := &problem{status: http.StatusUnauthorized, code: protocol.Unauthorized, header: "WWW-Authenticate", value: `Bearer realm="fanfare"`}
	switch {
	case token != "":
		p.value += `, error="invalid_token"` // RFC 6750 section 3.1
		p.detail = "this key is not valid"
	case keys == nil:
		p.detail = "no keys are configured (api.keys_file), so that nobody may call"
	default:
		p.detail = "a key is required: Authorization: Bearer KEY"
	}
	return p
}

// bearer is the token of an Authorization header (RFC 6750 section 2.1), empty
// where there is none.
func bearer(h http.Header) string {
	v := h["Authorization"]
	if len(v) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(v[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// forwarding are the headers by which a proxy shows: what it forwards comes from
// this machine and is not of it.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// local tells whether a request was made on this machine, for this machine. A
// page whose name was bound to a loopback address asks for its own host.
func local(r *http.Request) bool {
	for _, name := range forwarding {
		if r.Header[name] != nil {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && loopback(r.Host)
}

// loopback tells whether a host, with a port or not, is a name of this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
