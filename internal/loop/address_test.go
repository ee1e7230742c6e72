package loop

import (
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
