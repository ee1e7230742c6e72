package loop

import (
	"bytes"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// blockedConn returns a client that reads nothing and its connection, whose
// socket is full in the middle of a shared frame. All shared frames are the one
// returned.
func blockedConn(t *testing.T, cfg Config, h *handler) (*server, *client, *Conn, []byte) {
	t.Helper()
	var conn *Conn
	h.open = func(c *Conn) { conn = c }
	s := serveOn(t, cfg, h, poll.SocketOptions{NoDelay: true, SendBuffer: 16 << 10})
	c := s.connect()
	shared := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("shared "), 4001))
	// A full socket still takes more once the peer's side has grown its window, or
	// has acknowledged what it has, which it may put off for 40 ms.
	full := time.Now()
	s.settle("the socket is full, and stays so", func() bool {
		if conn.Ready() {
			full = time.Now()
			if n := conn.WriteShared(shared); n < len(shared) && n > 0 {
				conn.Finish(shared[n:])
			}
		}
		_, blocked := conn.Blocked()
		return blocked && conn.QueuedBytes() > 0 && time.Since(full) > 100*time.Millisecond
	})
	return s, c, conn, shared
}

func TestBlockedSocketResumesWithDrained(t *testing.T) {
	drained := make(chan uint64, 1)
	s, c, conn, shared := blockedConn(t, Config{}, &handler{drained: func(c *Conn) {
		if !c.Ready() {
			t.Error("drained, and not ready")
		}
		select {
		case drained <- c.ID():
		default:
		}
	}})
	s.do(func() {
		if conn.Ready() || conn.WriteShared(shared) != 0 {
			t.Error("a full socket takes shared bytes")
		}
		conn.Send(frame.AppendFrame(nil, frame.OpText, []byte("reply")))
	})
	for {
		f := c.frame()
		if string(f.Payload) == "reply" {
			break
		}
		if !bytes.Equal(f.Payload, shared[4:]) {
			t.Fatal("a shared frame was cut")
		}
	}
	if id := await(t, drained); id != conn.ID() {
		t.Errorf("drained %d, not %d", id, conn.ID())
	}
	s.settle("EPOLLOUT is disarmed", func() bool { return conn.flags&flagArmed == 0 && conn.out == nil })
	s.do(func() { conn.WriteShared(frame.AppendFrame(nil, frame.OpText, []byte("again"))) })
	c.want(frame.OpText, "again")
}

func TestOwnKeepsTheRestOfAFrame(t *testing.T) {
	s, c, conn, shared := blockedConn(t, Config{}, &handler{})
	want := bytes.Clone(shared[4:])
	s.do(func() {
		conn.Own()
		clear(shared) // the chunk is let go
		conn.Close(1000, "", metrics.CloseDrain)
	})
	for {
		f := c.frame()
		if f.Header.OpCode == frame.OpClose {
			break
		}
		if !bytes.Equal(f.Payload, want) {
			t.Fatal("the rest of the frame was not kept")
		}
	}
}

func TestUnreadRepliesCloseTheConnection(t *testing.T) {
	const limit = 64 << 10
	s, c, conn, _ := blockedConn(t, Config{Limits: Limits{ReplyBytes: limit}}, &handler{})
	reply := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("r"), 1000))
	s.do(func() {
		for range 1000 {
			conn.Send(reply)
		}
		if q := conn.QueuedBytes(); q > limit+100 {
			t.Errorf("%d bytes queued", q)
		}
	})
	s.wantClosed(metrics.CloseReplies)
	for {
		if f := c.frame(); f.Header.OpCode == frame.OpClose {
			break
		}
	}
	c.send(frame.OpClose, "\x0f\xa3")
	c.wantEnd()
}

func TestManyRepliesInATurnAreNoOverflow(t *testing.T) {
	var conn *Conn
	s := serve(t, Config{Limits: Limits{ReplyBytes: 4096}}, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	page := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("h"), 10000))
	reply := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("r"), 1000))
	s.do(func() {
		conn.Send(page)
		for range 20 {
			conn.Send(reply)
		}
	})
	c.want(frame.OpText, string(page[4:]))
	for range 20 {
		c.want(frame.OpText, string(reply[4:]))
	}
}

func TestFullSocketKeepsOnlyTheNewestPong(t *testing.T) {
	s, c, conn, _ := blockedConn(t, Config{}, &handler{})
	before := 0
	s.do(func() { before = conn.QueuedBytes() })
	for i := range 100 {
		c.send(frame.OpPing, string(rune('a'+i%26)))
	}
	c.send(frame.OpPing, "newest")
	s.settle("the last ping is read", func() bool {
		return conn.out != nil && bytes.HasSuffix(conn.out.pong, []byte("newest"))
	})
	s.do(func() {
		if grown := conn.QueuedBytes() - before; grown > 10 {
			t.Errorf("the pings left %d bytes", grown)
		}
	})
	for {
		f := c.frame()
		if f.Header.OpCode == frame.OpPong {
			if string(f.Payload) != "newest" {
				t.Errorf("pong %q", f.Payload)
			}
			break
		}
	}
}

func TestWriteToADeadSocketTellsClosedLater(t *testing.T) {
	var conn *Conn
	told := false
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }, closed: func(*Conn) { told = true }})
	s.connect()
	s.do(func() {
		// The loop's own descriptor is shut, so that the write fails surely.
		if err := poll.CloseWrite(int(conn.fd)); err != nil {
			t.Error(err)
		}
		if n := conn.WriteShared([]byte("\x81\x01x")); n != 0 || conn.Ready() || told {
			t.Errorf("took %d bytes, ready %v, told within the call %v", n, conn.Ready(), told)
		}
	})
	s.wantClosed(metrics.CloseReset)
	if !told {
		t.Error("Closed was not called")
	}
}

func TestSharedWriteAllocatesNothing(t *testing.T) {
	needsPlain(t) // crypto/tls has its buffers from a pool, which the race detector empties at random
	var conn *Conn
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	shared := frame.AppendFrame(nil, frame.OpText, []byte("x"))
	s.do(func() {
		if n := testing.AllocsPerRun(100, func() {
			if conn.Ready() {
				conn.WriteShared(shared)
			}
		}); n != 0 {
			t.Errorf("%v allocations for a shared write", n)
		}
	})
	c.want(frame.OpText, "x")
}
