package swarm

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// target is one gateway, or what stands before several.
type target struct {
	addresses []netip.AddrPort // taken in turn
	request   string           // the handshake's head up to the key
	tls       *tls.Config      // nil: without
	plain     bool             // it is the floor's server, which knows no protocol
}

// resolve finds the targets' addresses, and the sources.
func (s *Swarm) resolve() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	loopback := true
	for _, raw := range s.plan.Targets {
		u, err := url.Parse(raw)
		if err != nil {
			return fmt.Errorf("a target's URL does not parse")
		}
		port := u.Port()
		secure := u.Scheme == "wss" || u.Scheme == "https"
		switch {
		case port == "" && secure:
			port = "443"
		case port == "":
			port = "80"
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fmt.Errorf("%s: the port is no number", u.Host)
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err != nil {
			return fmt.Errorf("%s: %w", u.Host, err)
		}
		t := target{request: head(u), plain: u.Scheme == PlainScheme}
		if secure {
			if t.tls, err = trusting(s.config.CA, u.Hostname()); err != nil {
				return err
			}
		}
		for _, a := range preferIPv4(found) {
			loopback = loopback && a.IsLoopback() && a.Is4()
			t.addresses = append(t.addresses, netip.AddrPortFrom(a, uint16(number)))
		}
		s.targets = append(s.targets, t)
	}
	for _, source := range s.plan.Sources {
		a, err := netip.ParseAddr(source)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		s.sources = append(s.sources, a)
	}
	if len(s.sources) == 0 && loopback {
		// One source has 28,000 ports towards one target, and those of connections
		// that have just ended are not free.
		for i := range 8 {
			s.sources = append(s.sources, netip.AddrFrom4([4]byte{127, 0, byte(1 + s.config.Agent%250), byte(1 + i)}))
		}
	}
	return nil
}

// preferIPv4 keeps the addresses of one family: of a name that has both, each
// gateway would stand there twice.
func preferIPv4(all []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	if len(v4) > 0 {
		return v4
	}
	return v6
}

func head(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" || path == "/" {
		path = "/ws"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return "GET " + path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: " + protocol.Subprotocol + "\r\n"
}

// appendRequest appends the head of a handshake, and returns the key that the
// gateway must have read.
func (s *Swarm) appendRequest(dst []byte, t *target) ([]byte, [24]byte) {
	var random [16]byte
	binary.NativeEndian.PutUint64(random[:], rand.Uint64())
	binary.NativeEndian.PutUint64(random[8:], rand.Uint64())
	var key [24]byte
	base64.StdEncoding.Encode(key[:], random[:])
	dst = append(append(append(dst, t.request...), "Sec-WebSocket-Key: "...), key[:]...)
	if len(s.config.Tokens) > 0 {
		dst = append(dst, "\r\nAuthorization: Bearer "...)
		dst = append(dst, s.config.Tokens[s.dialCount%len(s.config.Tokens)]...)
	}
	return append(dst, "\r\n\r\n"...), key
}

// acceptOf is what a server answers to a key (RFC 6455 section 4.2.2).
func acceptOf(key [24]byte) [28]byte {
	sum := sha1.Sum(append(key[:], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	var accept [28]byte
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}
