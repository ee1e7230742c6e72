package gateway

import (
	"bytes"
	"context"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// question is a request that takes a read of the broker: the hub's goroutines do
// it, and the reply comes back as a post.
type question interface {
	// read returns the reply, or what is wrong. It may block until ctx ends.
	read(ctx context.Context, h *hub) (payload []byte, problem *protocol.Error)
	asker() asking
}

// asking is who asks.
type asking struct {
	session *session
	id      []byte
}

func (a asking) asker() asking { return a }

func (ses *session) asking(r *protocol.Request) asking {
	return asking{session: ses, id: bytes.Clone(r.ID)}
}

// reply is the answer to a question: a payload, or an error.
type reply struct {
	asking
	payload []byte
	problem *protocol.Error
}

var errQuestions = &protocol.Error{Code: protocol.Unavailable, Message: "too many requests are waiting"}

// ask hands a question over.
func (ses *session) ask(q question) { ses.shard.hub.ask(q) }

// ask has a question answered. Any goroutine may call it.
func (h *hub) ask(q question) {
	h.set.RequestQueue.Add(1)
	select {
	case h.requests <- q:
	default:
		h.set.RequestQueue.Add(-1)
		h.set.RequestRefused.Inc()
		a := q.asker()
		a.session.shard.loop.Post(&reply{a, nil, errQuestions})
	}
}

func (h *hub) requestLoop() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case q := <-h.requests:
			h.set.RequestQueue.Add(-1)
			a := q.asker()
			ctx, cancel := context.WithTimeout(h.ctx, rangeWait)
			payload, problem := q.read(ctx, h)
			cancel()
			a.session.shard.loop.Post(&reply{a, payload, problem})
		}
	}
}

// send answers the question, if somebody is still there.
func (r *reply) send() {
	ses := r.session
	switch {
	case ses.gone:
	case r.problem != nil:
		ses.fail(r.id, r.problem)
	default:
		ses.shard.send(ses.conn, r.payload)
	}
}
