package loop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// wantTLSError waits until n handshakes have come to nothing for this reason.
func (s *server) wantTLSError(e metrics.TLSError, n int) {
	s.t.Helper()
	s.settle(fmt.Sprintf("%d of %v", n, e), func() bool { return s.tls.Errors(e) == uint64(n) })
}

// rawDial connects without TLS.
func (s *server) rawDial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// secured is a client over a connection that is there.
func (s *server) secured(conn net.Conn) *client {
	s.t.Helper()
	secure := tls.Client(conn, clientTLS)
	c := &client{Conn: secure, t: s.t}
	c.r = bufio.NewReader(secure)
	return c
}

// chopped writes in pieces of so many bytes.
type chopped struct {
	net.Conn
	size int
}

func (c chopped) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = c.Conn.Write(b[n:min(n+c.size, len(b))])
		n += m
	}
	return n, err
}

// held sends all but its first write together, once it is let go.
type held struct {
	net.Conn
	writes int
	kept   []byte
}

func (h *held) Write(b []byte) (int, error) {
	if h.writes++; h.writes == 1 {
		return h.Conn.Write(b)
	}
	h.kept = append(h.kept, b...)
	return len(b), nil
}

func (h *held) letGo() (err error) {
	_, err = h.Conn.Write(h.kept)
	return err
}

func TestSecureConnectionsMaySplitAnywhere(t *testing.T) {
	s := serveSecure(t, Config{}, &handler{upgrade: func(c *Conn, _ *frame.Request) (Admission, *frame.Refusal) {
		if !c.Secure() {
			t.Error("not secure")
		}
		return Admission{}, nil
	}})
	message := strings.Repeat("0123456789", 200)
	for _, size := range []int{1, 2, 3, 5, 7, 64, 1000} {
		c := s.secured(chopped{s.rawDial(), size})
		c.write(append(request(), masked(frame.OpText, message)...))
		c.wantUpgrade()
		c.want(frame.OpText, message)
		c.send(frame.OpClose, "")
		c.wantClose(1005)
		c.wantEnd()
	}
}

// In TLS 1.3 a client may send its request right behind its end of the handshake.
// What has then been read already, no event brings.
func TestARequestRightBehindTheHandshakeIsSeen(t *testing.T) {
	s := serveSecure(t, Config{}, &handler{})
	for range 20 {
		conn := &held{Conn: s.rawDial()}
		c := s.secured(conn)
		c.write(append(request(), masked(frame.OpText, "first")...))
		if err := conn.letGo(); err != nil {
			t.Fatal(err)
		}
		c.wantUpgrade()
		c.want(frame.OpText, "first")
	}
}

func TestLargeMessagesPassThroughTLS(t *testing.T) {
	s := serveSecure(t, Config{}, &handler{})
	c := s.connect()
	message := strings.Repeat("large ", 1<<20/6)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(masked(frame.OpText, message))
		sent <- err
	}()
	c.want(frame.OpText, message)
	if err := await(t, sent); err != nil {
		t.Error(err)
	}
}

func TestASlowSecureClientHoldsARecordAtMost(t *testing.T) {
	var conn *Conn
	s := serveBy(t, Config{}, &handler{open: func(c *Conn) { conn = c }}, poll.SocketOptions{NoDelay: true, SendBuffer: 16 << 10}, &TerminatorConfig{})
	s.connect()
	one := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("x"), 100))
	run, size := bytes.Repeat(one, 10_000), len(one)
	s.settle("the socket is full", func() bool {
		if conn.Ready() {
			if n := conn.WriteShared(run); n%size != 0 {
				conn.Finish(run[n : n-n%size+size])
			}
		}
		_, full := conn.Blocked()
		return full
	})
	s.do(func() {
		if held := conn.QueuedBytes(); held == 0 || held > sealedMost+1024 {
			t.Errorf("a connection holds %d bytes of its own", held)
		}
	})
}

