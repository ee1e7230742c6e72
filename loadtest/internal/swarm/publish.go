package swarm

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

// stream is a plan.Stream with its publishers.
type stream struct {
	*plan.Stream
	rooms []*account.Room
	zipf  *rand.Zipf
	slots []uint32 // of its own publishers
	group *group   // or whose members publish

	next  int64 // when the next message is due
	turn  int
	sent  uint64
	owing uint64 // of a closed loop: deliveries that a message makes
}

// publisher is a client's publishing half.
type publisher struct {
	id      uint32
	number  uint64
	pending map[uint64]*publication // not answered yet, or not sent
}

// publication is one message until it is answered.
type publication struct {
	room  *account.Room
	stamp account.Stamp
	sent  bool // at least once
}

func (s *Swarm) newPublisher(slot uint32) *publisher {
	return &publisher{id: uint32(s.config.Agent)<<20 | slot, pending: make(map[uint64]*publication)}
}

func (s *Swarm) newStream(p *plan.Stream) *stream {
	st := &stream{Stream: p}
	for _, i := range s.indices(p.Rooms, p.Divided) {
		st.rooms = append(st.rooms, s.book.Room(p.Rooms.Name(i)))
	}
	st.zipf = zipf(p.Rooms.Skew, len(st.rooms))
	st.turn = rand.IntN(1 << 16)
	for _, g := range s.groups {
		if g.Name == p.From {
			st.group = g
		}
		if g.Rooms.Prefix == p.Rooms.Prefix && g.Arrive == 0 && len(g.rooms) > 0 {
			st.owing += uint64(g.Connections * g.Each / len(g.rooms))
		}
	}
	return st
}

// start sets the first message's time; processes are spread over the distance
// between two.
func (st *stream) start(at int64) {
	st.next = at
	if st.Rate > 0 {
		st.next += rand.Int64N(int64(float64(time.Second)/st.Rate) + 1)
	}
}

// publishDue publishes what the schedules want by now, whatever became of the
// messages before.
func (s *Swarm) publishDue(now int64) {
	if !s.started || s.over {
		return
	}
	for _, st := range s.streams {
		if st.UnderWay > 0 {
			for (st.sent+1)*st.owing <= s.settled()+uint64(st.UnderWay)*st.owing {
				s.publish(st, s.now(), now)
			}
			continue
		}
		for st.next <= now && st.next < s.until {
			due := st.next
			for range max(st.Burst, 1) {
				s.publish(st, due, now)
			}
			st.next += st.distance()
		}
	}
}

// distance is the time to the next message, or burst.
func (st *stream) distance() int64 {
	mean := float64(time.Second) / st.Rate
	switch st.Arrival {
	case plan.Poisson:
		mean *= rand.ExpFloat64()
	case plan.Burst:
		mean *= float64(st.Burst)
	}
	return max(int64(mean), 1)
}

func (s *Swarm) nextPublication(next int64) int64 {
	if !s.started || s.over {
		return next
	}
	for _, st := range s.streams {
		if st.UnderWay == 0 {
			next = min(next, st.next)
		}
	}
	return next
}

// publish makes one message and sends it.
func (s *Swarm) publish(st *stream, due, now int64) {
	c, room := s.pickPublisher(st)
	st.sent++
	if c == nil {
		// Nobody of the group is connected: nobody would have written.
		s.errors["publish: no member connected"]++
		return
	}
	size := st.Payload
	if st.PayloadMax > size {
		size += rand.IntN(st.PayloadMax - size + 1)
	}
	p := c.publisher
	p.number++
	s.book.Published++
	m := &publication{room: room, stamp: account.Stamp{Key: account.Key{Publisher: p.id, Number: p.number}, Due: due, Size: size}}
	if c.state != open {
		p.pending[p.number] = m // until it is back
		return
	}
	if s.plan.Acks {
		p.pending[p.number] = m
	}
	s.send(c, m)
	if due >= s.from {
		late := time.Duration(s.now() - due)
		s.lag.Record(late)
		s.longestLag = max(s.longestLag, late)
	}
}

