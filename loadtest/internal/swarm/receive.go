package swarm

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
)

// mostHead bounds the answer to a handshake.
const mostHead = 64 << 10

// readable takes what has come: in one read, for the socket tells again if there
// is more; of TLS all, for the poller does not know what the tls.Conn has.
func (s *Swarm) readable(c *client) {
	generation := c.generation
	for s.readOnce(c) && c.link != nil && c.generation == generation {
	}
}

// readOnce takes what one read brings; false: nothing was there.
func (s *Swarm) readOnce(c *client) bool {
	n, err := s.read(c)
	now := s.now()
	switch {
	case err == poll.ErrAgain:
		return false
	case err != nil && c.state == connecting:
		s.writable(c) // it knows why
		return false
	case err != nil:
		s.ended(c, ending{what: reason(err)}, now)
		return false
	}
	c.lastRead = now
	in := s.buffer[:n]
	if c.state == handshaking {
		if in = s.answered(c, in, now); in == nil {
			return true
		}
	}
	s.frames(c, in, now)
	if c.cutAt > 0 && c.state == open {
		s.checkCaughtUp(c, now)
	}
	return true
}

func (s *Swarm) read(c *client) (int, error) {
	if c.link != nil {
		return s.unseal(c)
	}
	return poll.Read(c.fd, s.buffer)
}

// answered takes the answer to the handshake, and returns what lies behind it;
// nil: it is not complete, or it was no welcome.
func (s *Swarm) answered(c *client, in []byte, now int64) []byte {
	from := len(c.head)
	c.head = append(c.head, in...)
	end := frame.HeadEnd(c.head, from)
	if end < 0 {
		if len(c.head) > mostHead {
			s.ended(c, ending{what: "handshake: answer too long", verdict: protocol.ComeBackLater}, now)
		}
		return nil
	}
	head := string(c.head[:end])
	rest := in[len(in)-(len(c.head)-end):]
	c.head = nil
	status, _ := strconv.Atoi(strings.SplitN(head+" ", " ", 3)[1])
	if status != 101 {
		s.ended(c, refused(status, head), now)
		return nil
	}
	if want := acceptOf(c.key); field(head, "Sec-WebSocket-Accept") != string(want[:]) {
		s.ended(c, ending{what: "handshake: wrong Sec-WebSocket-Accept", verdict: protocol.Stop}, now)
		return nil
	}
	c.state = opening
	return rest
}

// refused is what a client makes of an answer that is no upgrade, as
// internal/client does.
func refused(status int, head string) ending {
	e := ending{what: fmt.Sprintf("handshake %d", status), verdict: protocol.Stop}
	if status >= 500 || status == 429 || status == 408 {
		e.verdict = protocol.ComeBackLater
		if seconds, err := strconv.ParseUint(field(head, "Retry-After"), 10, 16); err == nil {
			e.after = time.Duration(seconds) * time.Second
		}
	}
	return e
}

