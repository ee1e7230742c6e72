package loop

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

var heartbeats = Config{HeartbeatInterval: 25 * time.Second, HeartbeatTimeout: 60 * time.Second}

// steps moves the clock by n seconds, one by one, and waits for what comes of it.
func (s *server) steps(n int, after func(second int)) {
	for i := range n {
		s.advance(time.Second)
		after(i + 1)
	}
}

func TestSilentConnectionIsPingedAndItsPongIsLife(t *testing.T) {
	var conn *Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	pings, last := 0, 0
	s.steps(300, func(second int) {
		sent := false
		s.do(func() { sent = conn.unanswered > 0 })
		if !sent {
			return
		}
		c.want(frame.OpPing, "")
		if pings > 0 && (second-last < 24 || second-last > 27) {
			t.Errorf("ping %d came %d s after the last", pings, second-last)
		}
		pings, last = pings+1, second
		c.send(frame.OpPong, "")
		s.settle("the pong is read", func() bool { return conn.unanswered == 0 })
	})
	if pings < 11 || pings > 13 {
		t.Errorf("%d pings in 300 s", pings)
	}
	if got := s.counted("fanfare_heartbeat_rtt_seconds_count"); got == "0" {
		t.Error("no RTT observed")
	}
}

func TestTrafficSparesThePing(t *testing.T) {
	var conn *Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conn = c; c.flags &^= flagUnpinged }})
	c := s.connect()
	s.steps(100, func(second int) {
		if second%20 == 0 {
			c.send(frame.OpText, "x")
			c.want(frame.OpText, "x")
		}
	})
	s.do(func() {
		if conn.pingAt != 0 {
			t.Error("pinged while there was traffic")
		}
	})
}

func TestFirstPingsAreSpread(t *testing.T) {
	var conns []*Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conns = append(conns, c) }})
	for range 32 {
		s.connect()
	}
	earliest, latest := int64(1)<<62, int64(0)
	s.do(func() {
		for _, c := range conns {
			earliest, latest = min(earliest, c.due), max(latest, c.due)
		}
	})
	if spread := time.Duration(latest - earliest); spread < 8*time.Second || latest > int64(25*time.Second) {
		t.Errorf("first pings from %v to %v", time.Duration(earliest), time.Duration(latest))
	}
}

func TestPingsGoOutTogether(t *testing.T) {
	var conns []*Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conns = append(conns, c) }})
	for range 16 {
		s.connect()
	}
	beat := int64(heartbeats.HeartbeatInterval) / beats
	s.steps(30, func(int) {}) // each is pinged, first by chance and then by silence
	s.do(func() {
		for _, c := range conns {
			if c.pingAt == 0 || c.due%beat != 0 {
				t.Errorf("pinged at %v, and next at %v", time.Duration(c.pingAt), time.Duration(c.due))
			}
			if early := c.pingAt + int64(heartbeats.HeartbeatInterval) - c.due; early > 0 || early <= -beat {
				t.Errorf("the next ping is %v early", time.Duration(early))
			}
		}
	})
}

func TestBeatLeavesTimeForThePong(t *testing.T) {
	for _, test := range []struct{ interval, timeout, beat time.Duration }{
		{32 * time.Second, time.Minute, 500 * time.Millisecond},
		{32 * time.Second, 0, 500 * time.Millisecond},
		{32 * time.Second, 33 * time.Second, 250 * time.Millisecond},
		{32 * time.Second, 32*time.Second + 80*time.Millisecond, 0},
		{time.Second, time.Minute, 0},
		{0, time.Minute, 0},
	} {
		c := Config{HeartbeatInterval: test.interval, HeartbeatTimeout: test.timeout}
		if got := time.Duration(beatOf(&c)); got != test.beat {
			t.Errorf("interval %v, timeout %v: %v, want %v", test.interval, test.timeout, got, test.beat)
		}
	}
}

func TestManyDeadlinesAtOnceAreJudgedInParts(t *testing.T) {
	l := &Loop{events: make([]poll.Event, 2), slots: make([]*Conn, judgedAtOnce+1), handler: &handler{}}
	l.wheel.conns = &l.slots
	for slot := range l.slots {
		l.slots[slot] = &Conn{due: 1, state: closed, slot: uint32(slot)}
		l.wheel.add(l.slots[slot])
	}
	l.now = int64(100 * time.Millisecond)
	left := func() (n int) {
		for _, c := range l.slots {
			if c.flags&flagTimed != 0 {
				n++
			}
		}
		return n
	}
	l.timers(0)
	if n := left(); n != 1 || !l.late {
		t.Fatalf("%d are left, and the next turn is to wait: %v", n, !l.late)
	}
	l.timers(0)
	if n := left(); n != 0 || l.late {
		t.Errorf("%d are left, and the next turn is to come at once: %v", n, l.late)
	}
}

func TestHalfOpenConnectionEnds(t *testing.T) {
	s := serveManual(t, heartbeats, &handler{})
	c := s.connect()
	s.steps(59, func(int) {})
	if got := s.metrics.Connections.Value(); got != 1 {
		t.Fatalf("ended early: %d connections", got)
	}
	s.steps(2, func(int) {})
	s.wantClosed(metrics.CloseHeartbeat)
	if got := s.counted(`fanfare_heartbeat_timeouts_total{kind="silent"}`); got != "1" {
		t.Errorf("counted %s", got)
	}
	s.steps(3, func(int) {})
	if n := s.loop.Conns(); n != 0 {
		t.Errorf("%d sockets after the linger", n)
	}
	for {
		if f := c.frame(); f.Header.OpCode == frame.OpClose {
			if string(f.Payload[:2]) != "\x0f\xa2" {
				t.Errorf("closed with % x, want 4002", f.Payload[:2])
			}
			break
		}
	}
}

