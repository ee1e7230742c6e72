package swarm

import (
	"container/heap"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
)

// state is where a client stands.
type state uint8

const (
	absent      state = iota // not connected: not yet, waiting to come back, or for its turn
	connecting               // the TCP handshake
	securing                 // that of TLS
	handshaking              // the answer to the upgrade
	opening                  // the welcome
	open
	leaving // a close frame went out
	gone    // told not to come back
)

// arriving reports whether a connection is being made.
func (s state) arriving() bool { return s >= connecting && s <= opening }

// client is one simulated client over all its connections.
type client struct {
	// For good.
	slot      uint32
	target    int
	group     *group     // nil: it only publishes
	publisher *publisher // nil: it does not
	stalled   bool       // one of those that stop reading

	// Of the client.
	members []account.Member
	attempt int   // to come back
	cutAt   int64 // when it lost its connection; 0: it is caught up since
	since   int64 // when it first joined the newest of its rooms
	arrived int64 // when an arriving client was to come
	before  bool  // it had a connection before

	// Of the connection.
	generation uint32
	fd         int
	link       *link // nil: no TLS
	state      state
	paused     bool // not in the poller
	hinted     bool // reconnect has come
	pinged     bool
	hint       time.Duration
	gateway    int32
	joining    int32 // rooms whose joined has not come
	reader     frame.ClientReader
	head       []byte // of the answer to the handshake
	out        []byte // what the socket has not taken
	key        [24]byte
	dialed     int64
	opened     int64 // when the welcome came
	lastRead   int64
	interval   int64 // of the heartbeat
	timeout    int64
}

// standing reports whether the client is to be there all the time.
func (c *client) standing() bool { return (c.group == nil || c.group.Arrive == 0) && c.state != gone }

// settled reports whether it is connected and in all its rooms.
func (c *client) settled() bool { return c.state == open && c.joining == 0 }

func (c *client) has(room string) bool { return c.member(room) != nil }

func (c *client) member(room string) *account.Member {
	for i := range c.members {
		if c.members[i].Room().Name() == room {
			return &c.members[i]
		}
	}
	return nil
}

func (c *client) token() poll.Token { return poll.NewToken(c.slot, c.generation) }

// welcomed begins the conversation.
func (s *Swarm) welcomed(c *client, w *protocol.Welcome, now int64) {
	c.state, c.opened = open, now
	c.interval, c.timeout = int64(w.HeartbeatInterval), int64(w.HeartbeatTimeout)
	c.gateway = s.gateway(w.Gateway)
	s.underWay--
	s.open++
	s.conns.Opened++
	s.conns.Most = max(s.conns.Most, s.open)
	if c.before {
		s.conns.Back++
	}
	c.before = true
	s.connect.Record(time.Duration(now - c.wanted()))
	c.joining = int32(len(c.members))
	for i := range c.members {
		if !s.targets[c.target].plain {
			s.join(c, i)
		}
	}
	if c.joining == 0 {
		s.joined(c, now)
	}
}

// wanted is when the connection was to be made.
func (c *client) wanted() int64 {
	if c.arrived > 0 {
		return c.arrived
	}
	return c.dialed
}

// join asks for a room, from where the client stands in it.
func (s *Swarm) join(c *client, i int) {
	m := &c.members[i]
	j := protocol.Join{Room: m.Room().Name()}
	if m.Joined() {
		at := m.Position()
		j.Since = &at
	} else if c.group != nil {
		j.Last = c.group.Last
	}
	s.text = protocol.AppendJoin(s.text[:0], joinID(i), j)
	s.frame(c, frame.OpText, s.text)
}

// joinID is the request_id of the join of a client's room i; publications have
// bare numbers.
func joinID(i int) string { return "j" + strconv.Itoa(i) }

// joined is when the last of the rooms has been joined.
func (s *Swarm) joined(c *client, now int64) {
	s.joinTime.Record(time.Duration(now - c.wanted()))
	if c.cutAt > 0 {
		s.back.Record(time.Duration(now - c.cutAt))
		s.checkCaughtUp(c, now)
	}
	if g := c.group; g != nil && g.Stay > 0 {
		stay := g.Stay
		if g.Arrive == 0 {
			stay = time.Duration(rand.ExpFloat64() * float64(stay))
		}
		s.after(c, now+int64(stay), leaveNow)
	}
	if c.publisher != nil {
		s.resend(c)
	}
}

// checkCaughtUp ends a loss's account for a client that has all it missed.
func (s *Swarm) checkCaughtUp(c *client, now int64) {
	if c.cutAt == 0 || c.joining > 0 {
		return
	}
	for i := range c.members {
		if c.members[i].Behind() > 0 {
			return
		}
	}
	s.caughtUp.Record(time.Duration(now - c.cutAt))
	c.cutAt = 0
}

// leave ends a client's stay in good order.
func (s *Swarm) leave(c *client, now int64) {
	if c.state != open {
		return
	}
	if s.over && c.group.Arrive == 0 {
		return // it stays for the closing account
	}
	for i := range c.members {
		c.members[i].Leave()
	}
	if c.publisher != nil {
		s.forsake(c.publisher)
	}
	c.state = leaving
	s.open--
	s.frame(c, frame.OpClose, frame.AppendCloseBody(nil, protocol.CloseNormal, ""))
	s.within(c, now, closeNow)
}

