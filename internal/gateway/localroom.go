package gateway

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// localRoom is one loop's part of a room. It has 80 bytes, exactly a size class of
// Go's allocator.
type localRoom struct {
	shard   *shard
	shared  *hubRoom
	log     *room.Log // that the members' cursors are of; nil until the room's was read
	members []member  // values, so that a pass over them goes straight through memory
	*aside            // nil: nobody waits, nor watches, and nothing is traced
	listed  bool      // its members are in the roster: the class has presence

	// A pass over the members.
	queued bool   // in shard.dirty
	at     int32  // the member that is next
	head   uint64 // the log's, when the pass began
	since  int64  // when what the pass sends was accepted, the oldest of it
}

// aside is what few rooms have.
type aside struct {
	waiting []*joining
	pending *pending // fan-outs that are traced; nil: none is

	// Who is told who comes and goes.
	watchers []watcher
	news     *presenceNews // is being told; nil: nothing is
	told     int           // from here on the watchers have been
}

// member is a session's cursor in a room.
type member struct {
	session *session
	cursor  room.Cursor
}

// roomName makes a string of a room's name, which of a room that is held here
// costs nothing.
func (s *shard) roomName(name []byte) string {
	if lr := s.rooms[string(name)]; lr != nil {
		return lr.shared.name
	}
	return string(name)
}

// local returns the loop's part of a room, made if need be.
func (s *shard) local(name []byte) *localRoom {
	if lr := s.rooms[string(name)]; lr != nil {
		return lr
	}
	shared := s.hub.hold(string(name), s.index)
	lr := &localRoom{shard: s, shared: shared, log: shared.log.Load(), listed: s.gw.people.lists(shared)}
	s.rooms[shared.name] = lr
	return lr
}

// open makes place for who waits, or watches, and for what is traced; tidy takes it
// away.
func (lr *localRoom) open() {
	if lr.aside == nil {
		lr.aside = new(aside)
	}
}

func (lr *localRoom) tidy() {
	if lr.aside != nil && len(lr.waiting)+len(lr.watchers) == 0 && lr.news == nil && lr.pending == nil {
		lr.aside = nil
	}
}

// awaited says whether a join waits for the room's log.
func (lr *localRoom) awaited() bool { return lr.aside != nil && len(lr.waiting) > 0 }

// leaveIfEmpty lets go of a room without members.
func (lr *localRoom) leaveIfEmpty() {
	if len(lr.members) > 0 || lr.awaited() {
		return
	}
	s := lr.shard
	lr.written(func(*fanOutPart) bool { return true })
	if s.rooms[lr.shared.name] == lr {
		delete(s.rooms, lr.shared.name)
		s.rooms, s.peak = shrunk(s.rooms, s.peak)
		s.hub.release(lr.shared, s.index)
	}
}

// look sees what the hub has posted the room for: a log that was read, begun
// anew, or grown. since is when it was posted.
func (lr *localRoom) look(since int64) {
	if l := lr.shared.log.Load(); l != lr.log {
		lr.adopt(l)
		if lr.queued {
			lr.begin() // a pass that is under way was one over the old log
		}
	}
	lr.admit()
	if lr.queued || lr.log == nil {
		return
	}
	lr.queued, lr.since = true, since
	lr.begin()
	lr.shard.dirty = append(lr.shard.dirty, lr)
}

func (lr *localRoom) begin() { lr.at, lr.head = 0, lr.log.Head() }

// pass visits up to n members. done says that all have been, and have been
// written up to the log's head as it was when the pass began.
func (lr *localRoom) pass(n int) (visited int, done bool) {
	if lr.at == 0 {
		lr.head = lr.log.Head()
	}
	for visited < n && int(lr.at) < len(lr.members) {
		lr.flush(int(lr.at))
		lr.at++
		visited++
	}
	if int(lr.at) < len(lr.members) {
		return visited, false
	}
	now := monotonic()
	if len(lr.members) > 0 {
		lr.shard.m.Fanout.Observe(uint64(max(now-lr.since, 0)))
	}
	lr.written(func(p *fanOutPart) bool { return p.log == lr.log && p.seq <= lr.head })
	if lr.log.Head() > lr.head && len(lr.members) > 0 {
		lr.since = now
		lr.begin()
		return visited, false
	}
	lr.queued = false
	return visited, true
}

// flush writes member i from its cursor to the log's head, as far as its socket
// takes it.
func (lr *localRoom) flush(i int) {
	m := &lr.members[i]
	c := m.session.conn
	for {
		if !c.Ready() {
			c.Flush()
			if !c.Ready() {
				lr.behind(m)
				return
			}
		}
		step := m.cursor.Next(lr.log)
		switch step.Kind {
		case room.Run:
			if !lr.write(m, step.Run) {
				lr.behind(m)
				return
			}
		case room.Skipped:
			lr.gap(m, step.Gap, slowReason(lr.shared.class().Slow.Policy))
		case room.Lost:
			lr.shard.m.Dropped(metrics.StageLog, policyLabel(lr.shared.class().Slow.Policy), step.Gap.Len())
			lr.shard.lost(c, step.Gap.Len())
			lr.gap(m, step.Gap, protocol.GapHistoryLost)
		case room.Hopeless:
			m.session.hopeless()
			return
		case room.Nothing:
			return
		}
	}
}

