package gateway

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// scratchMax is the largest buffer for one reply that a shard keeps.
const scratchMax = 256 << 10

// shard is the handler of one event loop. All of it is that loop's goroutine's,
// but for what is said to be immutable.
type shard struct {
	// Immutable.
	gw    *Gateway
	hub   *hub
	index int
	loop  *loop.Loop
	m     *metrics.Loop

	rooms    map[string]*localRoom
	peak     int          // rooms that the map has had
	dirty    []*localRoom // whose members have something to be sent, in turn, from next on
	next     int
	blocked  map[*loop.Conn]struct{}
	dropped  map[*loop.Conn]uint64 // frames that connections will not get, of some
	outbox   []broker.Publication  // of this turn
	waiting  int                   // joins that wait for a log
	expiries expiries
	hunt     hunt
	telling  []*localRoom         // whose watchers have something to be told, in turn
	namings  map[*session]*naming // claims that are not answered; nil: none yet
	again    int                  // the next connection of those who are said again; -1: none
	leaving  []*loop.Conn         // to be sent away by a drain, the last first
	sample   int                  // where the next sample of queues begins
	relieved int64                // until when what relieve ended may still hold its queue
	guest    guestName
	wait     time.Duration // what the rate limit says of the frames just read

	// Scratch.
	decoder  protocol.Decoder
	request  protocol.Request
	payload  []byte
	frame    []byte
	deflater *frame.Deflater
}

func newShard(gw *Gateway, index int, m *metrics.Loop) *shard {
	return &shard{
		gw: gw, index: index, m: m, again: -1,
		rooms:   make(map[string]*localRoom),
		blocked: make(map[*loop.Conn]struct{}),
		dropped: make(map[*loop.Conn]uint64),
	}
}

// Open is loop.Handler's.
func (s *shard) Open(c *loop.Conn) {
	if ses, ok := c.Data.(*session); ok {
		ses.until = s.gw.lifetime(s.loop.Now())
		if ses.caller != nil {
			s.expiries.add(ses.caller)
			s.gw.people.arrived(ses.caller)
		}
		ses.greet()
	}
}

// Control is loop.Handler's: it counts frames against the connection's rate.
func (s *shard) Control(c *loop.Conn, n int) {
	if ses, ok := c.Data.(*session); ok {
		ses.spend(n)
	}
}

// Message is loop.Handler's.
func (s *shard) Message(c *loop.Conn, binary bool, payload []byte) {
	switch d := c.Data.(type) {
	case *session:
		d.message(payload)
	case *echo:
		d.message(c, binary, payload)
	}
}

// Drained is loop.Handler's: the connection's rooms go on.
func (s *shard) Drained(c *loop.Conn) {
	delete(s.blocked, c)
	if ses, ok := c.Data.(*session); ok {
		ses.resume()
	}
}

// Closed is loop.Handler's.
func (s *shard) Closed(c *loop.Conn) {
	delete(s.blocked, c)
	delete(s.dropped, c)
	if ses, ok := c.Data.(*session); ok {
		ses.closed()
	}
}

// Posted is loop.Handler's.
func (s *shard) Posted(posts []any) {
	for _, p := range posts {
		switch p := p.(type) {
		case *hubRoom:
			s.grown(p)
		case *fanOutPart:
			s.follow(p)
		case *answers:
			s.answer(p)
		case *reply:
			p.send()
		case *presenceNews:
			s.announce(p)
		case *naming:
			s.named(p)
		case *unname:
			p.lost()
		case sayAgain:
			s.again = 0
		case huntRevoked:
			s.hunt.next.revoked = true
		case huntUser:
			s.hunted(p)
		case drainSome:
			s.drainSome(int(p))
		case shedSome:
			s.shedSome(int(p))
		case drainBegin:
			s.drainBegin()
		case applied:
			s.applied()
		case *surveying:
			s.survey(p)
		}
	}
}

// grown looks at a room that the hub has posted.
func (s *shard) grown(r *hubRoom) {
	mark := &r.marks[s.index]
	since := mark.since.Load()
	mark.dirty.Store(false) // before the log is looked at
	if lr := s.rooms[r.name]; lr != nil && lr.shared == r {
		lr.look(since)
	}
}

// flushSlice is how many members are visited before the room goes to the end of
// the line, which ends the turn: between turns sockets are read. With 2,048 in a
// turn the first of several messages that come together went to as many members
// before the others were read: of 16 under way in a room of 5,000 a write took 11
// frames, with 256 it takes 14 and with 128 it takes 15. flushTurn is how many
// members of rooms that are done with are visited in a turn: of small rooms it
// gains nothing to end one sooner. With 128, 1,000 rooms of 5 cost 2 % more (median
// of eight runs in turn, from 1 % less to 6 % more).
const (
	flushSlice = 128
	flushTurn  = 2048
	// dirtyKept is the longest line of rooms whose array is used again.
	dirtyKept = 4096
)

// Turn is loop.Handler's: it hands what was published to the broker, writes to the
// members of rooms that have grown, and goes on with what is done in parts.
func (s *shard) Turn() (more bool) {
	hunting := s.hunts()
	telling := s.tellSome()
	saying := s.saySome()
	if len(s.outbox) > 0 {
		s.hub.broker.Publish(s.outbox)
		clear(s.outbox)
		s.outbox = s.outbox[:0]
	}
	for budget := flushTurn; budget > 0 && s.next < len(s.dirty); {
		lr := s.dirty[s.next]
		s.dirty[s.next] = nil
		s.next++
		visited, done := lr.pass(flushSlice)
		budget -= visited + 1
		if !done {
			s.dirty = append(s.dirty, lr)
			break
		}
	}
	if s.next == len(s.dirty) {
		if s.dirty, s.next = s.dirty[:0], 0; cap(s.dirty) > dirtyKept {
			s.dirty = nil
		}
		return hunting || telling || saying
	}
	if s.next > len(s.dirty)/2 {
		n := copy(s.dirty, s.dirty[s.next:])
		clear(s.dirty[n:])
		s.dirty, s.next = s.dirty[:n], 0
	}
	return true
}

// send makes a text frame of a payload and queues it.
func (s *shard) send(c *loop.Conn, payload []byte) {
	s.frame = frame.AppendFrame(s.frame[:0], frame.OpText, payload)
	c.Send(s.frame)
	if cap(s.frame) > scratchMax {
		s.frame = nil
	}
}
