package gateway

import (
	"bytes"
	"errors"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// ticket is a publication's way back to its client.
type ticket struct {
	session *session
	id      []byte
	traced  *tracing.Publication // nil: not recorded
}

// answers are the results of publications of one loop's sessions.
type answers struct{ results []broker.Result }

var answerPool = sync.Pool{New: func() any { return new(answers) }}

func newAnswers() *answers { return answerPool.Get().(*answers) }

// publish puts a message into the loop's outbox, which goes to the broker at the
// end of the turn.
func (ses *session) publish(r *protocol.Request) {
	s := ses.shard
	t := &ticket{session: ses, id: bytes.Clone(r.ID)}
	p := broker.Publication{
		Room:   s.roomName(r.Room),
		From:   ses.user(),
		Event:  string(r.Event),
		ID:     string(r.PublishID),
		Data:   bytes.Clone(r.Data),
		Ticket: t,
	}
	lr := s.rooms[p.Room]
	if s.gw.cfg.Tracer != nil {
		t.traced = ses.traced(&p, lr)
	}
	if lr != nil && lr.waits(ses) {
		lr.hold(ses, &p)
		return
	}
	if !ses.may(auth.Publish, p.Room, lr != nil && ses.memberOf(lr)) {
		t.traced.End(tracing.Forbidden, tracing.Position{})
		ses.fail(r.ID, errForbidden[auth.Publish])
		return
	}
	ses.submit(lr, &p)
}

// submit hands a publish that is allowed to the broker, unless there are too many
// of the room. lr is nil where it is not joined on this loop.
func (ses *session) submit(lr *localRoom, p *broker.Publication) {
	s := ses.shard
	var shared *hubRoom
	if lr != nil {
		shared = lr.shared
	}
	if wait := s.gw.takeOfRoom(shared, p.Room); wait > 0 {
		s.m.Limited(metrics.LimitRoomMessages)
		p.Ticket.(*ticket).traced.End(tracing.RateLimited, tracing.Position{})
		if !ses.gone {
			ses.fail(p.Ticket.(*ticket).id, tooManyForRoom(wait))
		}
		return
	}
	if s.gw.cfg.Tracer != nil {
		p.Trace = toBroker(p.Ticket.(*ticket).traced)
	}
	s.outbox = append(s.outbox, *p)
}

// A session may have this much wait behind its joins, or one message.
const (
	heldPublishes = 128 << 10
	heldPublish   = 256 // what one takes beside its data
)

// hold keeps a publish until the session's join before it is through: the member
// receives its own message, and the join does not begin behind it.
func (lr *localRoom) hold(ses *session, p *broker.Publication) {
	size := heldPublish + len(p.Data)
	if ses.held > 0 && int(ses.held)+size > heldPublishes {
		lr.shard.m.Published(metrics.PublishUnavailable)
		p.Ticket.(*ticket).traced.End(tracing.Unavailable, tracing.Position{})
		ses.fail(p.Ticket.(*ticket).id, errNotStored)
		return
	}
	ses.held += int32(size)
	lr.wait(&joining{session: ses, publish: p})
}

// release lets a publish go that was held, also of a session that is gone. Only now
// it is known whether that is a member.
func (lr *localRoom) release(j *joining) {
	ses := j.session
	ses.held -= int32(heldPublish + len(j.publish.Data))
	if !ses.may(auth.Publish, lr.shared.name, !ses.gone && ses.memberOf(lr)) {
		t := j.publish.Ticket.(*ticket)
		t.traced.End(tracing.Forbidden, tracing.Position{})
		if !ses.gone {
			ses.fail(t.id, errForbidden[auth.Publish])
		}
		return
	}
	ses.submit(lr, j.publish)
}

// answer tells publishers what became of their messages.
func (s *shard) answer(a *answers) {
	for i := range a.results {
		s.answerOne(&a.results[i])
	}
	clear(a.results)
	a.results = a.results[:0]
	answerPool.Put(a)
}

func (s *shard) answerOne(r *broker.Result) {
	t := r.Ticket.(*ticket)
	s.m.Published(outcome(r))
	if t.traced != nil {
		t.traced.End(tracedOutcome(r))
	}
	switch {
	case t.session.gone:
	case r.Err != nil:
		t.session.fail(t.id, publishError(r.Err))
	case len(t.id) > 0:
		s.payload = protocol.AppendPublished(s.payload[:0], t.id, r.Room, protocol.Position(r.Position), r.Duplicate)
		s.send(t.session.conn, s.payload)
	}
}

// outcome is what became of a publication, for the metrics.
func outcome(r *broker.Result) metrics.PublishResult {
	switch {
	case r.Err != nil:
		return metrics.PublishUnavailable
	case r.Duplicate:
		return metrics.PublishDuplicate
	}
	return metrics.PublishStored
}

var errNotStored = &protocol.Error{Code: protocol.Unavailable, Message: "the message was not stored in time: it may be sent again with the same id"}

func publishError(err error) *protocol.Error {
	if errors.Is(err, broker.ErrUnavailable) || errors.Is(err, broker.ErrClosed) {
		return errNotStored
	}
	return &protocol.Error{Code: protocol.Internal, Message: "the message was not stored"}
}
