package loop

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func TestViolationsGetTheirCodeAndTheSocketEnds(t *testing.T) {
	tests := []struct {
		name  string
		bytes string
		code  uint16
		why   metrics.CloseReason
	}{
		{"unmasked", "\x81\x01a", 1002, metrics.CloseProtocol},
		{"reserved opcode", string(masked(3, "")), 1002, metrics.CloseProtocol},
		{"binary", string(masked(frame.OpBinary, "x")), 1003, metrics.CloseUnsupported},
		{"not UTF-8", string(masked(frame.OpText, "\xff")), 1007, metrics.CloseInvalidUTF8},
		{"too big, by its header", "\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00", 1009, metrics.CloseTooBig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			messages := 0
			s := serve(t, Config{Limits: Limits{MessageBytes: 1000}}, &handler{message: func(*Conn, bool, []byte) { messages++ }})
			c := s.connect()
			// What comes behind the violation would turn a plain close into a reset,
			// which overtakes the close frame.
			behind := strings.Repeat(string(masked(frame.OpText, "behind")), 10000)
			c.write([]byte(test.bytes))
			_, _ = c.Write([]byte(behind))
			c.wantClose(test.code)
			c.wantEnd()
			c.Close()
			s.wantClosed(test.why)
			s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
			if messages != 0 {
				t.Errorf("%d messages read after the violation", messages)
			}
		})
	}
}

func TestPeersCloseIsEchoed(t *testing.T) {
	tests := []struct {
		payload string
		code    uint16
		why     metrics.CloseReason
	}{
		{"\x03\xe8bye", 1000, metrics.CloseNormal},
		{"\x03\xe9", 1001, metrics.CloseGoingAway},
		{"\x0f\xa0", 4000, metrics.CloseOther},
		{"", frame.CodeNoStatus, metrics.CloseOther},
	}
	for _, test := range tests {
		s := serve(t, Config{}, &handler{})
		c := s.connect()
		c.send(frame.OpText, "first")
		c.send(frame.OpClose, test.payload)
		c.want(frame.OpText, "first")
		c.wantClose(test.code)
		c.wantEnd()
		c.Close()
		s.wantClosed(test.why)
		s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
	}
}

func TestOwnCloseWaitsForThePeers(t *testing.T) {
	var conn *Conn
	var messages, closes int
	s := serveManual(t, Config{}, &handler{
		open:    func(c *Conn) { conn = c },
		message: func(*Conn, bool, []byte) { messages++ },
		closed:  func(*Conn) { closes++ },
	})
	c := s.connect()
	s.do(func() {
		conn.Send(frame.AppendFrame(nil, frame.OpText, []byte("last")))
		conn.Close(4005, "go", metrics.CloseDrain)
		conn.Close(1000, "again", metrics.CloseNormal)
		conn.Send(frame.AppendFrame(nil, frame.OpText, []byte("too late")))
		if conn.Ready() || conn.WriteShared([]byte("x")) != 0 {
			t.Error("takes shared bytes after Close")
		}
		if closes != 0 {
			t.Error("Closed from within Close")
		}
	})
	c.want(frame.OpText, "last")
	c.wantClose(4005)
	s.wantClosed(metrics.CloseDrain)
	if closes != 1 {
		t.Errorf("Closed came %d times", closes)
	}
	c.send(frame.OpText, "still talking")
	c.send(frame.OpClose, "\x0f\xa5")
	c.wantEnd()
	c.Close()
	s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
	if messages != 0 {
		t.Error("a message after Close")
	}
}

