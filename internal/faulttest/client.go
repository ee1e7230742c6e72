package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// rejoinAfter is the pause after a join that was answered with unavailable.
const rejoinAfter = 250 * time.Millisecond

// client is a member of one room. Its goroutine connects, joins, and comes back
// as PROTOCOL.md asks, until the fleet ends it.
type client struct {
	// Immutable.
	id      int
	room    string
	fleet   *fleet
	home    int    // which of the addresses it begins with
	byURL   bool   // joins with the URL's room and since, not with a frame
	receive int    // kernel's receive buffer; 0: the system's
	token   string // of the user that it is; empty: a guest
	watches bool   // is told who comes and goes

	// Owned by its goroutine.
	random  *rand.Rand
	journal journal
	pos     position // no epoch: never joined
	after   time.Duration

	paused atomic.Bool // it reads nothing while true
	resume chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	socket *socket // nil while not connected
	stands position
	joined bool
	user   string // by the welcome
	ends   int    // connections that ended
	roll   roll   // of who watches
}

// run is the client's life.
func (c *client) run(ctx context.Context) {
	pause := backoff{random: c.random}
	for ctx.Err() == nil {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		verdict := protocol.ComeBack
		var closed errClosed
		if errors.As(err, &closed) {
			verdict = protocol.Retry(closed.code)
			if verdict == protocol.Stop || verdict == protocol.NewToken {
				c.fleet.report(sentAway, fmt.Sprintf("%s: client %d was %v", c.room, c.id, closed))
				verdict = protocol.ComeBackLater
			}
		}
		c.fleet.ended(err)
		if !wait(ctx, pause.next(time.Since(began), verdict, c.after)) {
			return
		}
		c.after = 0
	}
}

// session is one connection, from dialling to its end.
func (c *client) session(ctx context.Context) error {
	query := make(url.Values)
	if c.token != "" {
		query.Set("token", c.token)
	}
	if c.byURL {
		query.Set("room", c.room)
		if c.pos.Epoch != "" {
			query.Set("since", c.pos.String())
		}
	}
	addr := c.fleet.address(c.random, c.home)
	c.home = -1 // wherever it comes back to
	s, err := connect(ctx, addr, query.Encode(), c.receive)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	c.mu.Lock()
	c.socket = s
	c.mu.Unlock()
	if !c.byURL {
		err = c.join(s)
	}
	for err == nil {
		if c.paused.Load() {
			select {
			case <-c.resume:
			case <-ctx.Done():
			}
		}
		var msg []byte
		if msg, err = s.next(); err == nil {
			err = c.take(ctx, s, msg)
		}
	}
	c.mu.Lock()
	c.socket, c.joined, c.roll = nil, false, newRoll()
	c.ends++
	c.mu.Unlock()
	c.note(entry{kind: left, reason: err.Error()})
	return err
}

// join asks to join by a frame, from where the client stands.
func (c *client) join(s *socket) error {
	j := protocol.Join{Room: c.room, Presence: c.watches}
	if c.pos.Epoch != "" {
		since := c.pos
		j.Since = &since
	}
	return s.send(frame.OpText, protocol.AppendJoin(nil, "join", j))
}

