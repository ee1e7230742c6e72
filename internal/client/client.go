package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Client keeps a connection to a gateway: Connect, or New and then Run in one
// goroutine; all else from any.
type Client struct {
	dialer // immutable

	asking atomic.Int32 // requests of the application that wait for their reply

	mu      sync.Mutex
	rooms   map[string]*Room // that Join joined
	conn    *Conn            // nil: not connected
	state   State            // the newest
	turn    uint64           // its number; 0: there was none yet
	changed chan struct{}    // closed and replaced when conn, final or state change
	final   error            // why Run returned

	ending chan struct{} // closed when Run's context has ended: nobody takes events any more
	over   chan struct{} // closed once Run has set final

	stop context.CancelFunc // of a client that Connect runs; nil: another does
	ran  chan struct{}      // closed when that has ended
}

// New makes a client that is not connected yet. An error wraps ErrConfig.
func New(cfg Config) (*Client, error) {
	cfg, target, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{
		rooms:   make(map[string]*Room),
		changed: make(chan struct{}),
		ending:  make(chan struct{}),
		over:    make(chan struct{}),
	}
	told := cfg.OnEvent
	cfg.OnEvent = func(e Event) { told(e); c.dispatch(e) }
	c.dialer = newDialer(cfg, target)
	return c, nil
}

// Connect makes a client and runs it until Close. It waits for the first
// connection; where there cannot be one, or ctx ends before, the error says why and
// nothing of the client runs any more.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop, c.ran = stop, make(chan struct{})
	go func() {
		defer close(c.ran)
		_ = c.Run(running) // what waits for the client is told
	}()
	if _, err := c.connected(ctx, nil); err != nil {
		failed := c.newest().Err
		c.Close()
		return nil, unanswered(err, failed)
	}
	return c, nil
}

// Close ends a client that Connect made: it says goodbye to the gateway and waits
// until nothing of the client runs any more.
func (c *Client) Close() {
	c.stop()
	<-c.ran
}

// Run connects, and connects again, until ctx ends or coming back makes no
// sense. It returns ctx's error, or one that wraps ErrPermanent and the
// *CloseError or *RefusedError that was the reason. When it returns, nothing
// of the client runs any more. It may be called once, and not after Connect.
func (c *Client) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { close(c.ending) })()
	wait := newBackoff(&c.cfg)
	for {
		c.emit(State{Status: Connecting, Attempt: wait.attempt})
		conn, err := c.dial(ctx)
		var lasted time.Duration
		if err == nil {
			since := time.Now()
			err = c.serve(ctx, conn)
			lasted = time.Since(since)
		}
		if ctx.Err() != nil {
			return c.finish(ctx.Err(), err)
		}
		v := verdict(err)
		if v == protocol.Stop || v == protocol.NewToken && !c.who.refuse() {
			return c.finish(fmt.Errorf("%w: %w", ErrPermanent, err), err)
		}
		// One that the gateway ended for its load goes on backing off.
		if lasted >= settled && v != protocol.ComeBackLater {
			wait.reset()
		}
		pause := pauseFor(conn, err, wait)
		c.cfg.Logger.Debug("disconnected", "error", err, "lasted", lasted, "wait", pause)
		c.emit(State{Status: Disconnected, Err: err, Wait: pause})
		if err := sleep(ctx, pause); err != nil {
			return c.finish(err, err)
		}
	}
}

// serve waits for the connection's end, with Publish using it meanwhile.
func (c *Client) serve(ctx context.Context, conn *Conn) error {
	c.cfg.Logger.Debug("connected", "host", c.target.Host, "gateway", conn.Welcome().Gateway, "connection", conn.Welcome().Connection)
	c.set(conn, nil)
	select {
	case <-conn.Done():
	case <-ctx.Done():
	}
	c.set(nil, nil)
	conn.Close()
	return conn.Err()
}

func (c *Client) finish(result, cause error) error {
	c.set(nil, result)
	close(c.over)
	for _, r := range c.joined() {
		r.end(result)
	}
	c.emit(State{Status: Disconnected, Err: cause, Final: true})
	return result
}

func (c *Client) set(conn *Conn, final error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.final = conn, final
	c.wake()
	if conn != nil {
		conn.joinMore() // of rooms that came while it was made
	}
}