func TestCloseGivesUpAfterTheLinger(t *testing.T) {
	var conn *Conn
	s := serveManual(t, Config{Linger: 2 * time.Second}, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	s.do(func() { conn.Close(1012, "", metrics.CloseDrain) })
	c.wantClose(1012)
	s.advance(1900 * time.Millisecond)
	if s.loop.Conns() != 1 {
		t.Fatal("ended before the linger")
	}
	s.advance(200 * time.Millisecond)
	s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
	c.wantEnd()
}

func TestSlowConsumerHasTimeToReadUpToItsClose(t *testing.T) {
	clock := new(atomic.Int64)
	cfg := Config{Linger: 2 * time.Second, Clock: clock.Load}
	s, c, conn, shared := blockedConn(t, cfg, &handler{})
	s.clock = clock
	s.do(func() { conn.Close(4003, "slow consumer", metrics.CloseSlowConsumer) })
	s.advance(slowLinger - time.Second)
	for {
		f := c.frame()
		if f.Header.OpCode == frame.OpClose {
			break
		}
		if !bytes.Equal(f.Payload, shared[4:]) {
			t.Fatal("a shared frame was cut")
		}
	}
	s.advance(2 * time.Second)
	s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
}

func TestPeerThatShutsItsWritingSideGetsItsAnswers(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	c := s.connect()
	// The question and the end are read in one turn.
	held, goOn := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(held); <-goOn })
	await(t, held)
	c.send(frame.OpText, "question")
	err := c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	close(goOn)
	if err != nil {
		t.Fatal(err)
	}
	c.want(frame.OpText, "question")
	c.wantEnd()
	s.wantClosed(metrics.CloseEOF)
}

func TestAbortResets(t *testing.T) {
	var conn *Conn
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	s.do(func() { conn.Abort(metrics.CloseSlowConsumer) })
	if _, err := c.r.ReadByte(); err == nil || err.Error() == "EOF" {
		t.Errorf("got %v, want a reset", err)
	}
	s.wantClosed(metrics.CloseSlowConsumer)
}

func TestPanicEndsItsConnectionAlone(t *testing.T) {
	parts := map[string]func(h *handler, bang func(*Conn)){
		"open":    func(h *handler, bang func(*Conn)) { h.open = bang },
		"control": func(h *handler, bang func(*Conn)) { h.control = func(c *Conn, _ int) { bang(c) } },
		"message": func(h *handler, bang func(*Conn)) { h.message = func(c *Conn, _ bool, _ []byte) { bang(c) } },
	}
	for name, set := range parts {
		t.Run(name, func(t *testing.T) {
			h := &handler{}
			s := serve(t, Config{}, h)
			other := s.connect()
			s.do(func() { set(h, func(*Conn) { panic("bang") }) })
			c := s.dial()
			c.t = t
			c.write(append(request(), masked(frame.OpText, "x")...))
			c.wantUpgrade()
			c.wantClose(1011)
			c.wantEnd()
			c.Close()
			s.wantClosed(metrics.CloseInternal)
			s.do(func() { h.open, h.control, h.message = nil, nil, nil })
			other.send(frame.OpText, "alive")
			other.want(frame.OpText, "alive")
			if got := s.metrics.Panics.Value(); got != 1 {
				t.Errorf("%d panics counted", got)
			}
		})
	}
}

func TestPanicInUpgradeIsRefused(t *testing.T) {
	s := serve(t, Config{}, &handler{upgrade: func(*Conn, *frame.Request) (Admission, *frame.Refusal) { panic("bang") }})
	c := s.dial()
	c.write(request())
	c.wantRefusal(500, "internal")
}

func TestPanicInClosedLeavesNothing(t *testing.T) {
	s := serve(t, Config{}, &handler{closed: func(*Conn) { panic("bang") }})
	s.connect().Close()
	s.wantClosed(metrics.CloseEOF)
	s.settle("the socket is freed", func() bool { return s.loop.Conns() == 0 })
}

func TestPingsAreAnsweredEach(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	c := s.connect()
	var b []byte
	for _, p := range []string{"a", "b", "", "c"} {
		b = append(b, masked(frame.OpPing, p)...)
	}
	c.write(b)
	for _, p := range []string{"a", "b", "", "c"} {
		c.want(frame.OpPong, p)
	}
}
