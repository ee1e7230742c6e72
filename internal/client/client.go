package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Client keeps a connection to a gateway: New, then Run in one goroutine;
// Publish from any.
type Client struct {
	dialer // immutable

	mu      sync.Mutex
	conn    *Conn         // nil: not connected
	changed chan struct{} // closed and replaced when conn or final change
	final   error         // why Run returned

	over chan struct{} // closed once Run has set final
}

// New makes a client that is not connected yet. An error wraps ErrConfig.
func New(cfg Config) (*Client, error) {
	cfg, target, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{
		dialer:  newDialer(cfg, target),
		changed: make(chan struct{}),
		over:    make(chan struct{}),
	}, nil
}

// Run connects, and connects again, until ctx ends or coming back makes no
// sense. It returns ctx's error, or one that wraps ErrPermanent and the
// *CloseError or *RefusedError that was the reason. When it returns, nothing
// of the client runs any more. It may be called once.
func (c *Client) Run(ctx context.Context) error {
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
	c.emit(State{Status: Disconnected, Err: cause, Final: true})
	return result
}

func (c *Client) set(conn *Conn, final error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.final = conn, final
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
// down, until ctx ends. Other refusals are a *protocol.Error; once Run has
// returned, the error is Run's.
func (c *Client) Publish(ctx context.Context, room string, data []byte, o PublishOptions) (protocol.Position, error) {
	p, err := newPublish(room, data, o)
	if err != nil {
		return protocol.Position{}, err
	}
	wait := newBackoff(&c.cfg)
	var last *Conn
	var lastErr error
	for {
		conn, err := c.connected(ctx, last)
		if err != nil {
			return protocol.Position{}, unanswered(room, err, lastErr)
		}
		at, err := conn.publish(ctx, p)
		if err == nil {
			return at, nil
		}
		if ctx.Err() != nil {
			return protocol.Position{}, unanswered(room, ctx.Err(), lastErr)
		}
		lastErr = err
		var refused *protocol.Error
		switch {
		case errors.As(err, &refused) && passing(refused):
			last = nil
			if err := sleep(ctx, max(refused.RetryAfter, wait.next())); err != nil {
				return protocol.Position{}, unanswered(room, err, lastErr)
			}
		case refused != nil, errors.Is(err, ErrTooBig):
			return protocol.Position{}, err
		default:
			last = conn
		}
	}
}

// Members asks who is in a room, as Conn.Members does, once there is a
// connection.
func (c *Client) Members(ctx context.Context, m protocol.MembersRequest) (protocol.Members, error) {
	conn, err := c.connected(ctx, nil)
	if err != nil {
		return protocol.Members{}, fmt.Errorf("members of %q: %w", m.Room, err)
	}
	return conn.Members(ctx, m)
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
			return nil, ctx.Err()
		}
	}
}

// unanswered is the error of a publish that was given up.
func unanswered(room string, err, last error) error {
	if last != nil {
		return fmt.Errorf("publish to %q: %w (last: %w)", room, err, last)
	}
	return fmt.Errorf("publish to %q: %w", room, err)
}