// field returns the value of a header field; empty: there is none.
func field(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// frames takes bytes of an upgraded connection.
func (s *Swarm) frames(c *client, in []byte, now int64) {
	generation := c.generation
	for len(in) > 0 && c.generation == generation {
		whole := !c.reader.Mid()
		if whole {
			if n := s.known(c, in, now); n > 0 {
				in = in[n:]
				continue
			}
		}
		event, n, err := c.reader.Next(in, &s.limits)
		if err != nil {
			s.ended(c, ending{what: "protocol error: " + err.Error(), verdict: protocol.ComeBackLater}, now)
			return
		}
		var raw []byte
		if whole && event.Frames == 1 {
			raw = in[:n]
		}
		in = in[n:]
		s.event(c, event, raw, now)
	}
}

// known takes a message frame that another member got before, byte for byte.
func (s *Swarm) known(c *client, in []byte, now int64) int {
	for i := range c.members {
		if n, a := c.members[i].Next(in); n > 0 {
			s.arrived(c, a, now)
			return n
		}
	}
	return 0
}

// arrived counts a message that a member got.
func (s *Swarm) arrived(c *client, a account.Arrival, now int64) {
	if !a.New || a.Due == 0 {
		return
	}
	s.fanned++
	// What was sent before the client was there has no latency: it asked for it.
	if a.Due >= s.from && a.Due < s.until && a.Due >= c.since && !c.stalled {
		s.gateways[c.gateway].interval.Record(time.Duration(now - a.Due))
	}
}

func (s *Swarm) event(c *client, e frame.Event, raw []byte, now int64) {
	switch e.Kind {
	case frame.Text:
		s.message(c, e.Payload, raw, now)
	case frame.Ping:
		s.frame(c, frame.OpPong, e.Payload)
	case frame.Close:
		if c.state != leaving {
			// RFC 6455 section 5.5.1: answered with the same code, then over.
			s.frame(c, frame.OpClose, frame.AppendCloseBody(nil, e.Code, ""))
		}
		s.ended(c, ending{what: "close " + strconv.Itoa(int(e.Code)), verdict: protocol.Retry(e.Code)}, now)
	}
}

// message takes one text message.
func (s *Swarm) message(c *client, payload, raw []byte, now int64) {
	if c.state == leaving {
		return // nothing is owed any more, and nothing is wrong with it
	}
	m, err := protocol.DecodeServer(payload)
	if c.state == opening {
		if err != nil || m.Type != protocol.ServerWelcome {
			s.ended(c, ending{what: "the first frame is no welcome", verdict: protocol.ComeBackLater}, now)
			return
		}
		s.welcomed(c, &m.Welcome, now)
		return
	}
	if err != nil {
		s.errors["frame that cannot be read"]++
		s.book.Stray++
		return
	}
	switch m.Type {
	case protocol.ServerMessage:
		s.epoch, s.author = m.Message.Epoch, m.Message.From
		if member := s.memberOf(c, m.Message.Room); member != nil {
			s.arrived(c, member.Message(&m.Message, raw), now)
		}
	case protocol.ServerGap:
		if member := s.memberOf(c, m.Gap.Room); member != nil {
			member.Gap(&m.Gap)
		}
	case protocol.ServerReset:
		if member := s.memberOf(c, m.Reset.Room); member != nil {
			member.Reset(&m.Reset)
		}
	case protocol.ServerReconnect:
		c.hint, c.hinted = m.Reconnect.After, true
		s.closes["reconnect asked: "+m.Reconnect.Reason]++
	case protocol.ServerJoined:
		s.stands(c, &m.Joined, now)
	case protocol.ServerPublished:
		s.published(c, &m, now)
	case protocol.ServerError:
		s.refusal(c, &m, now)
	}
}

// memberOf finds the membership; a message of a room that the client is not in is
// a stray.
func (s *Swarm) memberOf(c *client, room string) *account.Member {
	m := c.member(room)
	if m == nil {
		s.book.Stray++
	}
	return m
}

func (s *Swarm) stands(c *client, j *protocol.Joined, now int64) {
	m := s.memberOf(c, j.Room)
	if m == nil {
		return
	}
	if !m.Joined() {
		c.since = now
	}
	m.Stands(j)
	if c.joining > 0 {
		if c.joining--; c.joining == 0 {
			s.joined(c, now)
		}
	}
}

// refusal takes an error, which is the answer to a join, to a publication, or to
// nothing.
func (s *Swarm) refusal(c *client, m *protocol.Server, now int64) {
	passing := m.Err.Code == protocol.Unavailable || m.Err.Code == protocol.RateLimited
	if number, ok := joinNumber(m.ID); ok && number < len(c.members) {
		s.errors["join: "+string(m.Err.Code)]++
		if passing {
			s.afterJoin(c, now+int64(max(m.Err.RetryAfter, backoff(0))), number)
		}
		return
	}
	if number, err := strconv.ParseUint(m.ID, 10, 64); err == nil && c.publisher != nil {
		s.errors["publish: "+string(m.Err.Code)]++
		s.unpublished(c, number, passing, now+int64(max(m.Err.RetryAfter, backoff(0))))
		return
	}
	s.errors["error: "+string(m.Err.Code)]++
}

// joinNumber reads what joinID writes.
func joinNumber(id string) (int, bool) {
	digits, ok := bytes.CutPrefix([]byte(id), []byte("j"))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(digits), 10, 31)
	return int(min(n, math.MaxInt32)), err == nil
}
