package swarm

import (
	"encoding/binary"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
)

// PlainScheme is that of URLs of the floor's server. It knows no protocol: a
// connection says what it is and which bytes it wants back once that is known,
// and a publisher sends the very bytes that each member is to get. So the clients
// are the same, and read the same frames, whatever they hold against each other.
const PlainScheme = "floor"

// PlainHeader is what stands before the bytes of a hello and of a broadcast: the
// room's number, or PlainPublisher, and how many bytes follow, each in four bytes,
// big-endian.
const PlainHeader = 8

// PlainPublisher is the room's number in a publisher's hello.
const PlainPublisher = 1<<32 - 1

// plain is what a swarm knows for the floor's server.
type plain struct {
	rooms map[*account.Room]uint32
	seqs  map[*account.Room]uint64
}

func (p *plain) room(r *account.Room) uint32 {
	n, ok := p.rooms[r]
	if !ok {
		if p.rooms == nil {
			p.rooms, p.seqs = make(map[*account.Room]uint32), make(map[*account.Room]uint64)
		}
		n = uint32(len(p.rooms))
		p.rooms[r] = n
	}
	return n
}

func appendPlain(dst []byte, room uint32, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, room)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// appendHello appends what a connection begins with. Back come the welcome and the
// joined that a gateway would send.
func (s *Swarm) appendHello(dst []byte, c *client) []byte {
	welcome := protocol.AppendWelcome(nil, protocol.Welcome{Connection: "c", User: "u", Gateway: "floor"})
	body := frame.AppendFrame(nil, frame.OpText, welcome)
	room := uint32(PlainPublisher)
	for i := range c.members {
		r := c.members[i].Room()
		room = s.plain.room(r)
		joined := protocol.AppendJoined(nil, nil, protocol.Joined{Room: r.Name(), Position: protocol.Position{Epoch: s.config.Epoch}})
		body = frame.AppendFrame(body, frame.OpText, joined)
	}
	return appendPlain(dst, room, body)
}

// appendBroadcast appends a message as the members are to get it.
func (s *Swarm) appendBroadcast(dst []byte, m *publication) []byte {
	room := s.plain.room(m.room)
	s.plain.seqs[m.room]++
	text := protocol.AppendMessage(nil, &protocol.Message{
		Room: m.room.Name(), Epoch: s.config.Epoch, Seq: s.plain.seqs[m.room], Time: time.Now().UnixMilli(), From: s.config.Author, Data: s.data,
	})
	return appendPlain(dst, room, frame.AppendFrame(nil, frame.OpText, text))
}
