package loop

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// loopback trusts what connects in these tests, and 10.0.0.0/8.
func loopback(a netip.Addr) bool { return a.IsLoopback() || a.Is4() && a.As4()[0] == 10 }

// opened is a handler that tells the clients' addresses of what opens.
func opened() (*handler, chan netip.AddrPort) {
	clients := make(chan netip.AddrPort, 16)
	return &handler{open: func(c *Conn) { clients <- c.Client() }}, clients
}

func TestATrustedProxySaysWhoTheClientIs(t *testing.T) {
	h, clients := opened()
	s := serve(t, Config{Trusted: loopback}, h)
	for _, test := range []struct{ line, want string }{
		{"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.1", "1.2.3.4:0"},
		{"X-Forwarded-For: [2001:db8::1]:443", "[2001:db8::1]:443"},
		{"X-Forwarded-For: unknown", ""},
		{"X-Forwarded-For: 10.0.0.1", ""},
		{"X: y", ""},
	} {
		c := s.dial()
		c.write(request(test.line))
		c.wantUpgrade()
		want := test.want
		if want == "" {
			want = c.LocalAddr().String()
		}
		if got := await(t, clients); got.String() != want {
			t.Errorf("%s: the client is %v, want %s", test.line, got, want)
		}
	}
}

func TestNobodyElseSaysWhoTheClientIs(t *testing.T) {
	h, clients := opened()
	s := serve(t, Config{Trusted: func(a netip.Addr) bool { return !a.IsLoopback() }}, h)
	c := s.dial()
	c.write(request("X-Forwarded-For: 1.2.3.4"))
	c.wantUpgrade()
	if got := await(t, clients); got.String() != c.LocalAddr().String() {
		t.Errorf("the client is %v, want %s", got, c.LocalAddr())
	}
}

// Behind a balancer everyone comes from its address. Their handshakes count in
// all, and for an address once it is known whose it is.
func TestAProxysOwnAddressHasNoLimit(t *testing.T) {
	needsPlain(t)
	conns := make(chan net.Conn, 3)
	h, _ := opened()
	s := serve(t, Config{Trusted: loopback, Gate: NewGate(3, 1), Plain: func(c net.Conn) { conns <- c }}, h)
	first, second := s.dial(), s.dial()
	s.settle("two handshakes of one address", func() bool { return s.metrics.Handshakes.Value() == 2 })
	plain := func(client string) []byte {
		return []byte("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + client + "\r\n\r\n")
	}
	first.write(plain("1.2.3.4"))
	held := await(t, conns)
	if got := held.RemoteAddr().String(); got != "1.2.3.4:0" {
		t.Errorf("net/http sees %s", got)
	}
	second.write(plain("1.2.3.4"))
	second.wantRefusal(429, frame.ReasonHandshakesPerAddress)
	third := s.dial()
	third.write(plain("1.2.3.5"))
	other := await(t, conns)
	s.dial() // takes the last place
	s.settle("an unfinished handshake", func() bool { return s.metrics.Handshakes.Value() == 1 })
	s.dial().wantRefusal(503, frame.ReasonHandshakes)
	held.Close()
	other.Close()
	c := s.dial()
	c.write(plain("1.2.3.4"))
	await(t, conns).Close()
	g := s.loop.cfg.Gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byAddress) != 0 {
		t.Errorf("the gate still counts %v", g.byAddress)
	}
}

const (
	proxyLine    = "PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n"
	proxyUnknown = "PROXY UNKNOWN\r\n"
	proxyBinary  = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x0a\x00\x00\x01\x16\x2e\x01\xbb"
	proxyChained = "PROXY TCP4 10.0.0.9 10.0.0.1 5678 443\r\n"
)

func TestProxyHeaderMaySplitAtEveryByte(t *testing.T) {
	needsPlain(t)
	h, clients := opened()
	s := serve(t, Config{Trusted: loopback, ProxyProtocol: true}, h)
	for _, header := range []string{proxyLine, proxyBinary} {
		whole := append([]byte(header), append(request(), masked(frame.OpText, "behind the head")...)...)
		for at := 1; at < len(whole); at += 1 + at/len(header)*7 {
			c := s.dial()
			c.write(whole[:at])
			if at%8 == 0 {
				// Without the wait the two parts may well be read as one.
				s.settle("the first part is read", s.headsBegun)
			}
			c.write(whole[at:])
			c.wantUpgrade()
			c.want(frame.OpText, "behind the head")
			if got := await(t, clients).String(); got != "1.2.3.4:5678" {
				t.Fatalf("split at %d: the client is %s", at, got)
			}
			c.Close()
		}
	}
	c := s.dial()
	for _, b := range append([]byte(proxyLine), request()...) {
		c.write([]byte{b})
	}
	c.wantUpgrade()
}

