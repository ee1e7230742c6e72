package gateway

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/fanfare-ws/fanfare/internal/loop"
)

// newTerminator makes what does the TLS handshakes; nil where there is no
// certificate. WebSockets are of HTTP/1.1, so that no other protocol is agreed on.
func (g *Gateway) newTerminator() *loop.Terminator {
	g.certified(g.live())
	if g.live().Certificate == nil {
		return nil
	}
	return loop.NewTerminator(loop.TerminatorConfig{
		TLS: &tls.Config{
			NextProtos:     []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.live().Certificate, nil },
		},
		Timeout:       func() time.Duration { return g.live().Limits.HandshakeTimeout },
		Gate:          g.gate,
		Trusted:       func(a netip.Addr) bool { return g.live().Edge.trusts(a) },
		ProxyProtocol: g.cfg.ProxyProtocol,
		Metrics:       &g.cfg.Metrics.TLS,
		Log:           g.cfg.Log,
	})
}

// certified shows until when the certificate in force is valid.
func (g *Gateway) certified(live *Live) {
	if live.Certificate != nil {
		g.cfg.Metrics.TLS.NotAfter.Set(live.Certificate.Leaf.NotAfter.Unix())
	}
}
