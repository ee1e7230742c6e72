package gateway

import (
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

var (
	errRooms     = &protocol.Error{Code: protocol.LimitExceeded, Message: "too many rooms on this connection", Field: "room"}
	errMembers   = &protocol.Error{Code: protocol.LimitExceeded, Message: "too many members in the room", Field: "room"}
	errNotJoined = &protocol.Error{Code: protocol.NotJoined, Message: "this room was not joined", Field: "room"}
	errNoLog     = &protocol.Error{Code: protocol.Unavailable, Message: "the room could not be read in time"}
	errQueues    = &protocol.Error{Code: protocol.Unavailable, Message: "the gateway's queues are full"}
)

// queuedMost is how many requests of a session may wait for rooms' logs.
const queuedMost = 1024

// joining is a join, or a leave or publish behind one, that waits for the room's
// log.
type joining struct {
	session *session
	id      []byte
	leave   bool
	publish *broker.Publication
	since   *protocol.Position
	last    int    // -1: not asked
	watch   bool   // tell who comes and goes
	read    uint32 // the read of the log that answers it, where the log as it is does not; 0: none
	until   int64
	counted bool // in session.pending: the first of the session that waits for this room
}

// join makes the session a member of a room.
func (ses *session) join(r *protocol.Request) {
	if i := ses.membership(r.Room); i >= 0 {
		ses.rejoin(r.ID, i, r.Presence)
		return
	}
	limit := ses.shard.gw.live().Limits.RoomsPerConn
	if limit > 0 && len(ses.rooms)+int(ses.pending) >= limit && !ses.waits(r.Room) {
		ses.shard.m.Limited(metrics.LimitConnectionRooms)
		ses.fail(r.ID, errRooms)
		return
	}
	j := joining{session: ses, id: r.ID, last: r.Last, watch: r.Presence}
	if r.HasSince {
		j.since = &protocol.Position{Epoch: string(r.SinceEpoch), Seq: r.SinceSeq}
	}
	if problem := ses.mayJoin(&j, ses.shard.roomName(r.Room)); problem != nil {
		ses.fail(r.ID, problem)
		return
	}
	if wait := j.takeHistory(); wait > 0 {
		ses.refuse(r.ID, wait)
		return
	}
	if ses.queued >= queuedMost {
		ses.fail(r.ID, errNoLog)
		return
	}
	lr := ses.shard.local(r.Room)
	if !lr.awaited() && lr.log != nil && lr.enough(&j) {
		lr.complete(&j)
		lr.leaveIfEmpty()
		return
	}
	lr.wait(&j)
}

// takeHistory counts a join that asks for messages of before as a request for
// history, or says how long until it could.
func (j *joining) takeHistory() time.Duration {
	if j.since == nil && j.last <= 0 {
		return 0
	}
	return j.session.takeHistory()
}

// waits says whether a join of this room waits already.
func (ses *session) waits(name []byte) bool {
	lr := ses.shard.rooms[string(name)]
	return lr != nil && lr.waits(ses)
}

func (lr *localRoom) waits(ses *session) bool {
	return ses.queued > 0 && lr.awaited() && slices.ContainsFunc(lr.waiting, func(j *joining) bool { return j.session == ses })
}

// forget counts out a joining that waits no more.
func (lr *localRoom) forget(j *joining) {
	lr.shard.waiting--
	j.session.queued--
	if j.counted {
		j.session.pending--
	}
}

// wait keeps a join until the room's log was read.
func (lr *localRoom) wait(j *joining) {
	kept := *j
	kept.id = append([]byte(nil), j.id...)
	kept.until = lr.shard.loop.Now() + int64(joinWait)
	if kept.counted = !lr.waits(j.session); kept.counted {
		j.session.pending++
	}
	lr.open()
	lr.waiting = append(lr.waiting, &kept)
	lr.shard.waiting++
	j.session.queued++
	if j.since != nil && (lr.log == nil || !lr.enough(j)) {
		kept.read = lr.shard.hub.check(lr.shared)
	}
}

// enough says whether the log can answer a join. A client that resumes from
// another epoch, or beyond the newest message, may know more than this gateway.
func (lr *localRoom) enough(j *joining) bool {
	return j.leave || j.since == nil ||
		j.since.Epoch == lr.log.Epoch() && j.since.Seq <= lr.log.Head()
}

// admit completes the joins that waited for the log, in their order, up to one
// that needs a read which is not done.
func (lr *localRoom) admit() {
	for lr.log != nil && lr.awaited() {
		j := lr.waiting[0]
		if !j.session.gone && !lr.enough(j) && lr.shared.reads.Load() < j.read {
			break
		}
		lr.waiting[0] = nil
		lr.waiting = lr.waiting[1:]
		lr.forget(j)
		switch {
		case j.publish != nil:
			lr.release(j)
		case j.session.gone:
		case j.leave:
			lr.depart(j.session, j.id)
		default:
			lr.complete(j)
		}
	}
	lr.tidy()
	lr.leaveIfEmpty()
}

// expire answers the joins that have waited too long.
func (lr *localRoom) expire(now int64) {
	kept := lr.waiting[:0]
	for _, j := range lr.waiting {
		if j.until > now && !j.session.gone {
			kept = append(kept, j)
			continue
		}
		lr.forget(j)
		switch {
		case j.publish != nil:
			lr.release(j)
		case !j.session.gone:
			j.session.fail(j.id, errNoLog)
		}
	}
	clear(lr.waiting[len(kept):])
	lr.waiting = kept
	lr.tidy()
	lr.leaveIfEmpty()
}

// complete makes the session a member and sends joined, a gap where the log
// begins after what was asked for, and what was asked for.
func (lr *localRoom) complete(j *joining) {
	ses, s := j.session, lr.shard
	if i := ses.membership([]byte(lr.shared.name)); i >= 0 {
		ses.rejoin(j.id, i, j.watch)
		return
	}
	if problem := ses.mayJoin(j, lr.shared.name); problem != nil { // the token may be another by now
		ses.fail(j.id, problem)
		return
	}
	if problem := lr.full(j); problem != nil {
		ses.fail(j.id, problem)
		return
	}
	seq, known := lr.asked(j)
	at, from := lr.add(ses, seq)
	ses.watch(len(ses.rooms)-1, j.watch)
	if lr.listed {
		s.gw.people.enter(lr.shared, ses.user(), ses.caller == nil)
	}
	joined := protocol.Joined{
		Room:     lr.shared.name,
		Position: protocol.Position{Epoch: lr.log.Epoch(), Seq: from},
		Members:  lr.shared.users(),
	}
	resumes := &s.gw.cfg.Relay.Resumes
	switch {
	case j.since == nil:
	case !known:
		joined.Recovery = protocol.NotRecovered
		resumes[metrics.ResumeReset].Inc()
	case from == seq:
		joined.Recovery = protocol.Recovered
		resumes[metrics.ResumeRecovered].Inc()
	default:
		joined.Seq, joined.Recovery = seq, protocol.NotRecovered
		resumes[metrics.ResumeGap].Inc()
	}
	s.payload = protocol.AppendJoined(s.payload[:0], j.id, joined)
	s.send(ses.conn, s.payload)
	if known && from > seq {
		lr.gap(&lr.members[at], room.Gap{From: seq + 1, To: from}, protocol.GapHistoryLost)
	}
	lr.flush(at)
}

// full says why no one more may join. Where nil, the member is counted.
func (lr *localRoom) full(j *joining) *protocol.Error {
	limits := &lr.shard.gw.live().Limits
	if (j.since != nil || j.last > 0) && limits.QueuedBytes > 0 && lr.shard.gw.queuedBytes() > limits.QueuedBytes {
		return errQueues
	}
	if problem := j.session.enterRoom(); problem != nil {
		return problem
	}
	n := lr.shared.members.Add(1)
	if limits.MembersPerRoom > 0 && int(n) > limits.MembersPerRoom {
		lr.shared.members.Add(-1)
		j.session.quota.leaveRoom()
		lr.shard.m.Limited(metrics.LimitRoomMembers)
		return errMembers
	}
	return nil
}

// asked is the seq that a join begins behind; known says that it is a place of
// this log that the client came with.
func (lr *localRoom) asked(j *joining) (seq uint64, known bool) {
	head := lr.log.Head()
	switch {
	case j.since != nil && j.since.Epoch == lr.log.Epoch() && j.since.Seq <= head:
		return j.since.Seq, true
	case j.since != nil:
		return 0, false
	case j.last > 0:
		return head - min(uint64(j.last), head), false
	}
	return room.Newest, false
}

// rejoin answers a join of a room that is joined: it changes who is told who comes
// and goes, and nothing else.
func (ses *session) rejoin(id []byte, i int, watch bool) {
	s, m := ses.shard, &ses.rooms[i]
	lr := m.room
	if watch && !ses.may(auth.Members, lr.shared.name, true) {
		ses.fail(id, errForbidden[auth.Members])
		return
	}
	ses.watch(i, watch)
	s.payload = protocol.AppendJoined(s.payload[:0], id, protocol.Joined{
		Room:     lr.shared.name,
		Position: protocol.Position{Epoch: lr.log.Epoch(), Seq: lr.members[m.at].cursor.Sent()},
		Members:  lr.shared.users(),
	})
	s.send(ses.conn, s.payload)
}

// leave ends a membership. Behind a join that waits, it waits too.
func (ses *session) leave(r *protocol.Request) {
	lr := ses.shard.rooms[string(r.Room)]
	if lr == nil {
		ses.fail(r.ID, errNotJoined)
		return
	}
	if lr.waits(ses) {
		if ses.queued >= queuedMost {
			ses.fail(r.ID, errNoLog)
			return
		}
		lr.wait(&joining{session: ses, id: r.ID, leave: true})
		return
	}
	lr.depart(ses, r.ID)
	lr.leaveIfEmpty()
}

// depart ends the membership and says so.
func (lr *localRoom) depart(ses *session, id []byte) {
	i := ses.membership([]byte(lr.shared.name))
	if i < 0 {
		ses.fail(id, errNotJoined)
		return
	}
	if lr.listed {
		ses.shard.gw.people.exit(lr.shared, ses.user(), ses.caller == nil)
	}
	ses.watch(i, false)
	at := int(ses.rooms[i].at)
	last := len(ses.rooms) - 1
	ses.rooms[i] = ses.rooms[last]
	ses.rooms[last] = membership{}
	ses.rooms = ses.rooms[:last]
	lr.remove(at)
	if len(id) > 0 {
		s := ses.shard
		s.payload = protocol.AppendLeft(s.payload[:0], id, lr.shared.name)
		s.send(ses.conn, s.payload)
	}
}
