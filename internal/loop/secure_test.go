package loop

import (
	"crypto/tls"
	"time"

	"github.com/fanfare-ws/fanfare/internal/certtest"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// serverTLS has a certificate that clientTLS trusts.
var (
	authority = certtest.NewAuthority()
	clientTLS = authority.Client()
	serverTLS = &tls.Config{
		Certificates: []tls.Certificate{*authority.Sign(1, time.Now().Add(time.Hour))}, NextProtos: []string{"http/1.1"},
	}
)

// terminatorOf is a terminator beside a loop of this configuration.
func terminatorOf(tc *TerminatorConfig, cfg Config, m *metrics.TLS) *Terminator {
	full := *tc
	if full.TLS == nil {
		full.TLS = serverTLS
	}
	if full.Timeout == nil {
		full.Timeout = func() time.Duration { return 0 }
	}
	full.Gate, full.Trusted, full.ProxyProtocol, full.Metrics = cfg.Gate, cfg.Trusted, cfg.ProxyProtocol, m
	full.Log = cfg.withDefaults().Log
	return NewTerminator(full)
}
