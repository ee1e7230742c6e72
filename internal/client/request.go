package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// What the protocol package has that an application sees.
type (
	Position       = protocol.Position       // a place in a room's log
	HistoryRequest = protocol.HistoryRequest // asks for what a log keeps
	History        = protocol.History        // the answer
	MembersRequest = protocol.MembersRequest // asks who is in a room
	Members        = protocol.Members        // the answer
	Error          = protocol.Error          // the gateway's refusal
)

// PublishOptions are what a publish may have besides its data.
type PublishOptions struct {
	Event string // empty: none
	ID    string // 1 to 64 bytes; empty: one is made
}

// Publish publishes one JSON value and returns where it stands in the room's
// log. The gateway's refusal is a *protocol.Error. When the connection ends
// before the reply, whether it was published is not known: sending it again
// with the same ID is safe.
func (c *Conn) Publish(ctx context.Context, room string, data []byte, o PublishOptions) (Published, error) {
	p, err := newPublish(room, data, o)
	if err != nil {
		return Published{}, err
	}
	at, err := c.publish(ctx, p)
	if err != nil {
		return Published{}, fmt.Errorf("publish to %q: %w", room, err)
	}
	return at, nil
}

// newPublish makes a publish, and judges it as the gateway will: what that
// could not read it could not answer.
func newPublish(room string, data []byte, o PublishOptions) (protocol.Publish, error) {
	p := protocol.Publish{Room: room, Data: data, Event: o.Event, ID: o.ID}
	if p.ID == "" {
		p.ID = rand.Text()
	}
	var d protocol.Decoder
	var r protocol.Request
	if err := d.Decode(protocol.AppendPublish(nil, "", p), &r); err != nil {
		return p, fmt.Errorf("publish to %q: %w", room, err)
	}
	return p, nil
}

func (c *Conn) publish(ctx context.Context, p protocol.Publish) (Published, error) {
	s, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendPublish(dst, id, p) })
	return s.Published, err
}

// Join joins a room. A Joined event comes before Join returns, and messages
// may. Of a room that this connection has only the Presence changes.
func (c *Conn) Join(ctx context.Context, s Subscription) (protocol.Joined, error) {
	added := c.ledger.add(s, true)
	j := protocol.Join{Room: s.Room, Since: s.Since, Last: s.Last, Presence: s.Presence}
	reply, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendJoin(dst, id, j) })
	if err != nil {
		if added {
			c.ledger.remove(s.Room)
		}
		return protocol.Joined{}, fmt.Errorf("join %q: %w", s.Room, err)
	}
	return reply.Joined, nil
}

// Leave leaves a room. Events of it that are on their way are dropped.
func (c *Conn) Leave(ctx context.Context, room string) error {
	c.ledger.remove(room)
	_, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendLeave(dst, id, room) })
	if err != nil {
		return fmt.Errorf("leave %q: %w", room, err)
	}
	return nil
}

// Members asks who is in a room: a page, behind the one whose cursor is given.
func (c *Conn) Members(ctx context.Context, m protocol.MembersRequest) (protocol.Members, error) {
	s, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendMembersRequest(dst, id, m) })
	if err != nil {
		return protocol.Members{}, fmt.Errorf("members of %q: %w", m.Room, err)
	}
	return s.Members, nil
}

// History asks for what the log of a room keeps: a page, ascending.
func (c *Conn) History(ctx context.Context, h protocol.HistoryRequest) (protocol.History, error) {
	s, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendHistoryRequest(dst, id, h) })
	if err != nil {
		return protocol.History{}, fmt.Errorf("history of %q: %w", h.Room, err)
	}
	return s.History, nil
}

// Register takes a user's name, with the key that this client has of it. A
// client asks for it again after each reconnection.
func (c *Conn) Register(ctx context.Context, username string) (protocol.Registered, error) {
	name, key := c.who.username()
	if name != username {
		key = ""
	}
	s, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendRegister(dst, id, username, key) })
	if err != nil {
		return protocol.Registered{}, fmt.Errorf("register %q: %w", username, err)
	}
	return s.Registered, nil
}

// Auth shows the gateway another token, which counts from the reply on.
func (c *Conn) Auth(ctx context.Context, token string) (protocol.Authenticated, error) {
	s, err := c.Ask(ctx, func(dst []byte, id string) []byte { return protocol.AppendAuth(dst, id, token) })
	if err != nil {
		return protocol.Authenticated{}, fmt.Errorf("auth: %w", err)
	}
	return s.Authenticated, nil
}

// Ask sends one request and waits for its reply. build appends the request
// with that request_id, as the protocol package's Append functions do. An
// error reply is a *protocol.Error; when the connection ends first, its end.
func (c *Conn) Ask(ctx context.Context, build func(dst []byte, id string) []byte) (protocol.Server, error) {
	k, err := c.begin(ctx, build)
	if err != nil {
		return protocol.Server{}, err
	}
	defer k.forget()
	return k.wait(ctx)
}

// call is a request on its way.
type call struct {
	conn  *Conn
	id    string
	reply <-chan protocol.Server
}

func (c *Conn) begin(ctx context.Context, build func(dst []byte, id string) []byte) (*call, error) {
	k := c.register()
	request := build(nil, k.id)
	err := c.fits(request)
	if err == nil {
		err = c.write(ctx, frame.OpText, request)
	}
	if err != nil {
		k.forget()
		return nil, err
	}
	return k, nil
}

func (c *Conn) register() *call {
	reply := make(chan protocol.Server, 1)
	k := &call{conn: c, id: c.number(), reply: reply}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[k.id] = reply
	return k
}

// number makes a request_id.
func (c *Conn) number() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return strconv.FormatUint(c.asked, 10)
}

func (c *Conn) fits(request []byte) error {
	if limit := c.welcome.MessageBytes; limit > 0 && int64(len(request)) > limit {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooBig, len(request), limit)
	}
	return nil
}

func (k *call) wait(ctx context.Context) (protocol.Server, error) {
	select {
	case s := <-k.reply:
		return k.judge(s)
	case <-ctx.Done():
		return protocol.Server{}, ctx.Err()
	case <-k.conn.done:
		select {
		case s := <-k.reply: // it came just before the end
			return k.judge(s)
		default:
			return protocol.Server{}, k.conn.Err()
		}
	}
}

func (k *call) judge(s protocol.Server) (protocol.Server, error) {
	if s.Err != nil {
		return s, s.Err
	}
	return s, nil
}

// forget lets go of a request whose reply nobody waits for.
func (k *call) forget() {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	delete(k.conn.pending, k.id)
}