// pickPublisher returns who publishes next, and where; nil: nobody can.
func (s *Swarm) pickPublisher(st *stream) (*client, *account.Room) {
	st.turn++
	if st.group == nil {
		c := &s.clients[st.slots[st.turn%len(st.slots)]]
		if st.zipf != nil {
			return c, st.rooms[st.zipf.Uint64()]
		}
		return c, st.rooms[st.turn%len(st.rooms)]
	}
	for range 32 {
		if len(st.group.slots) == 0 {
			break
		}
		c := &s.clients[st.group.slots[rand.IntN(len(st.group.slots))]]
		if !c.settled() || c.paused || len(c.members) == 0 {
			continue
		}
		if c.publisher == nil {
			c.publisher = s.newPublisher(c.slot)
		}
		return c, c.members[rand.IntN(len(c.members))].Room()
	}
	return nil, nil
}

// send sends a publication, for the first time or again.
func (s *Swarm) send(c *client, m *publication) {
	if m.sent {
		s.book.Resent++
	}
	m.sent = true
	s.data = account.AppendData(s.data[:0], s.book.Run(), m.stamp)
	if s.targets[c.target].plain {
		s.text = s.appendBroadcast(s.text[:0], m)
		s.write(c, s.text)
		return
	}
	var asked, id string
	if s.plan.Acks {
		asked = strconv.FormatUint(m.stamp.Number, 10)
	}
	if s.plan.IDs {
		id = s.book.Run() + "-" + strconv.FormatUint(uint64(m.stamp.Publisher), 10) + "-" + strconv.FormatUint(m.stamp.Number, 10)
	}
	s.text = protocol.AppendPublish(s.text[:0], asked, protocol.Publish{Room: m.room.Name(), Data: s.data, ID: id})
	s.frame(c, frame.OpText, s.text)
}

// published takes an acknowledgement.
func (s *Swarm) published(c *client, m *protocol.Server, now int64) {
	number, err := strconv.ParseUint(m.ID, 10, 64)
	if err != nil || c.publisher == nil || c.publisher.pending[number] == nil {
		s.book.Stray++
		return
	}
	p := c.publisher.pending[number]
	delete(c.publisher.pending, number)
	if m.Published.Room != p.room.Name() {
		s.book.Misplaced++
		return
	}
	p.room.Acknowledged(p.stamp.Key, m.Published.Position)
	if p.stamp.Due >= s.from && p.stamp.Due < s.until {
		s.ack.Record(time.Duration(now - p.stamp.Due))
	}
}

// unpublished takes a refusal; one that passes is tried again.
func (s *Swarm) unpublished(c *client, number uint64, passing bool, again int64) {
	if c.publisher.pending[number] == nil {
		s.book.Stray++
		return
	}
	if passing {
		s.afterPublish(c, again, number)
		return
	}
	delete(c.publisher.pending, number)
	s.book.Refused++
}

// disconnected settles what a lost connection leaves open: with ids it is sent
// again, without them nobody can know.
func (s *Swarm) disconnected(p *publisher) {
	if s.plan.IDs {
		return
	}
	for number, m := range p.pending {
		if m.sent {
			delete(p.pending, number)
			s.book.Uncertain++
		}
	}
}

// forsake gives up what a client that leaves has no answer to.
func (s *Swarm) forsake(p *publisher) {
	s.book.Uncertain += uint64(len(p.pending))
	clear(p.pending)
}

// resend sends what waits for an answer or was never sent, in order.
func (s *Swarm) resend(c *client) {
	numbers := make([]uint64, 0, len(c.publisher.pending))
	for number := range c.publisher.pending {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		s.send(c, c.publisher.pending[number])
		if !s.plan.Acks {
			delete(c.publisher.pending, number)
		}
	}
}
