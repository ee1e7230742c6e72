package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fanfare-ws/fanfare/internal/config"
)

// newCertificate reads the certificate of the public address; nil: it has none.
func newCertificate(c *config.Config, before *settings, log *slog.Logger) (*tls.Certificate, error) {
	if before != nil && (before.live.Certificate == nil) != (c.TLS.Cert == "") {
		return nil, errors.New("tls.cert: to begin with TLS or to end it takes a restart")
	}
	if c.TLS.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert %s, tls.key %s: %w", c.TLS.Cert, c.TLS.Key, err)
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		log.Warn("the certificate has expired: clients will refuse it", "file", c.TLS.Cert, "since", end)
	}
	return &pair, nil
}
