package faulty

import (
	"bytes"
	"net"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// handle answers one request; the caller holds mu.
func (g *Gateway) handle(c *conn, q *protocol.Request) {
	switch q.Type {
	case protocol.TypeJoin:
		g.join(c, q)
	case protocol.TypePublish:
		g.publish(c, q)
	case protocol.TypePing:
		send(c, protocol.AppendPong(nil, q.ID, time.Now().UnixMilli()))
	}
}

func (g *Gateway) join(c *conn, q *protocol.Request) {
	r := g.room(string(q.Room))
	at := r.position()
	j := protocol.Joined{Room: r.name, Position: at}
	if q.HasSince {
		j.Recovery = protocol.NotRecovered
		j.Seq = 0
		if string(q.SinceEpoch) == at.Epoch && q.SinceSeq <= at.Seq {
			j.Recovery, j.Seq = protocol.Recovered, q.SinceSeq
		}
	}
	send(c, protocol.AppendJoined(nil, q.ID, j))
	r.members[c] = true
	for i := j.Seq; i < at.Seq; i++ {
		if g.fault == Forget && i+1 == g.at {
			continue
		}
		send(c, protocol.AppendMessage(nil, &r.log[i]))
	}
}

func (g *Gateway) publish(c *conn, q *protocol.Request) {
	r := g.room(string(q.Room))
	next := uint64(len(r.log)) + 1
	now := !g.done && (next == g.at || next > g.at && g.fault == Silence)
	if now && (g.fault == Refuse || g.fault == Postpone) {
		g.done = true
		e := &protocol.Error{Code: protocol.Forbidden, Message: "no"}
		if g.fault == Postpone {
			e = &protocol.Error{Code: protocol.Unavailable, Message: "not now", RetryAfter: 10 * time.Millisecond}
		}
		send(c, protocol.AppendError(nil, q.ID, e))
		return
	}
	if now && (g.fault == Reset || g.fault == Unsaid) {
		g.done = true
		g.begin(r)
	}
	m := r.store(q.Data)
	ack := r.position()
	switch {
	case now && g.fault == NoAck:
		g.done = true
	case now && g.fault == WrongAck:
		g.done = true
		ack.Seq--
		fallthrough
	default:
		send(c, protocol.AppendPublished(nil, q.ID, r.name, ack, false))
	}
	g.deliver(r, m, now)
	if now && g.fault == StoreTwice {
		g.done = true
		g.deliver(r, r.store(q.Data), false)
	}
}

// store appends to the log.
func (r *room) store(data []byte) *protocol.Message {
	at := r.position()
	r.log = append(r.log, protocol.Message{Room: r.name, Epoch: at.Epoch, Seq: at.Seq + 1, Time: 1, From: "p", Data: bytes.Clone(data)})
	return &r.log[len(r.log)-1]
}

// begin begins the log anew.
func (g *Gateway) begin(r *room) {
	before := r.position()
	r.epoch++
	r.log = nil
	if g.fault == Unsaid {
		return
	}
	for c := range r.members {
		send(c, protocol.AppendReset(nil, protocol.Reset{Room: r.name, Position: r.position(), Previous: before}))
	}
}

// deliver sends a message to every member, or does what is planted instead.
func (g *Gateway) deliver(r *room, m *protocol.Message, now bool) {
	for c := range r.members {
		if now {
			g.plant(c, r, m)
			continue
		}
		send(c, protocol.AppendMessage(nil, m))
		if r.held != nil {
			send(c, protocol.AppendMessage(nil, r.held))
		}
	}
	if !now {
		r.held = nil
	}
}

// plant does to one member what is planted.
func (g *Gateway) plant(c *conn, r *room, m *protocol.Message) {
	g.done = g.fault != Silence
	switch g.fault {
	case Drop, Silence:
	case Duplicate:
		send(c, protocol.AppendMessage(nil, m))
		send(c, protocol.AppendMessage(nil, m))
	case Reorder:
		held := *m
		r.held = &held
	case Gap:
		send(c, protocol.AppendGap(nil, protocol.Gap{Room: r.name, Epoch: m.Epoch, From: m.Seq, To: m.Seq, Reason: protocol.GapSlowConsumer}))
	case Alter:
		altered := *m
		altered.Data = bytes.Clone(m.Data)
		altered.Data[len(altered.Data)-4] ^= 1
		send(c, protocol.AppendMessage(nil, &altered))
	case Stray:
		stray := *m
		stray.Room = "nobody"
		send(c, protocol.AppendMessage(nil, &stray))
		send(c, protocol.AppendMessage(nil, m))
	case Cut:
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Conn.Close()
	case Close:
		send(c, protocol.AppendReconnect(nil, 20*time.Millisecond, "drain"))
		r.end(c, protocol.CloseRestart)
	case Forget:
		r.end(c, protocol.CloseGoingAway)
	case NotFor:
		r.end(c, protocol.CloseOperator)
	default:
		send(c, protocol.AppendMessage(nil, m))
	}
}

// end closes a member's connection with a code.
func (r *room) end(c *conn, code uint16) {
	delete(r.members, c)
	_ = wsutil.WriteServerMessage(c.Conn, ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), ""))
}
