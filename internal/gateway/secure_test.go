package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func secure(c *setup) { c.secure = true }

func TestASlowMemberByTLSIsSentOrToldOfEverything(t *testing.T) {
	const all = 600
	s := run(t, secure, func(c *setup) { c.slow(room.Drop, 8, 0) })
	slow, quick := s.connect(dialing{small: true}), s.dial()
	ledger := newLedger(nil)
	slow.send(`{"type":"join","payload":{"room":"r"}}`)
	m := slow.expect("joined")
	_ = ledger.take(&m)
	quick.join("r", "")
	var last protocol.Position
	for i := range all {
		last = protocol.Position(s.store("r", sized(i, 30<<10)))
		if m := quick.expect("message"); m.Message.Seq != last.Seq {
			t.Fatalf("the quick member got %d, want %d", m.Message.Seq, last.Seq)
		}
	}
	slow.upTo(ledger, "r", last)
	slow.sync()
	if a := ledger.rooms["r"]; len(a.gaps) == 0 || s.metric(`fanfare_dropped_frames_total{policy="drop",stage="queue"}`) == 0 {
		t.Errorf("nothing was dropped: the gaps are %+v", a.gaps)
	}
}

func TestAPageByTLSIsOfTheSameHostByTLSOnly(t *testing.T) {
	s := run(t, secure)
	s.connect(dialing{headers: []string{"Origin: https://" + s.addr}})
	if _, res := s.handshake(dialing{headers: []string{"Origin: http://" + s.addr}}); res.StatusCode != 403 {
		t.Errorf("a page without TLS: %s", res.Status)
	}
}

func TestAnotherCertificateIsForThoseWhoComeNext(t *testing.T) {
	s := run(t, secure)
	before := s.dial()
	serial := func() int64 {
		conn := s.raw()
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	until := time.Now().Add(2 * time.Hour)
	s.apply(func(live *Live) { live.Certificate = authority.Sign(2, until) })
	if n := serial(); n != 2 {
		t.Errorf("certificate %d, want the second", n)
	}
	if at := s.metric("fanfare_tls_certificate_not_after_seconds"); at != float64(until.Unix()) {
		t.Errorf("it is said to be valid until %v", at)
	}
	before.sync()
}

func TestADrainEndsWhatHasNotFinishedItsTLSHandshake(t *testing.T) {
	s := run(t, secure, func(c *setup) { c.DrainPeriod = time.Hour })
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.untilMetric("fanfare_tls_handshakes", 1)
	s.stop()
	if n := s.metric(`fanfare_tls_handshake_errors_total{reason="draining"}`); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// HAProxy, in each of the ways that it tells who its client is.
func TestHAProxySaysWhoTheClientIs(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil { // where an administrator has it
		haproxy, err = exec.LookPath("/usr/sbin/haproxy")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("haproxy is needed in CI and is missing")
		}
		t.Skip("haproxy is missing")
	}
	ways := []struct {
		name, mode, server string
		proxy, secure      bool
	}{
		{"X-Forwarded-For", "http", "", false, false},
		{"PROXY 1", "tcp", "send-proxy", true, false},
		{"PROXY 2", "tcp", "send-proxy-v2", true, false},
		{"PROXY 2, TLS passed on", "tcp", "send-proxy-v2", true, true},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := run(t, func(c *setup) {
				c.secure = way.secure
				c.Edge, c.ProxyProtocol = NewEdge(EdgeConfig{TrustedProxies: []string{"127.0.0.1"}}), way.proxy
				c.Public = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
			})
			if s.tls != nil && !way.secure {
				t.Skip("not over TLS")
			}
			front := balance(t, haproxy, way.mode, s.addr+" "+way.server)
			behind := &service{t: t, addr: front, tls: s.tls}
			// The health checks of a balancer are LOCAL or UNKNOWN, and come here too.
			from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.tls, DialContext: from.DialContext}, Timeout: patience}
			res, err := client.Get(behind.origin())
			if err != nil {
				t.Fatal(err)
			}
			host, _, _ := net.SplitHostPort(body(t, res))
			if host != "127.0.0.2" {
				t.Errorf("the client is said to be at %s", host)
			}
			c := behind.connect(dialing{headers: []string{"X-Forwarded-For: 6.6.6.6"}})
			c.join("r", "")
		})
	}
}

// balance runs HAProxy before a server and returns where it listens.
func balance(t *testing.T, haproxy, mode, server string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := free.Addr().String()
	free.Close()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	config := fmt.Sprintf(`defaults
  mode %s
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  option forwardfor
listen front
  bind %s
  server gateway %s check inter 100ms
`, mode, front, server)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(haproxy, "-q", "-db", "-f", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	until(t, "haproxy listens", func() bool {
		conn, err := net.Dial("tcp", front)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return front
}
