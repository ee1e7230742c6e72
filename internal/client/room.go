package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Room is a room that a Client has joined: Join makes it, and it goes on over any
// number of connections until Leave, until the gateway refuses it, or until the
// client ends. Its methods may be called from any goroutine; its events are to be
// taken by one at a time.
type Room struct {
	client *Client
	name   string
	queue  *queue

	settled chan struct{} // closed when it was joined first, or is over
	once    sync.Once     // closes settled

	mu  sync.Mutex
	err error // why it is over; nil: it is not, or was left
}

// Join joins a room, at once or as soon as there is a connection, and waits until
// the gateway has it in. A refusal is a *protocol.Error; once Run has returned the
// error is Run's. If ctx ends first the room is left again. A room can be joined
// once at a time: a second Join, and one of a room of Config.Rooms, is ErrJoined.
func (c *Client) Join(ctx context.Context, s Subscription) (*Room, error) {
	if !protocol.ValidRoom(s.Room) {
		return nil, roomError(s.Room)
	}
	r := &Room{client: c, name: s.Room, queue: newQueue(&c.asking), settled: make(chan struct{})}
	if err := c.enter(r, s); err != nil {
		return nil, fmt.Errorf("join %q: %w", s.Room, err)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	select {
	case <-r.settled:
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("join %q: %w", s.Room, err)
		}
		return r, nil
	case <-ctx.Done():
		r.abandon()
		return nil, fmt.Errorf("join %q: %w", s.Room, context.Cause(ctx))
	}
}

// enter books a room and sends its join if there is a connection.
func (c *Client) enter(r *Room, s Subscription) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final != nil {
		return c.final
	}
	if !c.ledger.add(s, false) {
		return ErrJoined
	}
	c.rooms[r.name] = r
	if c.conn != nil {
		c.conn.joinMore()
	}
	return nil
}

// Name returns the room's name.
func (r *Room) Name() string { return r.name }

// Position returns where the client stands in the room: a later client that joins
// with Since of it goes on there. Events that were not taken yet are before it.
func (r *Room) Position() (protocol.Position, bool) { return r.client.ledger.position(r.name) }

// Events gives the room's events in their order: its first [Joined] and those
// after each reconnection, each [Message] once, and a [Gap] or a [Reset] where
// messages are missing; [Presence] where the Subscription asked for it, and [Fault].
// It ends with ctx, or when the room is over: Err says why. Breaking the loop loses
// nothing; the next one goes on.
func (r *Room) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			e, ok := r.queue.pop(ctx.Done())
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// Messages gives the messages alone, for applications that do without those that
// are missing.
func (r *Room) Messages(ctx context.Context) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for e := range r.Events(ctx) {
			if m, ok := e.(Message); ok && !yield(m) {
				return
			}
		}
	}
}

// Publish publishes to the room, as Client.Publish does.
func (r *Room) Publish(ctx context.Context, data []byte, o PublishOptions) (Published, error) {
	return r.client.Publish(ctx, r.name, data, o)
}

// Leave leaves the room: its events end behind those that are there, and no later
// connection joins it. The error says that the gateway did not confirm it, which
// ends with the connection at the latest.
func (r *Room) Leave(ctx context.Context) error {
	conn := r.client.forget(r)
	r.end(nil)
	if conn == nil {
		return nil
	}
	return conn.Leave(ctx, r.name)
}

// abandon leaves a room whose join nobody waits for.
func (r *Room) abandon() {
	conn := r.client.forget(r)
	r.end(nil)
	if conn != nil {
		conn.start(func() { _ = conn.Leave(conn.ctx, r.name) })
	}
}

// forget strikes a room out; it returns the connection that there is.
func (c *Client) forget(r *Room) *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms[r.name] != r {
		return nil
	}
	delete(c.rooms, r.name)
	c.ledger.remove(r.name)
	return c.conn
}

// Err returns why the room is over: a *protocol.Error where the gateway refused
// it, Run's error where the client ended; nil while it goes on and after Leave.
func (r *Room) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Room) end(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.queue.close()
	r.once.Do(func() { close(r.settled) })
}

// take gets an event of the room from the reader.
func (r *Room) take(e Event, end <-chan struct{}) {
	if refused, ok := e.(Refused); ok {
		r.client.forget(r)
		r.end(refused.Err)
		return
	}
	r.queue.push(e, end)
	if _, ok := e.(Joined); ok {
		r.once.Do(func() { close(r.settled) })
	}
}

// joined returns the rooms that Join joined.
func (c *Client) joined() []*Room {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.rooms))
}

// dispatch gives an event to its Room, if there is one.
func (c *Client) dispatch(e Event) {
	if s, ok := e.(State); ok {
		c.tell(s)
		return
	}
	c.mu.Lock()
	r := c.rooms[eventRoom(e)]
	c.mu.Unlock()
	if r != nil {
		r.take(e, c.ending)
	}
}

// eventRoom returns the room that an event is about; empty: none.
func eventRoom(e Event) string {
	switch e := e.(type) {
	case Message:
		return e.Room
	case Gap:
		return e.Room
	case Reset:
		return e.Room
	case Presence:
		return e.Room
	case Joined:
		return e.Room
	case Refused:
		return e.Room
	case Fault:
		return e.Room
	}
	return ""
}

// tell keeps the newest State for States.
func (c *Client) tell(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.turn = s, c.turn+1
	c.wake()
}

// newest returns the newest State.
func (c *Client) newest() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// States gives the connection's state: the one that it has and each after it, of
// several in a row perhaps the newest alone. It ends with ctx, or behind the State
// that is Final.
func (c *Client) States(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		for told := uint64(0); ; {
			c.mu.Lock()
			s, turn, changed := c.state, c.turn, c.changed
			c.mu.Unlock()
			if turn != told {
				told = turn
				if !yield(s) || s.Final {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// errTimeout is the cause of a request's end after Config.RequestTimeout.
var errTimeout = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// bounded ends a request in time.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.cfg.RequestTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.cfg.RequestTimeout, errTimeout)
}

// ErrJoined refuses to join a room twice.
var ErrJoined = errors.New("joined already")
