package swarm

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// mostUnsent bounds what waits for one socket.
const mostUnsent = 16 << 20

// dialTimeout is from dialing to the welcome, as every client of Fanfare has it.
const dialTimeout = 10 * time.Second

// dialQueued begins first connections, at the plan's rate.
func (s *Swarm) dialQueued(now int64) {
	for len(s.queue) > 0 && s.underWay < atOnce {
		if s.plan.ConnectRate > 0 {
			if now < s.nextDial {
				return
			}
			s.nextDial = max(s.nextDial, now-int64(100*time.Millisecond)) + int64(float64(time.Second)/s.plan.ConnectRate)
		}
		c := &s.clients[s.queue[0]]
		s.queue = s.queue[1:]
		s.dial(c, now)
	}
}

// dial begins a connection.
func (s *Swarm) dial(c *client, now int64) {
	t := &s.targets[c.target]
	s.dialCount++
	var source netip.Addr
	if len(s.sources) > 0 {
		source = s.sources[s.dialCount%len(s.sources)]
	}
	receive := 0
	if c.stalled {
		receive = 4096 // so that the gateway notices soon
	}
	c.generation++
	s.underWay++
	c.state, c.dialed, c.lastRead = connecting, now, now
	c.reader, c.head, c.out = frame.ClientReader{}, nil, nil
	c.pinged, c.hinted, c.opened, c.interval, c.gateway = false, false, 0, 0, 0
	address := t.addresses[s.dialCount%len(t.addresses)]
	fd, err := connect(source, address, receive)
	if err != nil {
		s.ended(c, ending{what: "connect: " + reason(err)}, now)
		return
	}
	c.fd, c.paused = fd, false
	s.within(c, now, giveUpDial)
	if err := s.poller.Add(fd, c.token()); err != nil {
		s.fail(err)
		return
	}
	if t.tls == nil && address.Addr().IsLoopback() {
		s.greet(c, t) // most are connected already, and need not be waited for
		return
	}
	s.await(c)
}

// await has a socket looked at once it is connected, or takes more.
func (s *Swarm) await(c *client) {
	if err := s.poller.Watch(c.fd, c.token(), true); err != nil {
		s.fail(err)
	}
}

// greet sends what a connection begins with, or waits until it is one.
func (s *Swarm) greet(c *client, t *target) {
	next := handshaking
	if t.plain {
		s.text, next = s.appendHello(s.text[:0], c), opening
	} else {
		s.text, c.key = s.appendRequest(s.text[:0], t)
	}
	n, err := poll.Write(c.fd, s.text)
	switch {
	case err == poll.ErrAgain:
		s.await(c)
	case err != nil:
		s.ended(c, ending{what: "connect: " + reason(err)}, s.now())
	default:
		if c.state = next; n < len(s.text) {
			c.out = append(c.out, s.text[n:]...)
			s.await(c)
		}
	}
}

// writable goes on where the socket had no room, or was not connected.
func (s *Swarm) writable(c *client) {
	if c.state == connecting {
		s.connected(c)
		return
	}
	if len(c.out) > 0 {
		n, err := poll.Write(c.fd, c.out)
		if err != nil && err != poll.ErrAgain {
			s.ended(c, ending{what: reason(err)}, s.now())
			return
		}
		if n < len(c.out) {
			c.out = append(c.out[:0], c.out[n:]...)
			return
		}
	}
	c.out = nil
	if err := s.poller.Watch(c.fd, c.token(), false); err != nil {
		s.fail(err)
	}
}

// connected goes on where the TCP handshake is over, or has failed.
func (s *Swarm) connected(c *client) {
	if err := failure(c.fd); err != nil {
		s.ended(c, ending{what: "connect: " + reason(err)}, s.now())
		return
	}
	if t := &s.targets[c.target]; t.tls != nil {
		s.secure(c, t.tls)
	} else {
		s.greet(c, t)
	}
}

// write sends bytes, now or when the socket takes them.
func (s *Swarm) write(c *client, b []byte) {
	if c.link != nil {
		b = s.seal(c, b)
	}
	s.push(c, b)
}

// push is write for what goes onto the wire as it is.
func (s *Swarm) push(c *client, b []byte) {
	n := 0
	if len(c.out) == 0 {
		var err error
		if n, err = poll.Write(c.fd, b); err != nil && err != poll.ErrAgain {
			// The socket's end shows at the next read, which knows why.
			return
		}
		if n == len(b) {
			return
		}
		if !c.paused {
			if err := s.poller.Watch(c.fd, c.token(), true); err != nil {
				s.fail(err)
			}
		}
	}
	if len(c.out) > mostUnsent {
		s.fail(errors.New("a gateway does not take what is published: 16 MiB wait for one connection; publish less, or over more publishers"))
		return
	}
	c.out = append(c.out, b[n:]...)
}

// frame sends one frame.
func (s *Swarm) frame(c *client, op frame.Opcode, payload []byte) {
	var mask [4]byte
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32())
	var b [256]byte
	s.write(c, frame.AppendMasked(b[:0], op, payload, mask))
}

func (s *Swarm) closeSocket(c *client) {
	c.generation++
	if c.fd >= 0 {
		_ = poll.Close(c.fd)
		c.fd = -1
	}
	if c.link != nil {
		c.link.abandon()
		c.link = nil
	}
	c.head, c.out, c.reader = nil, nil, frame.ClientReader{}
}

// reason is a socket's error in a word, for counting.
func reason(err error) string {
	var errno unix.Errno
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "ended without a close"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
