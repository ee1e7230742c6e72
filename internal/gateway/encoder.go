package gateway

import (
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// encoder makes the frames of messages. It is pooled because a deflater's tables
// are some hundred KiB, and appends come from few goroutines of the broker's
// that this package does not know.
type encoder struct {
	payload  []byte
	header   []byte
	deflated []byte
	deflater *frame.Deflater
	arrivals []arrival // traced messages that were appended, and not shown to the loops
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// append frames a message and appends it to its room's log.
func (e *encoder) append(l *room.Log, m *broker.Message) {
	e.payload = protocol.AppendMessage(e.payload[:0], &protocol.Message{
		Room: m.Room, Epoch: m.Epoch, Seq: m.Seq, Time: m.Time, From: m.From, Event: m.Event, Data: m.Data,
	})
	e.header = frame.AppendHeader(e.header[:0], frame.OpText, len(e.payload), false)
	f := room.Frame{Seq: m.Seq, Time: m.Time, Data: len(m.Data), Header: e.header, Payload: e.payload}
	if l.WantsDeflated() {
		if e.deflater == nil {
			e.deflater = frame.NewDeflater()
		}
		e.deflated = e.deflater.AppendFrame(e.deflated[:0], frame.OpText, e.payload)
		f.Deflated = e.deflated
	}
	l.Append(f)
}
