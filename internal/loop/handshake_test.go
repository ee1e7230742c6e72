package loop

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

func TestHandshakeMaySplitAtEveryByte(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	whole := append(request("Sec-WebSocket-Protocol: test"), masked(frame.OpText, "behind the head")...)
	for at := 1; at < len(whole); at++ {
		c := s.dial()
		c.write(whole[:at])
		if at%16 == 0 {
			// Without the wait the two parts may well be read as one.
			s.settle("the first part is read", s.headsBegun)
		}
		c.write(whole[at:])
		c.wantUpgrade()
		c.want(frame.OpText, "behind the head")
		c.Close()
	}
}

func TestHandshakeByteByByteReachesTheReader(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	c := s.dial()
	for i, b := range append(request(), masked(frame.OpText, "slow")...) {
		c.write([]byte{b})
		if i == 0 {
			s.settle("a part of the head has come", func() bool { return s.headsBegun() })
		}
	}
	c.wantUpgrade()
	c.want(frame.OpText, "slow")
	s.do(func() {
		if len(s.loop.partials) == 0 {
			t.Error("the partial that was used is not spared")
		}
	})
}

func TestSlowHeadEndsAtItsDeadline(t *testing.T) {
	s := serveManual(t, Config{Limits: Limits{HandshakeTimeout: 10 * time.Second}}, &handler{})
	c := s.dial()
	c.write(request()[:30])
	s.settle("the head has begun", s.headsBegun)
	s.advance(9900 * time.Millisecond)
	c.write([]byte("x")) // which does not put it off
	s.do(func() {
		if s.loop.metrics.Handshakes.Value() != 1 {
			t.Error("ended before its deadline")
		}
	})
	s.advance(200 * time.Millisecond)
	c.wantRefusal(408, "timeout")
	s.wantRejected(frame.ReasonTimeout, 1)
}

func TestUnfinishedHandshakesAreCapped(t *testing.T) {
	needsPlain(t)
	tests := []struct {
		name   string
		gate   *Gate
		status int
		reason string
	}{
		{"in all", NewGate(2, 0), 503, frame.ReasonHandshakes},
		{"of one address", NewGate(0, 2), 429, frame.ReasonHandshakesPerAddress},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, Config{Gate: test.gate}, &handler{})
			first, second := s.dial(), s.dial()
			s.settle("two handshakes", func() bool { return s.metrics.Handshakes.Value() == 2 })
			s.dial().wantRefusal(test.status, test.reason)
			s.wantRejected(test.reason, 1)
			first.write(request())
			first.wantUpgrade()
			s.connect() // takes the place
			s.dial()
			s.settle("two handshakes again", func() bool { return s.metrics.Handshakes.Value() == 2 })
			second.Close()
			s.wantRejected(frame.ReasonClosed, 1)
			s.connect()
		})
	}
}

func TestCapsThatAreSetLaterCountWhoCameBefore(t *testing.T) {
	g := NewGate(0, 0)
	a := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		if r := g.enter(a); r != nil {
			t.Fatalf("without a cap: %v", r)
		}
	}
	g.SetCaps(0, 3)
	if r := g.enter(a); r == nil || r.Status != 429 {
		t.Errorf("a fourth of three: %v", r)
	}
	g.leave(a)
	if r := g.enter(a); r != nil {
		t.Errorf("after one has left: %v", r)
	}
	g.SetCaps(3, 0)
	if r := g.enter(netip.MustParseAddr("192.0.2.2")); r == nil || r.Status != 503 {
		t.Errorf("past the cap of all: %v", r)
	}
	for range 3 {
		g.leave(a)
	}
	if g.unfinished != 0 || len(g.byAddress) != 0 {
		t.Errorf("%d unfinished, %d addresses when all have left", g.unfinished, len(g.byAddress))
	}
}

func TestAnIPv6AddressCountsAsItsNetwork(t *testing.T) {
	g := NewGate(0, 1)
	a := netip.MustParseAddr("2001:db8::1")
	if g.enter(a) != nil {
		t.Fatal("the first is refused")
	}
	if r := g.enter(netip.MustParseAddr("2001:db8::2:3")); r == nil || r.Status != 429 {
		t.Errorf("the same /64: %v, want 429", r)
	}
	if r := g.enter(netip.MustParseAddr("2001:db8:0:1::1")); r != nil {
		t.Errorf("another /64: %v", r)
	}
	g.leave(netip.MustParseAddr("2001:db8::9"))
	if r := g.enter(a); r != nil {
		t.Errorf("after one has left: %v", r)
	}
}

func TestWrongHeadsAreRefusedInWords(t *testing.T) {
	s := serve(t, Config{}, &handler{
		upgrade: func(_ *Conn, r *frame.Request) (Admission, *frame.Refusal) {
			if r.Path == "/ws" {
				return Admission{}, nil
			}
			return Admission{}, &frame.Refusal{Status: 404, Message: "no such path", Reason: frame.ReasonPath}
		},
		closed: func(*Conn) { t.Error("Closed of what never opened") },
	})
	tests := []struct {
		name, head string
		status     int
		word       string
	}{
		{"too large", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 3000), 431, "head_too_large"},
		{"garbage", "\x16\x03\x01\r\n\r\n", 400, "bad_request"},
		{"by the handler", strings.Replace(string(request()), "/ws", "/other", 1), 404, "no such path"},
		{"wrong version", strings.Replace(string(request()), "13", "12", 1), 426, "Sec-WebSocket-Version: 13"},
		{"plain, and nobody takes it", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, "websocket"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			c.write([]byte(test.head))
			c.wantRefusal(test.status, test.word)
		})
	}
}

func TestPlainRequestIsHandedOverWithItsBytes(t *testing.T) {
	conns := make(chan net.Conn, 1)
	s := serve(t, Config{Plain: func(c net.Conn) { conns <- c }}, &handler{})
	const sent = "POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n01234"
	c := s.dial()
	c.write([]byte(sent[:20]))
	s.settle("the head has begun", s.headsBegun)
	c.write([]byte(sent[20:]))
	plain := await(t, conns)
	defer plain.Close()
	c.write([]byte("56789"))
	got := make([]byte, len(sent)+5)
	if _, err := io.ReadFull(plain, got); err != nil || string(got) != sent+"56789" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := plain.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	plain.Close()
	if b, err := io.ReadAll(c.r); string(b) != "answer" || err != nil {
		t.Errorf("the client got %q, %v", b, err)
	}
	s.settle("the loop has forgotten it", func() bool { return s.loop.Conns() == 0 })
}

// Requests that are no upgrade cost a goroutine each: who does not let them end
// must not have more of them than of handshakes.
func TestAPlainRequestKeepsItsPlaceUntilItIsClosed(t *testing.T) {
	needsPlain(t)
	conns := make(chan net.Conn, 2)
	s := serve(t, Config{Gate: NewGate(0, 1), Plain: func(c net.Conn) { conns <- c }}, &handler{})
	request := []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	s.dial().write(request)
	plain := await(t, conns)
	s.settle("the loop has forgotten it", func() bool { return s.loop.Conns() == 0 })
	s.dial().wantRefusal(429, frame.ReasonHandshakesPerAddress)
	plain.Close()
	plain.Close() // as net/http may
	s.connect().Close()
	s.dial().write(request)
	await(t, conns).Close()
}
