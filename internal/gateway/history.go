package gateway

import (
	"context"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// historyBytes bounds the data of one history reply: a client asks again for
// what did not fit.
const historyBytes = 256 << 10

// historyRequest is a request for messages.
type historyRequest struct {
	asking
	query broker.Query
}

// askHistory hands a history request over.
func (ses *session) askHistory(r *protocol.Request) {
	name := ses.shard.roomName(r.Room)
	if !ses.mayRead(auth.History, name) {
		ses.fail(r.ID, errForbidden[auth.History])
		return
	}
	if wait := ses.takeHistory(); wait > 0 {
		ses.refuse(r.ID, wait)
		return
	}
	q := broker.Query{Room: name, Limit: r.Limit, Bytes: historyBytes}
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
	ses.ask(&historyRequest{ses.asking(r), q})
}

func (r *historyRequest) read(ctx context.Context, h *hub) (payload []byte, problem *protocol.Error) {
	page, err := h.broker.Range(ctx, r.query)
	if err != nil {
		h.log.Debug("history not read", "error", err)
		return nil, errNoLog
	}
	out := protocol.History{Room: r.query.Room, Epoch: page.Epoch, First: page.First, Last: page.Last}
	for i := range page.Messages {
		m := &page.Messages[i]
		out.Messages = append(out.Messages, protocol.Message{
			Room: m.Room, Epoch: m.Epoch, Seq: m.Seq, Time: m.Time, From: m.From, Event: m.Event, Data: m.Data,
		})
	}
	return protocol.AppendHistory(nil, r.id, out), nil
}
