package main

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/certtest"
)

// A certificate that is renewed in place is taken over, and one that cannot be
// leaves the one before in force.
func TestACertificateIsReplacedWhileItServes(t *testing.T) {
	dir, authority := t.TempDir(), certtest.NewAuthority()
	renew := func(serial int64) (cert, key string) {
		t.Helper()
		cert, key, err := certtest.WritePair(dir, authority.Sign(serial, time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	cert, key := renew(1)
	r := newReloading(t, fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key))
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", r.on.gateway.Addr().String(), authority.Client())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	renew(2)
	r.look()
	r.look()
	if n := serial(); n != 2 {
		t.Errorf("certificate %d once it is renewed: %s", n, r.log)
	}
	write(t, key, "no key")
	r.look()
	r.look()
	if n := serial(); n != 2 || !strings.Contains(r.log.String(), "not applied") || !strings.Contains(r.log.String(), key) {
		t.Errorf("certificate %d with a bad key: %s", n, r.log)
	}
	renew(3)
	r.reload()
	if n := serial(); n != 3 {
		t.Errorf("certificate %d after a bad one: %s", n, r.log)
	}
	write(t, r.file, "tls: {}\n")
	r.reload()
	if n := serial(); n != 3 || !strings.Contains(r.log.String(), "takes a restart") {
		t.Errorf("certificate %d where there shall be none: %s", n, r.log)
	}
}

func TestAnExpiredCertificateIsToldOf(t *testing.T) {
	cert, key, err := certtest.WritePair(t.TempDir(), certtest.NewAuthority().Sign(1, time.Now().Add(-time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	r := newReloading(t, fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key))
	if !strings.Contains(r.log.String(), "has expired") {
		t.Errorf("log: %s", r.log)
	}
}