func TestAProxyHeaderSaysWhoTheClientIs(t *testing.T) {
	needsPlain(t)
	h, clients := opened()
	s := serve(t, Config{Trusted: loopback, ProxyProtocol: true}, h)
	for _, test := range []struct{ header, line, want string }{
		{proxyLine, "X: y", "1.2.3.4:5678"},
		{proxyLine, "X-Forwarded-For: 6.6.6.6", "1.2.3.4:5678"}, // which the client has written
		{proxyUnknown, "X: y", ""},
		{proxyUnknown, "X-Forwarded-For: 6.6.6.6", ""}, // whose, nobody knows
		{proxyChained, "X-Forwarded-For: 2.3.4.5", "2.3.4.5:0"},
		{proxyChained, "X: y", "10.0.0.9:5678"},
	} {
		c := s.dial()
		c.write([]byte(test.header))
		c.write(request(test.line))
		c.wantUpgrade()
		want := test.want
		if want == "" {
			want = c.LocalAddr().String()
		}
		if got := await(t, clients).String(); got != want {
			t.Errorf("%q, %s: the client is %s, want %s", test.header, test.line, got, want)
		}
	}
}

func TestAProxyWithoutItsHeaderIsRefused(t *testing.T) {
	needsPlain(t)
	s := serve(t, Config{Trusted: loopback, ProxyProtocol: true}, &handler{})
	for i, sent := range []string{string(request()), "\x16\x03\x01", "PROXY TCP4 1.2.3.4\r\n"} {
		c := s.dial()
		c.write([]byte(sent))
		c.wantRefusal(400, "PROXY header")
		s.wantRejected(frame.ReasonProxyHeader, i+1)
	}
}

// Who is no proxy of ours is served as it is, and its header is no request.
func TestAProxyHeaderFromElsewhereIsNotBelieved(t *testing.T) {
	needsPlain(t)
	h, clients := opened()
	s := serve(t, Config{Trusted: func(netip.Addr) bool { return false }, ProxyProtocol: true}, h)
	c := s.connect()
	if got := await(t, clients).String(); got != c.LocalAddr().String() {
		t.Errorf("the client is %s, want %s", got, c.LocalAddr())
	}
	for i, header := range []string{proxyLine, proxyBinary} {
		c := s.dial()
		c.write([]byte(header))
		c.write(request())
		c.wantRefusal(400, "bad_request")
		s.wantRejected(frame.ReasonBadRequest, i+1)
	}
	s = serve(t, Config{Trusted: loopback}, h) // it is not asked for
	c = s.dial()
	c.write([]byte(proxyLine))
	c.write(request())
	c.wantRefusal(400, "bad_request")
}

func TestAClientBehindAProxyHeaderHasItsOwnLimit(t *testing.T) {
	needsPlain(t)
	s := serve(t, Config{Trusted: loopback, ProxyProtocol: true, Gate: NewGate(0, 1)}, &handler{})
	first := s.dial()
	first.write([]byte(proxyLine))
	s.settle("its header is read", s.headsBegun)
	s.dial() // nothing is known of it
	unknown := s.dial()
	unknown.write([]byte(proxyUnknown))
	other := s.dial()
	other.write([]byte("PROXY TCP4 1.2.3.5 10.0.0.1 5678 443\r\n"))
	second := s.dial()
	second.write([]byte(proxyLine))
	second.wantRefusal(429, frame.ReasonHandshakesPerAddress)
	for _, c := range []*client{first, unknown, other} {
		c.write(request())
		c.wantUpgrade()
	}
	third := s.dial()
	third.write([]byte(proxyLine))
	third.write(request())
	third.wantUpgrade()
}

func TestAPlainRequestBehindAProxyHeaderIsHandedOver(t *testing.T) {
	needsPlain(t)
	conns := make(chan net.Conn, 1)
	s := serve(t, Config{Trusted: loopback, ProxyProtocol: true, Plain: func(c net.Conn) { conns <- c }}, &handler{})
	const sent = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, header := range []string{proxyLine, proxyBinary} {
		s.dial().write([]byte(header + sent))
		plain := await(t, conns)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(plain, got); err != nil || string(got) != sent || plain.RemoteAddr().String() != "1.2.3.4:5678" {
			t.Errorf("read %q, %v, from %v", got, err, plain.RemoteAddr())
		}
		plain.Close()
	}
}

func TestIdentifyingCountsForTheAddress(t *testing.T) {
	g := NewGate(0, 1)
	a := netip.MustParseAddr("2001:db8::1")
	for range 3 {
		if r := g.enter(netip.Addr{}); r != nil {
			t.Fatalf("without an address: %v", r)
		}
	}
	if r := g.identify(a); r != nil {
		t.Fatalf("the first: %v", r)
	}
	if r := g.identify(netip.MustParseAddr("2001:db8::2")); r == nil || r.Status != 429 {
		t.Errorf("the second of a /64: %v, want 429", r)
	}
	g.leave(netip.Addr{}) // who was refused is counted for no address
	if r := g.identify(a); r == nil {
		t.Error("the first has not left, and a second is let in")
	}
	g.leave(a)
	if r := g.identify(a); r != nil {
		t.Errorf("after the first has left: %v", r)
	}
}