// take is one message of the gateway.
func (c *client) take(ctx context.Context, s *socket, msg []byte) error {
	m, err := protocol.DecodeServer(msg)
	if err != nil {
		c.fleet.report(disorder, fmt.Sprintf("client %d: %v: %.200s", c.id, err, msg))
		return err
	}
	switch m.Type {
	case protocol.ServerWelcome:
		s.silence = m.Welcome.HeartbeatTimeout
		c.mu.Lock()
		c.user = m.Welcome.User
		c.mu.Unlock()
	case protocol.ServerJoined:
		c.note(entry{kind: joined, position: m.Joined.Position, since: c.pos, recovery: m.Joined.Recovery})
		c.stand(m.Joined.Position, true)
		if c.watches {
			return c.askMembers(s)
		}
	case protocol.ServerPresence, protocol.ServerMembers:
		return c.watch(s, &m)
	case protocol.ServerMessage:
		number, err := numberOf(m.Message.Data)
		if err != nil {
			c.fleet.report(disorder, fmt.Sprintf("%s: client %d got what no publisher sent: %.200s", c.room, c.id, msg))
			return err
		}
		if m.Message.Room != c.room {
			c.fleet.report(disorder, fmt.Sprintf("client %d of %s got a message of %s", c.id, c.room, m.Message.Room))
		}
		p := position{Epoch: m.Message.Epoch, Seq: m.Message.Seq}
		c.note(entry{kind: message, position: p, number: number})
		c.stand(p, true)
	case protocol.ServerGap:
		c.note(entry{kind: gap, position: position{Epoch: m.Gap.Epoch, Seq: m.Gap.From}, to: m.Gap.To, reason: string(m.Gap.Reason)})
		c.stand(position{Epoch: m.Gap.Epoch, Seq: m.Gap.To}, true)
	case protocol.ServerReset:
		c.note(entry{kind: reset, position: m.Reset.Position, since: m.Reset.Previous})
		c.stand(m.Reset.Position, true)
	case protocol.ServerReconnect:
		c.after = min(m.Reconnect.After, backoffCap)
	case protocol.ServerError:
		return c.refused(ctx, s, m.ID, m.Err)
	}
	return nil
}

// membersID is the request_id of a question who is in the room.
const membersID = "members"

func (c *client) askMembers(s *socket) error {
	c.mu.Lock()
	c.roll.asked = true
	c.mu.Unlock()
	return s.send(frame.OpText, protocol.AppendMembersRequest(nil, membersID, protocol.MembersRequest{Room: c.room, Limit: rollMost}))
}

// watch takes in who is in the room.
func (c *client) watch(s *socket, m *protocol.Server) error {
	c.mu.Lock()
	ask := false
	if m.Type == protocol.ServerMembers {
		ask = c.roll.listed(m.Members)
	} else {
		ask = c.roll.told(m.Presence)
	}
	c.mu.Unlock()
	if ask {
		return c.askMembers(s)
	}
	return nil
}

// numberOf is the number of a message: its data is NUMBER, or ["NUMBER", padding].
func numberOf(data []byte) (uint64, error) {
	if data, ok := bytes.CutPrefix(data, []byte(`["`)); ok {
		number, _, _ := bytes.Cut(data, []byte{'"'})
		return strconv.ParseUint(string(number), 10, 64)
	}
	return strconv.ParseUint(string(data), 10, 64)
}

// refused asks again where the broker was away.
func (c *client) refused(ctx context.Context, s *socket, id string, e *protocol.Error) error {
	if e.Code != protocol.Unavailable {
		c.fleet.report(sentAway, fmt.Sprintf("%s: client %d was answered %v", c.room, c.id, e))
	}
	if !wait(ctx, time.Duration(c.random.Int64N(int64(rejoinAfter)))) {
		return ctx.Err()
	}
	if id == membersID {
		return c.askMembers(s)
	}
	return c.join(s)
}

func (c *client) note(e entry) {
	e.at = c.fleet.clock()
	if e.Epoch == c.pos.Epoch {
		e.Epoch = c.pos.Epoch // one string, not one for each message
	}
	c.journal.entries = append(c.journal.entries, e)
}

func (c *client) stand(p position, in bool) {
	if p.Epoch == c.pos.Epoch {
		p.Epoch = c.pos.Epoch
	}
	c.pos = p
	c.mu.Lock()
	c.stands, c.joined = p, in
	c.mu.Unlock()
}

// where is the place that the client stands at, and whether it is joined.
func (c *client) where() (position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stands, c.joined
}

// whois is who the client is in its room; "" while it is not joined.
func (c *client) whois() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.joined {
		return ""
	}
	return c.user
}

// misjudges says how what a watcher knows of its room differs from the truth; "":
// not at all.
func (c *client) misjudges(truth map[string]int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roll.differs(truth)
}

// pause stops the client's reading; unpause lets it go on.
func (c *client) pause() { c.paused.Store(true) }

func (c *client) unpause() {
	if c.paused.Swap(false) {
		select {
		case c.resume <- struct{}{}:
		default:
		}
	}
}

// sever ends the client's connection with an RST.
func (c *client) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket != nil {
		c.socket.sever()
	}
}