// write writes a run of frames and reports whether the socket took all of it.
func (lr *localRoom) write(m *member, run []byte) bool {
	c, counts := m.session.conn, lr.shard.m
	backlog := m.cursor.BacklogBytes()
	n := c.WriteShared(run)
	if lr.aside != nil && lr.pending != nil {
		lr.pending.total.Bytes += int64(n)
	}
	frames, rest := m.cursor.Advance(n)
	if len(rest) > 0 {
		c.Finish(rest)
	}
	if backlog > 0 {
		lr.shard.gw.backlogBytes.Add(int64(m.cursor.BacklogBytes() - backlog))
	}
	if frames > 0 {
		counts.FramesSent.Add(frames)
		counts.WriteBatch.Observe(uint64(frames))
	}
	return n == len(run)
}

// behind applies the room's policy to a member whose socket takes nothing now.
func (lr *localRoom) behind(m *member) {
	s, c := lr.shard, m.session.conn
	s.blocked[c] = struct{}{}
	slow := lr.shared.class().Slow
	dropped := m.cursor.Fall(lr.log, slow)
	if dropped > 0 {
		s.m.Dropped(metrics.StageQueue, policyLabel(slow.Policy), dropped)
		s.lost(c, dropped)
		c.Own() // the frame that has begun must not hold what was skipped
	}
	if lr.aside != nil && lr.pending != nil {
		lr.pending.total.Behind++
		lr.pending.total.Dropped += int64(dropped)
	}
	if slow.Policy == room.Disconnect && m.cursor.Hopeless() {
		m.session.hopeless()
	}
}

func (lr *localRoom) gap(m *member, g room.Gap, reason protocol.GapReason) {
	s := lr.shard
	s.payload = protocol.AppendGap(s.payload[:0], protocol.Gap{
		Room: lr.shared.name, Epoch: lr.log.Epoch(), From: g.From, To: g.To, Reason: reason,
	})
	s.send(m.session.conn, s.payload)
}

func slowReason(p room.Policy) protocol.GapReason {
	if p == room.Conflate {
		return protocol.GapConflated
	}
	return protocol.GapSlowConsumer
}

func policyLabel(p room.Policy) metrics.Policy {
	switch p {
	case room.Conflate:
		return metrics.PolicyConflate
	case room.Disconnect:
		return metrics.PolicyDisconnect
	}
	return metrics.PolicyDrop
}

// adopt puts the members into a log that took the place of theirs: each is told
// where the old one ended for it. Who can take what the old one still has gets it
// first.
func (lr *localRoom) adopt(l *room.Log) {
	old := lr.log
	for i := range lr.members {
		lr.flush(i)
	}
	lr.log = l
	if old == nil {
		return
	}
	lr.written(func(p *fanOutPart) bool { return p.log != l })
	s := lr.shard
	for i := range lr.members {
		m := &lr.members[i]
		previous := protocol.Position{Epoch: old.Epoch(), Seq: m.cursor.Sent()}
		s.gw.backlogBytes.Add(-int64(m.cursor.BacklogBytes()))
		old.Leave(&m.cursor)
		from := lr.enter(m, 0)
		s.payload = protocol.AppendReset(s.payload[:0], protocol.Reset{
			Room: lr.shared.name, Position: protocol.Position{Epoch: l.Epoch(), Seq: from}, Previous: previous,
		})
		m.session.conn.Own()
		s.send(m.session.conn, s.payload)
		s.m.Resets.Inc()
	}
}

// enter gives a member a cursor that has all up to seq.
func (lr *localRoom) enter(m *member, seq uint64) (from uint64) {
	m.cursor, from = lr.log.Join(seq, time.Now(), m.session.conn.Deflate())
	lr.shard.gw.backlogBytes.Add(int64(m.cursor.BacklogBytes()))
	return from
}

// add makes the session a member.
func (lr *localRoom) add(ses *session, seq uint64) (at int, from uint64) {
	lr.members = append(lr.members, member{session: ses})
	at = len(lr.members) - 1
	from = lr.enter(&lr.members[at], seq)
	ses.rooms = append(ses.rooms, membership{room: lr, at: int32(at)})
	lr.shard.m.Memberships.Add(1)
	return at, from
}

// remove ends membership i; the last member takes its place.
func (lr *localRoom) remove(i int) {
	s := lr.shard
	m := &lr.members[i]
	s.gw.backlogBytes.Add(-int64(m.cursor.BacklogBytes()))
	lr.log.Leave(&m.cursor)
	m.session.conn.Own()
	m.session.quota.leaveRoom()
	last := len(lr.members) - 1
	if i != last {
		lr.members[i] = lr.members[last]
		moved := lr.members[i].session
		moved.rooms[moved.membershipOf(lr)].at = int32(i)
	}
	lr.members[last] = member{}
	lr.members = lr.members[:last]
	lr.shared.members.Add(-1)
	s.m.Memberships.Add(-1)
	if lr.queued && i < int(lr.at) && i != last {
		lr.flush(i) // the pass would not come by it again
	}
}
