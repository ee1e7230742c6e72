package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// edgeOptions are the keys of who may connect.
func (c *Config) edgeOptions() []option {
	return []option{
		{key: "origins", def: "", live: true, value: list(&c.Origins, parseOrigin, "origins such as https://example.com or https://example.com:8443, or *"),
			what: "web origins that may connect: scheme://host[:port], or * for any; none is the same host only. The origin null never may",
			why:  "a page of another site must not speak in its visitor's name"},
		{key: "origin_required", def: "false", live: true, value: boolean(&c.OriginRequired),
			what: "refuse a WebSocket handshake without an Origin, which no browser leaves out",
			why:  "apps and programs have no origin, and one that wants to can write any"},
		{key: "trusted_proxies", def: "", live: true, value: list(&c.TrustedProxies, parseNetwork, "addresses and networks such as 10.0.0.5, 10.0.0.0/8 or fd00::/8"),
			what: "proxies and balancers whose word about whom they speak for is believed: addresses and CIDR networks." +
				" From these, a client is the rightmost address in X-Forwarded-For that is none of them, and limits of one address are the client's",
			why: "anyone can write a header; without a proxy the address at the socket's other end is the client's"},
		{key: "proxy_protocol", def: "false", value: boolean(&c.ProxyProtocol),
			what: "what a trusted proxy sends begins with a PROXY header, of version 1 or 2, or is refused; others are served as they are, and theirs is not believed",
			why:  "a balancer that passes on HTTP has X-Forwarded-For; it is for those that pass on bytes"},
		{key: "tls.cert", def: "", live: true, file: true, value: text(&c.TLS.Cert, "a file's path"),
			what: "certificate of the address that clients connect to, and those that sign it, PEM; with it that address speaks TLS alone." +
				" Another one is taken over while the gateway runs; to begin with TLS or to end it takes a restart",
			why: "mostly a balancer ends TLS, at less cost in memory and nearer to the client"},
		{key: "tls.key", def: "", live: true, file: true, value: text(&c.TLS.Key, "a file's path"),
			what: "private key of tls.cert, PEM",
			why:  "there is none without a certificate"},
	}
}

// parseOrigin returns an origin as a browser writes it in the Origin header
// (RFC 6454, section 6.2): in lower case and without a default port.
func parseOrigin(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", errors.New("no host name (write other than ASCII as xn--)")
	}
	lower := strings.ToLower(s)
	u, err := url.Parse(lower)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errors.New("no scheme://host")
	}
	if u.Scheme+"://"+u.Host != lower {
		return "", errors.New("an origin ends behind the host or the port")
	}
	host, err := originHost(u.Host, u.Hostname())
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" && strings.HasSuffix(u.Host, ":") {
		return "", errors.New("no port behind the colon")
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "", errors.New("no port behind the colon")
		}
	}
	if port == "" || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + port, nil
}

// originHost returns a host as browsers write it.
func originHost(host, name string) (string, error) {
	if strings.HasPrefix(host, "[") {
		ip, err := netip.ParseAddr(name)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", errors.New("no IPv6 address in the brackets")
		}
		return "[" + ip.String() + "]", nil
	}
	if name[0] == '.' || strings.ContainsFunc(name, notInName) {
		return "", errors.New("no host name (write other than ASCII as xn--)")
	}
	return name, nil
}

// notInName tells what is part of no host name in lower case.
func notInName(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-._", r)
}

// parseNetwork returns an address or a CIDR network in its shortest form.
func parseNetwork(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return a.Unmap().String(), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return "", errors.New("no address and no network")
	case p != p.Masked():
		return "", fmt.Errorf("the network of %s is %s", p, p.Masked())
	case p.Addr().Is4In6():
		return "", errors.New("a network of IPv4 inside IPv6 is written as IPv4")
	}
	return p.String(), nil
}
