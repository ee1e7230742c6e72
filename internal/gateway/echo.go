package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
)

// echo is a connection of GET /echo: it gets back what it sends, text or binary,
// by the same engine as all others. It is for conformance suites and for trying
// whether WebSockets pass.
type echo struct{ shard *shard }

func (e *echo) message(c *loop.Conn, binary bool, payload []byte) {
	s := e.shard
	op := frame.OpText
	if binary {
		op = frame.OpBinary
	}
	if c.Deflate() {
		if s.deflater == nil {
			s.deflater = frame.NewDeflater()
		}
		s.frame = s.deflater.AppendFrame(s.frame[:0], op, payload)
	} else {
		s.frame = frame.AppendFrame(s.frame[:0], op, payload)
	}
	c.Send(s.frame)
}
