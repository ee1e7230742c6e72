package gateway

import (
	"sync/atomic"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// watcher is a member that is told who comes and goes.
type watcher struct {
	session *session
	behind  bool // its socket took nothing when something was told
}

// presenceNews is a post: who has come to a room and left it, framed once.
type presenceNews struct {
	room   *hubRoom
	frame  []byte
	passes *atomic.Int32 // see telling
}

// watch has a member told who comes and goes, or not any more.
func (ses *session) watch(i int, on bool) {
	m := &ses.rooms[i]
	lr := m.room
	switch {
	case on && m.watch == 0:
		lr.open()
		lr.watchers = append(lr.watchers, watcher{session: ses})
		m.watch = int32(len(lr.watchers))
		lr.shared.crowd.watchers.Add(1)
	case !on && m.watch != 0:
		at, last := int(m.watch)-1, len(lr.watchers)-1
		if at != last {
			lr.watchers[at] = lr.watchers[last]
			other := lr.watchers[at].session
			other.rooms[other.membershipOf(lr)].watch = m.watch
		}
		lr.watchers[last] = watcher{}
		lr.watchers = lr.watchers[:last]
		m.watch = 0
		lr.tidy()
		lr.shared.crowd.watchers.Add(-1)
	}
}

// announce begins to tell the watchers of a room. The news before that have been
// told to all: see telling.passes.
func (s *shard) announce(n *presenceNews) {
	lr := s.rooms[n.room.name]
	if lr == nil || lr.shared != n.room || lr.aside == nil || len(lr.watchers) == 0 {
		n.passes.Add(-1)
		return
	}
	lr.news, lr.told = n, len(lr.watchers)
	s.telling = append(s.telling, lr)
}

// tellTurn is how many watchers are told in a turn.
const tellTurn = 512

// tellSome tells the next watchers, and returns true while there are more. They go
// from the last to the first: who takes the place of one that leaves has been told,
// or came after.
func (s *shard) tellSome() bool {
	for budget := tellTurn; budget > 0 && len(s.telling) > 0; {
		lr := s.telling[0]
		for lr.told = min(lr.told, len(lr.watchers)); lr.told > 0 && budget > 0; budget-- {
			lr.told--
			lr.tell(&lr.watchers[lr.told], lr.news.frame)
		}
		if lr.told > 0 {
			break
		}
		lr.news.passes.Add(-1)
		lr.news = nil
		lr.tidy()
		s.telling[0] = nil
		s.telling = s.telling[1:]
	}
	if len(s.telling) == 0 {
		s.telling = nil
	}
	return len(s.telling) > 0
}

// tell sends a frame to a watcher, unless its socket takes nothing: then it gets the
// newest count once it does, and hears that it does not know all.
func (lr *localRoom) tell(w *watcher, frame []byte) {
	c, counts := w.session.conn, lr.shard.m
	if !c.Ready() {
		c.Flush()
	}
	if w.behind = !c.Ready(); w.behind {
		counts.PresenceSkipped.Inc()
		return
	}
	counts.PresenceSent.Inc()
	c.Send(frame)
}

// catchUp tells a watcher that was behind how many are in the room now.
func (ses *session) catchUp(m *membership) {
	if m.watch == 0 || !m.room.watchers[m.watch-1].behind {
		return
	}
	r := m.room.shared
	m.room.tell(&m.room.watchers[m.watch-1], framePresence(&protocol.Presence{Room: r.name, Count: int(r.crowd.known.Load()), Incomplete: true}))
}
