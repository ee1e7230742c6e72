package loop

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func TestOtherLimitsHoldForConnectionsThatAreOpen(t *testing.T) {
	s := serve(t, Config{Limits: Limits{MessageBytes: 100}}, &handler{})
	large, longer := strings.Repeat("a", 100), strings.Repeat("b", 200)
	stays, goes := s.connect(), s.connect()
	stays.send(frame.OpText, large)
	stays.want(frame.OpText, large)
	s.do(func() { s.loop.SetLimits(Limits{Head: s.loop.cfg.Head, MessageBytes: 200}) })
	stays.send(frame.OpText, longer)
	stays.want(frame.OpText, longer)
	s.do(func() { s.loop.SetLimits(Limits{Head: s.loop.cfg.Head, MessageBytes: 50}) })
	goes.send(frame.OpText, large)
	goes.wantClose(1009)
	s.wantClosed(metrics.CloseTooBig)
}

func TestALowerBoundOfRepliesHoldsForWhatIsQueued(t *testing.T) {
	s, _, conn, _ := blockedConn(t, Config{Limits: Limits{ReplyBytes: 1 << 20}}, &handler{})
	reply := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("r"), 1000))
	s.do(func() {
		for range 100 {
			conn.Send(reply)
		}
		s.loop.SetLimits(Limits{Head: s.loop.cfg.Head, ReplyBytes: 50_000})
		conn.Send(reply)
	})
	s.wantClosed(metrics.CloseReplies)
}

func TestLimitsOfTheHeadHoldForTheNextHandshake(t *testing.T) {
	s := serveManual(t, Config{Limits: Limits{HandshakeTimeout: 10 * time.Second}}, &handler{})
	before := s.dial()
	before.write(request()[:30])
	s.settle("a head has begun", s.headsBegun)
	s.do(func() {
		s.loop.SetLimits(Limits{Head: frame.HeadLimits{Bytes: 400, Headers: 100}, HandshakeTimeout: time.Second})
	})
	s.dial().write(request("X: " + strings.Repeat("y", 500)))
	s.wantRejected(frame.ReasonHeadTooLarge, 1)
	after := s.dial()
	after.write(request()[:30])
	s.settle("another has begun", func() bool { return s.metrics.Handshakes.Value() == 2 && s.headsBegun() })
	s.advance(1200 * time.Millisecond)
	after.wantRefusal(408, "within 1s")
	s.wantRejected(frame.ReasonTimeout, 1)
	before.write(request()[30:])
	before.wantUpgrade()
}