// finished is when a client that left is gone: another takes its place.
func (s *Swarm) finished(c *client, now int64) {
	s.closeSocket(c)
	c.state, c.attempt, c.cutAt, c.before = absent, 0, 0, false
	g := c.group
	if g.Arrive > 0 {
		g.free = append(g.free, c.slot)
		return
	}
	s.giveRooms(c, int(rand.Uint32()>>1))
	s.dial(c, now)
}

// ended is when a connection is over, or could not be made, otherwise than by
// this side's wish; the client decides whether to come back, and when.
func (s *Swarm) ended(c *client, e ending, now int64) {
	switch c.state {
	case connecting, securing, handshaking, opening:
		s.underWay--
		s.errors[e.what]++
	case open:
		s.open--
		s.conns.Lost++
		s.closes[e.what]++
		if c.group != nil && c.cutAt == 0 {
			c.cutAt = now
		}
	case leaving:
		s.finished(c, now)
		return
	}
	s.closeSocket(c)
	c.state = absent
	if c.publisher != nil {
		s.disconnected(c.publisher)
	}
	if e.verdict == protocol.Stop || e.verdict == protocol.NewToken {
		s.conns.GaveUp++
		c.state = gone
		return
	}
	s.after(c, now+int64(c.pause(e, now)), dialNow)
}

// cut ends all members' connections at once, as a failing network does.
func (s *Swarm) cut(now int64) {
	for i := range s.clients {
		c := &s.clients[i]
		if c.group == nil || c.state != open {
			continue
		}
		_ = poll.Reset(c.fd)
		c.fd = -1
		s.open--
		c.cutAt = now
		if c.publisher != nil {
			s.disconnected(c.publisher)
		}
		s.closeSocket(c)
		c.state = absent
		s.after(c, now+int64(c.pause(ending{}, now)), dialNow)
	}
}

// sweep watches the heartbeats, once a second.
func (s *Swarm) sweep(now int64) {
	if now < s.sweepAt {
		return
	}
	s.sweepAt = now + int64(time.Second)
	for i := range s.clients {
		c := &s.clients[i]
		if c.state != open || c.paused || c.interval == 0 {
			continue
		}
		switch silent := now - c.lastRead; {
		case silent < c.interval:
			c.pinged = false
		case !c.pinged:
			c.pinged = true
			s.text = protocol.AppendPing(s.text[:0], "")
			s.frame(c, frame.OpText, s.text)
		case silent > max(c.timeout, c.interval+int64(time.Second)):
			s.ended(c, ending{what: "heartbeat timeout"}, now)
		}
	}
}

// stall makes those that are to be slow stop reading.
func (s *Swarm) stall() {
	for i := range s.clients {
		c := &s.clients[i]
		if c.stalled && c.state == open {
			c.paused = true
			_ = s.poller.Remove(c.fd)
		}
	}
}

// unstall makes them read again.
func (s *Swarm) unstall(now int64) {
	for i := range s.clients {
		c := &s.clients[i]
		if !c.paused || c.state != open {
			continue
		}
		c.paused, c.lastRead = false, now
		if err := s.poller.Add(c.fd, c.token()); err != nil {
			s.fail(err)
		}
		if len(c.out) > 0 {
			_ = s.poller.Watch(c.fd, c.token(), true)
		}
	}
}

// arrivals brings the clients of arriving groups, each at its time, whether or not
// those before it are done.
func (s *Swarm) arrivals(now int64) {
	if !s.started {
		return
	}
	for _, g := range s.groups {
		if g.Arrive == 0 {
			continue
		}
		for g.next <= now && g.next < s.until {
			g.waiting = append(g.waiting, g.next)
			g.next += int64(float64(time.Second) / g.Arrive)
			s.conns.Arrivals++
			if len(g.free) < len(g.waiting) {
				s.conns.Late++
			}
		}
		for len(g.waiting) > 0 && len(g.free) > 0 {
			c := &s.clients[g.free[len(g.free)-1]]
			g.free = g.free[:len(g.free)-1]
			c.arrived = g.waiting[0]
			g.waiting = g.waiting[1:]
			s.giveRooms(c, int(rand.Uint32()>>1))
			s.dial(c, now)
		}
		if s.over {
			g.waiting = nil
		}
	}
}

func (s *Swarm) nextArrival(next int64) int64 {
	if !s.started || s.over {
		return next
	}
	for _, g := range s.groups {
		if g.Arrive > 0 {
			next = min(next, g.next)
		}
	}
	return next
}

// fail ends the run.
func (s *Swarm) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// afterPublish sets an alarm for a publication.
func (s *Swarm) afterPublish(c *client, at int64, number uint64) {
	heap.Push(&s.alarms, alarm{at: at, slot: c.slot, generation: c.generation, kind: retryPublish, number: number})
}

func (s *Swarm) afterJoin(c *client, at int64, member int) {
	heap.Push(&s.alarms, alarm{at: at, slot: c.slot, generation: c.generation, kind: retryJoin, member: member})
}