// wake lets all look again; the caller holds mu.
func (c *Client) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// pauseFor returns how long to wait before the next attempt. A gateway that
// asked for a time has spread its clients itself, and gets just that; but not
// from one short connection to the next. A Retry-After is the least.
func pauseFor(conn *Conn, err error, wait *backoff) time.Duration {
	if conn != nil {
		if after, asked := conn.ReconnectAfter(); asked {
			if wait.attempt > 0 {
				return max(after, wait.next())
			}
			wait.attempt++
			return after
		}
	}
	pause := wait.next()
	var refused *RefusedError
	if errors.As(err, &refused) {
		pause = max(pause, refused.RetryAfter)
	}
	return pause
}

// Publish publishes one JSON value and returns where it stands in the room's
// log. It waits for a connection, and sends again with the same id after a
// connection was lost, or when the gateway was unavailable or said to slow
// down, until ctx ends or Config.RequestTimeout is over: whether it was published
// is then not known, and publishing it again with the same ID is safe. Other
// refusals are a *protocol.Error; once Run has returned, the error is Run's.
func (c *Client) Publish(ctx context.Context, room string, data []byte, o PublishOptions) (Published, error) {
	p, err := newPublish(room, data, o)
	if err != nil {
		return Published{}, err
	}
	var at Published
	err = c.ask(ctx, func(ctx context.Context, conn *Conn) (err error) {
		at, err = conn.publish(ctx, p)
		return err
	})
	if err != nil {
		return Published{}, fmt.Errorf("publish to %q: %w", room, err)
	}
	return at, nil
}

// History reads what the log of a room keeps between two sequence numbers, both
// exclusive, ascending; it waits and asks again as Publish does.
func (c *Client) History(ctx context.Context, h protocol.HistoryRequest) (protocol.History, error) {
	var page protocol.History
	err := c.ask(ctx, func(ctx context.Context, conn *Conn) (err error) {
		page, err = conn.History(ctx, h)
		return err
	})
	if err != nil {
		return protocol.History{}, fmt.Errorf("history of %q: %w", h.Room, err)
	}
	return page, nil
}

// Members asks who is in a room, a page; it waits and asks again as Publish does.
func (c *Client) Members(ctx context.Context, m protocol.MembersRequest) (protocol.Members, error) {
	var page protocol.Members
	err := c.ask(ctx, func(ctx context.Context, conn *Conn) (err error) {
		page, err = conn.Members(ctx, m)
		return err
	})
	if err != nil {
		return protocol.Members{}, fmt.Errorf("members of %q: %w", m.Room, err)
	}
	return page, nil
}

// ask makes a request, which can be made twice, until it has an answer that
// stays: over lost connections, and past refusals that are for the time being.
func (c *Client) ask(ctx context.Context, request func(context.Context, *Conn) error) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	defer c.waiting()()
	wait := newBackoff(&c.cfg)
	var over *Conn
	var last error
	for {
		conn, err := c.connected(ctx, over)
		if err != nil {
			return unanswered(err, last)
		}
		err = request(ctx, conn)
		if err == nil {
			return nil
		}
		var refused *protocol.Error
		switch {
		case errors.As(err, &refused) && passing(refused):
			over, last = nil, refused
			if sleep(ctx, max(refused.RetryAfter, wait.next())) == nil {
				continue
			}
		case refused != nil:
			return refused
		case errors.Is(err, ErrTooBig):
			return err
		case ctx.Err() == nil:
			over, last = conn, err
			continue
		}
		return unanswered(context.Cause(ctx), last)
	}
}

// waiting says that the application waits for a reply, until the function that it
// returns is called.
func (c *Client) waiting() (done func()) {
	c.asking.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rooms {
		r.queue.poke()
	}
	return func() { c.asking.Add(-1) }
}

// connected waits for a connection other than the one that is over.
func (c *Client) connected(ctx context.Context, over *Conn) (*Conn, error) {
	for {
		c.mu.Lock()
		conn, final, changed := c.conn, c.final, c.changed
		c.mu.Unlock()
		if final != nil {
			return nil, final
		}
		if conn != nil && conn != over {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// unanswered is the error of a request that was given up.
func unanswered(err, last error) error {
	if last != nil {
		return fmt.Errorf("%w (last: %w)", err, last)
	}
	return err
}
