package gateway

import (
	"bytes"
	"context"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// historyBytes bounds the data of one history reply: a client asks again for
// what did not fit.
const historyBytes = 256 << 10

// historyRequest is a read that the hub's goroutines do for a session.
type historyRequest struct {
	session *session
	id      []byte
	query   broker.Query
}

// historyReply is its answer: a payload, or an error.
type historyReply struct {
	session *session
	id      []byte
	payload []byte
	problem *protocol.Error
}

var errHistoryQueue = &protocol.Error{Code: protocol.Unavailable, Message: "too many history requests are waiting"}

// askHistory hands a history request over; its reply comes as a post.
func (ses *session) askHistory(r *protocol.Request) {
	q := broker.Query{Room: string(r.Room), Limit: r.Limit, Bytes: historyBytes}
	if r.HasAfter {
		q.After = r.After
	}
	if r.HasBefore {
		if r.Before == 0 {
			q.Before = 1 // nothing is before 0; and 0 would be no bound
		} else {
			q.Before = r.Before
		}
	}
	q.Newest = !r.HasAfter // without a beginning, the newest of what is asked for
	hub := ses.shard.hub
	hub.set.RequestQueue.Add(1)
	select {
	case hub.requests <- &historyRequest{session: ses, id: bytes.Clone(r.ID), query: q}:
	default:
		hub.set.RequestQueue.Add(-1)
		hub.set.RequestRefused.Inc()
		ses.fail(r.ID, errHistoryQueue)
	}
}

func (h *hub) requestLoop() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case r := <-h.requests:
			h.set.RequestQueue.Add(-1)
			r.session.shard.loop.Post(h.readHistory(r))
		}
	}
}

func (h *hub) readHistory(r *historyRequest) *historyReply {
	reply := &historyReply{session: r.session, id: r.id}
	ctx, cancel := context.WithTimeout(h.ctx, rangeWait)
	defer cancel()
	page, err := h.broker.Range(ctx, r.query)
	if err != nil {
		h.log.Debug("history not read", "error", err)
		reply.problem = errNoLog
		return reply
	}
	out := protocol.History{Room: r.query.Room, Epoch: page.Epoch, First: page.First, Last: page.Last}
	for i := range page.Messages {
		m := &page.Messages[i]
		out.Messages = append(out.Messages, protocol.Message{
			Room: m.Room, Epoch: m.Epoch, Seq: m.Seq, Time: m.Time, From: m.From, Event: m.Event, Data: m.Data,
		})
	}
	reply.payload = protocol.AppendHistory(nil, r.id, out)
	return reply
}

// history sends the reply.
func (ses *session) history(r *historyReply) {
	switch {
	case ses.gone:
	case r.problem != nil:
		ses.fail(r.id, r.problem)
	default:
		ses.shard.send(ses.conn, r.payload)
	}
}