func TestHandshakesThatComeToNothingAreCounted(t *testing.T) {
	_, _ = x509.SystemCertPool() // takes its time when it is read first
	s := serveBy(t, Config{}, &handler{}, poll.SocketOptions{}, &TerminatorConfig{Timeout: func() time.Duration { return time.Second }})
	tryTLS := func(cfg *tls.Config) error {
		cfg.ServerName = "127.0.0.1"
		return tls.Client(s.rawDial(), cfg).Handshake()
	}
	for _, test := range []struct {
		name string
		why  metrics.TLSError
		try  func() error
	}{
		{"a certificate that the client does not know", metrics.TLSAlert, func() error { return tryTLS(&tls.Config{}) }},
		{"an old version", metrics.TLSProtocol, func() error {
			return tryTLS(&tls.Config{RootCAs: clientTLS.RootCAs, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11})
		}},
		{"a protocol that is not spoken", metrics.TLSProtocol, func() error {
			return tryTLS(&tls.Config{RootCAs: clientTLS.RootCAs, NextProtos: []string{"h2"}})
		}},
		{"nothing", metrics.TLSTimeout, func() error {
			_, err := io.ReadAll(s.rawDial())
			return fmt.Errorf("the end: %v", err)
		}},
		{"a beginning", metrics.TLSTimeout, func() error {
			conn := s.rawDial()
			_, _ = conn.Write([]byte("\x16\x03\x01\x02\x00\x01"))
			_, err := io.ReadAll(conn)
			return fmt.Errorf("the end: %v", err)
		}},
		{"a client that goes", metrics.TLSClosed, func() error {
			return s.rawDial().Close()
		}},
		{"garbage", metrics.TLSNoTLS, func() error {
			conn := s.rawDial()
			_, _ = conn.Write([]byte("\x00\x00\x00\x00\x00\x00\x00"))
			_, err := io.ReadAll(conn)
			return err
		}},
	} {
		before := s.tls.Errors(test.why)
		err := test.try()
		s.wantTLSError(test.why, int(before)+1)
		if err == nil && test.why != metrics.TLSClosed && test.why != metrics.TLSNoTLS {
			t.Errorf("%s: it succeeded", test.name)
		}
	}
	s.connect()
	if n := s.tls.Handshakes.Value(); n != 0 || s.tls.Completed.Value() != 1 {
		t.Errorf("%d unfinished, %d completed", n, s.tls.Completed.Value())
	}
}

func TestWhoSpeaksHTTPToTLSIsToldSo(t *testing.T) {
	s := serveSecure(t, Config{}, &handler{})
	c := &client{Conn: s.rawDial(), t: t}
	c.r = bufio.NewReader(c.Conn)
	c.write(append(request(), make([]byte, 8000)...))
	c.wantRefusal(400, "tls_required")
	s.wantTLSError(metrics.TLSNoTLS, 1)
}

func TestUnfinishedTLSHandshakesAreCapped(t *testing.T) {
	for _, test := range []struct {
		name string
		gate *Gate
		why  metrics.TLSError
	}{
		{"in all", NewGate(2, 0), metrics.TLSHandshakes},
		{"of one address", NewGate(0, 2), metrics.TLSHandshakesPerAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serveSecure(t, Config{Gate: test.gate}, &handler{})
			first := s.rawDial()
			s.rawDial()
			s.settle("two handshakes", func() bool { return s.tls.Handshakes.Value() == 2 })
			if _, err := s.rawDial().Read(make([]byte, 1)); err == nil {
				t.Error("a third is let in")
			}
			s.wantTLSError(test.why, 1)
			first.Close()
			s.wantTLSError(metrics.TLSClosed, 1)
			c := s.connect()
			c.send(frame.OpText, "still")
			c.want(frame.OpText, "still")
			s.connect() // a WebSocket that is open has no place at the gate
		})
	}
}

func TestClosingEndsUnfinishedHandshakes(t *testing.T) {
	s := serveSecure(t, Config{}, &handler{})
	silent := s.rawDial()
	s.settle("a handshake", func() bool { return s.tls.Handshakes.Value() == 1 })
	s.terminator.Close()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
	s.wantTLSError(metrics.TLSDraining, 1)
	if _, err := s.rawDial().Read(make([]byte, 1)); err == nil {
		t.Error("another one begins")
	}
	s.wantTLSError(metrics.TLSDraining, 2)
}