func TestUnfinishedMessageEnds(t *testing.T) {
	s := serveManual(t, heartbeats, &handler{})
	c := s.connect()
	whole := masked(frame.OpText, string(make([]byte, 100)))
	s.do(func() {})
	s.steps(59, func(second int) {
		// Neither single bytes nor control frames before it put the deadline off.
		if second == 1 {
			c.send(frame.OpPing, "")
		}
		c.write(whole[second-1 : second])
	})
	if got := s.metrics.Connections.Value(); got != 1 {
		t.Fatalf("ended early: %d connections", got)
	}
	s.steps(4, func(int) {})
	s.wantClosed(metrics.CloseSlowMessage)
}

func TestPeerThatFallsSilentInsideAFrameTimesOut(t *testing.T) {
	s := serveManual(t, heartbeats, &handler{})
	c := s.connect()
	c.write(masked(frame.OpText, "cut off")[:9])
	s.do(func() {})
	s.steps(61, func(int) {})
	s.wantClosed(metrics.CloseHeartbeat)
	for {
		if f := c.frame(); f.Header.OpCode == frame.OpClose {
			if string(f.Payload[:2]) != "\x0f\xa2" {
				t.Errorf("closed with % x, want 4002", f.Payload[:2])
			}
			break
		}
	}
}

func TestEndlessPingsAreNoUnfinishedMessage(t *testing.T) {
	var conn *Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	ping := masked(frame.OpPing, "x")
	c.write(ping[:3])
	s.steps(100, func(int) {
		// Each read ends inside a ping, yet each ping ends.
		c.write(append(append([]byte(nil), ping[3:]...), ping[:3]...))
		for c.frame().Header.OpCode != frame.OpPong {
		}
	})
	s.do(func() {
		if conn.state != open {
			t.Error("ended")
		}
	})
}

func TestSocketThatTakesNothingEnds(t *testing.T) {
	clock := new(atomic.Int64)
	cfg := heartbeats
	cfg.Clock = clock.Load
	s, c, _, _ := blockedConn(t, cfg, &handler{})
	s.clock = clock
	s.steps(59, func(int) {
		if _, err := c.Write(masked(frame.OpPong, "")); err != nil {
			t.Fatal(err)
		}
	})
	if got := s.metrics.Connections.Value(); got != 1 {
		t.Fatalf("ended early: %d connections", got)
	}
	s.steps(2, func(int) {})
	s.wantClosed(metrics.CloseHeartbeat)
	if got := s.counted(`fanfare_heartbeat_timeouts_total{kind="write"}`); got != "1" {
		t.Errorf("counted %s", got)
	}
	s.steps(3, func(int) {})
	if n := s.loop.Conns(); n != 0 {
		t.Errorf("%d sockets after the linger", n)
	}
}

func TestStallJudgesNobodyBeforeReading(t *testing.T) {
	var conn *Conn
	s := serveManual(t, heartbeats, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	s.steps(59, func(int) {})
	// The process stops for an hour; the pong has long arrived when it goes on.
	stalled, resume := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(stalled); <-resume })
	await(t, stalled)
	c.send(frame.OpPong, "")
	s.clock.Add(int64(time.Hour))
	close(resume)
	s.do(func() {
		if late := time.Duration(s.loop.Now()) - 59*time.Second; late > 3*time.Second {
			t.Errorf("the clock went on by %v over the stall", late)
		}
		if conn.state != open {
			t.Error("judged before it was read")
		}
	})
	s.settle("the pong is read", func() bool { return conn.lastSeen > int64(58*time.Second) })
	s.steps(30, func(int) {})
	if got := s.metrics.Connections.Value(); got != 1 {
		t.Errorf("%d connections after the stall", got)
	}
}

func TestFullBatchesPutDeadlinesOffOnlyUntilAllHaveBeenRead(t *testing.T) {
	l := &Loop{events: make([]poll.Event, 2), slots: make([]*Conn, 5), handler: &handler{}}
	l.wheel.conns = &l.slots
	for slot := range uint32(2) {
		l.slots[slot] = &Conn{due: 1, state: closed, slot: slot}
		l.wheel.add(l.slots[slot])
	}
	l.now = int64(100 * time.Millisecond)
	for range 2 {
		l.timers(2)
		if l.wheel.next() != 1 {
			t.Fatal("judged while events were left")
		}
	}
	l.timers(2)
	if l.wheel.next() == 1 {
		t.Error("not judged after every socket had its turn")
	}
}

func TestTickComesOnceASecond(t *testing.T) {
	h := &handler{}
	s := serveManual(t, Config{}, h)
	before := 0
	s.do(func() { before = h.ticks })
	s.advance(10 * time.Second)
	s.do(func() {
		if got := h.ticks - before; got != 10 {
			t.Errorf("%d ticks in 10 s", got)
		}
	})
}
