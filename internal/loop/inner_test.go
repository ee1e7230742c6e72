package loop

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// inner connects from within, for a client of that address.
func (s *server) inner(addr string) *client {
	s.t.Helper()
	conn, err := s.loop.Connect(netip.MustParseAddrPort(addr))
	if err != nil {
		s.t.Fatal(err)
	}
	s.dialed++
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{Conn: conn, t: s.t, r: bufio.NewReader(conn)}
}

func TestAnInnerConnectionSpeaksForItsClient(t *testing.T) {
	for _, addr := range []string{"192.0.2.7:5", "10.0.0.1:5"} { // the second is a proxy, whose own header is not asked for
		var client netip.AddrPort
		var proxied bool
		h := &handler{upgrade: func(c *Conn, r *frame.Request) (Admission, *frame.Refusal) {
			client, proxied = c.Client(), c.Proxied()
			return Admission{}, nil
		}}
		s := serve(t, Config{ProxyProtocol: true, Trusted: netip.MustParsePrefix("10.0.0.0/8").Contains}, h)
		c := s.inner(addr)
		c.write(request("X-Forwarded-Proto: https"))
		c.wantUpgrade()
		c.send(frame.OpText, "hello")
		c.want(frame.OpText, "hello")
		s.do(func() {
			if client.String() != addr || !proxied {
				t.Errorf("%s is %s, proxied %v", addr, client, proxied)
			}
		})
		c.Close()
		s.wantClosed(metrics.CloseEOF)
	}
}

func TestAnInnerHandshakeCountsForItsClient(t *testing.T) {
	s := serve(t, Config{Gate: NewGate(0, 1)}, &handler{})
	first := s.inner("192.0.2.7:5")
	first.write([]byte("GET"))
	s.settle("the first has begun", s.headsBegun)
	s.inner("192.0.2.7:6").wantRefusal(429, "")
	other := s.inner("192.0.2.8:5")
	other.write(request())
	other.wantUpgrade()
}

func TestTheKernelHoldsLittleOfAnInnerConnection(t *testing.T) {
	taken := make(chan int, 1)
	h := &handler{open: func(c *Conn) {
		c.Flush() // the answer to the handshake
		run, n := make([]byte, 64<<10), 0
		for c.Ready() {
			n += c.WriteShared(run)
		}
		taken <- n
	}}
	s := serve(t, Config{}, h)
	c := s.inner("192.0.2.7:5")
	c.write(request())
	c.wantUpgrade()
	if n := await(t, taken); n == 0 || n > 4*innerBuffer {
		t.Errorf("%d bytes were taken that nobody reads", n)
	}
}

func TestALoopThatStopsEndsItsInnerConnections(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	c := s.inner("192.0.2.7:5")
	c.write(request())
	c.wantUpgrade()
	s.loop.Stop()
	c.wantClose(1001)
	c.write(masked(frame.OpClose, "\x03\xe9"))
	c.wantEnd()
	if err := await(t, s.stopped); err != nil {
		t.Error(err)
	}
	s.stopped <- nil // for the end of the test
	late, err := s.loop.Connect(netip.MustParseAddrPort("192.0.2.7:5"))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a loop that has ended: %v", err)
	}
}