func TestAProxyHeaderComesBeforeTLS(t *testing.T) {
	h, clients := opened()
	s := serveSecure(t, Config{Trusted: loopback, ProxyProtocol: true}, h)
	for _, test := range []struct {
		header, want string
		size         int
	}{
		{proxyLine, "1.2.3.4:5678", 1000}, {proxyLine, "1.2.3.4:5678", 1}, {proxyBinary, "1.2.3.4:5678", 1000}, {proxyBinary, "1.2.3.4:5678", 1},
		{proxyUnknown, "", 1000}, {proxyChained, "2.3.4.5:0", 1000},
	} {
		// The header and the handshake's beginning in one piece, and every byte by itself.
		raw := &ahead{Conn: chopped{s.rawDial(), test.size}, first: []byte(test.header)}
		c := s.secured(raw)
		c.write(request("X-Forwarded-For: 2.3.4.5"))
		c.wantUpgrade()
		want := test.want
		if want == "" {
			want = raw.LocalAddr().String() // and what is forwarded, anyone may have written
		}
		if got := await(t, clients).String(); got != want {
			t.Errorf("%q: the client is %s, want %s", test.header, got, want)
		}
	}
	for i, header := range []string{"PROXY TCP4 1.2.3.4\r\n", "\x16\x03\x01"} {
		conn := s.rawDial()
		_, _ = conn.Write([]byte(header))
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q: answered %q, %v", header, b, err)
		}
		s.wantTLSError(metrics.TLSProxyHeader, i+1)
	}
}

// ahead writes first before all else, in one piece with it.
type ahead struct {
	net.Conn
	first []byte
}

func (a *ahead) Write(b []byte) (int, error) {
	whole := append(a.first, b...)
	a.first = nil
	_, err := a.Conn.Write(whole)
	return len(b), err
}

func TestAClientBehindAProxyHeaderHasItsOwnLimitInTLS(t *testing.T) {
	s := serveSecure(t, Config{Trusted: loopback, ProxyProtocol: true, Gate: NewGate(0, 1)}, &handler{})
	first := s.rawDial()
	_, _ = first.Write([]byte(proxyLine))
	s.settle("it is counted", func() bool {
		s.loop.cfg.Gate.mu.Lock()
		defer s.loop.cfg.Gate.mu.Unlock()
		return s.loop.cfg.Gate.byAddress[netip.MustParseAddr("1.2.3.4")] == 1
	})
	second := s.rawDial()
	_, _ = second.Write([]byte(proxyLine))
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second of the same client is let in")
	}
	s.wantTLSError(metrics.TLSHandshakesPerAddress, 1)
	c := s.secured(&ahead{Conn: s.rawDial(), first: []byte("PROXY TCP4 1.2.3.5 10.0.0.1 5678 443\r\n")})
	c.write(request())
	c.wantUpgrade()
}

func TestAPlainRequestByTLSIsHandedOver(t *testing.T) {
	conns := make(chan net.Conn, 1)
	s := serveSecure(t, Config{Trusted: loopback, Plain: func(c net.Conn) { conns <- c }}, &handler{})
	c := s.dial()
	const sent = "POST /x HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 10\r\n\r\n01234"
	c.write([]byte(sent))
	plain := await(t, conns)
	defer plain.Close()
	c.write([]byte("56789"))
	got := make([]byte, len(sent)+5)
	if _, err := io.ReadFull(plain, got); err != nil || string(got) != sent+"56789" {
		t.Errorf("read %q, %v", got, err)
	}
	if addr := plain.RemoteAddr().String(); addr != "1.2.3.4:0" {
		t.Errorf("net/http sees %s", addr)
	}
	_ = plain.SetDeadline(time.Now().Add(patience))
	if _, err := plain.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if err := plain.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(c.r); string(b) != "answer" || err != nil {
		t.Errorf("the client got %q, %v", b, err)
	}
	s.settle("the loop has forgotten it", func() bool { return s.loop.Conns() == 0 })
}
