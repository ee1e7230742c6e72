package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// A write of PublishAll has no more than this. The gateway ends a connection
// after 100 refusals in a row, and reads 64 KiB at once: what came in one read
// it judges at one point of time, so that behind a message that its rate limit
// refuses it takes none of the same write.
const (
	batchMessages = 64
	batchBytes    = 16 << 10
)

// Outgoing is a message on its way through PublishAll.
type Outgoing struct {
	Room string
	Data []byte // one JSON value
	PublishOptions
	Line int // the caller's own: where it comes from
}

// Published says where a message stands in its room's log.
type Published = protocol.Published

// Stream is what PublishAll publishes.
type Stream struct {
	From <-chan Outgoing // closed: no more

	// Done is told of each message that was published, in the order stored.
	Done func(Outgoing, Published)

	// Patience is how long to wait for the next message to be published, while
	// there is one; 0: for ever.
	Patience time.Duration
}

// UnpublishedError says which message ended PublishAll.
type UnpublishedError struct {
	Message Outgoing
	Err     error
	Last    error // why the newest try failed, where time has run out; or nil
}

// Error returns why the message was not published.
func (e *UnpublishedError) Error() string {
	text := fmt.Sprintf("publish to %q: %v", e.Message.Room, e.Err)
	if e.Last != nil {
		text += fmt.Sprintf(" (last: %v)", e.Last)
	}
	return text
}

// Unwrap returns the reason without the room.
func (e *UnpublishedError) Unwrap() error { return e.Err }

// CheckPublish judges a room and options as the gateway would. An error wraps
// ErrConfig.
func CheckPublish(room string, o PublishOptions) error {
	if _, err := newPublish(room, []byte("null"), o); err != nil {
		var invalid *protocol.Error
		if errors.As(err, &invalid) {
			return fmt.Errorf("%w: %s", ErrConfig, invalid.Message)
		}
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// PublishAll publishes a stream in its order, many to a round trip: what is
// there at once goes out in one write, and the next write waits for its replies.
// After a lost connection it sends again, with the same ids and in the same
// order, what was not answered, so that each is stored once and none out of its
// place. What the gateway refuses for the time being it sends again when that
// has passed.
//
// The first message that cannot be published ends it, with an *UnpublishedError,
// once those before have been; what went out in the same write may have been
// published too, and Done was told. The reason behind it is a *protocol.Error,
// ErrTooBig, ctx's or Patience's end (context.DeadlineExceeded), or, once Run
// has returned, Run's. It may be called from any goroutine, also several.
func (c *Client) PublishAll(ctx context.Context, s Stream) error {
	b := &batch{client: c, stream: s, from: s.From, size: batchMessages, wait: newBackoff(&c.cfg)}
	b.renew(ctx)
	defer func() { b.cancel() }()
	for {
		if err := b.take(ctx); err != nil || len(b.queue) == 0 {
			return err
		}
		if err := b.send(ctx); err != nil {
			return err
		}
	}
}

// batch is the state of a PublishAll, whose goroutine owns it.
type batch struct {
	client *Client
	stream Stream
	from   <-chan Outgoing // nil: no more comes
	queue  []queued        // not published yet, in order
	size   int             // messages that the next write may have; less after a refusal
	wait   *backoff
	over   *Conn // a connection that was lost
	last   error // why the newest try failed

	// Of the message that is waited for.
	ctx    context.Context
	cancel context.CancelFunc
}

type queued struct {
	Outgoing
	publish protocol.Publish
	bytes   int
	err     error // it cannot be published
}

// renew begins to wait for the next message.
func (b *batch) renew(ctx context.Context) {
	if b.cancel != nil {
		b.cancel()
	}
	if b.stream.Patience <= 0 {
		b.ctx, b.cancel = context.WithCancel(ctx)
		return
	}
	b.ctx, b.cancel = context.WithTimeout(ctx, b.stream.Patience)
}

// take waits until there is something to publish, and takes what else is there
// for the same write. Nothing in the queue then means that all is published.
func (b *batch) take(ctx context.Context) error {
	if len(b.queue) == 0 && b.from != nil {
		select {
		case o, ok := <-b.from:
			b.add(o, ok)
			b.renew(ctx)
		case <-b.client.over:
			return b.client.ended()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for b.from != nil && len(b.queue) < b.size {
		select {
		case o, ok := <-b.from:
			b.add(o, ok)
		default:
			return nil
		}
	}
	return nil
}

func (b *batch) add(o Outgoing, ok bool) {
	if !ok {
		b.from = nil
		return
	}
	p, err := newPublish(o.Room, o.Data, o.PublishOptions)
	// Its length on the wire, but for a little: the envelope and the names.
	size := len(p.Room) + len(p.Data) + len(p.Event) + len(p.ID) + 128
	b.queue = append(b.queue, queued{Outgoing: o, publish: p, bytes: size, err: err})
}

// send sends the beginning of the queue, in one write, and waits for the
// replies.
func (b *batch) send(ctx context.Context) error {
	ps := b.next()
	if len(ps) == 0 {
		return b.fail(0, b.queue[0].err)
	}
	conn, err := b.client.connected(b.ctx, b.over)
	if err != nil {
		return b.fail(0, err)
	}
	calls, err := conn.beginPublish(b.ctx, ps)
	if err != nil {
		if errors.Is(err, ErrTooBig) || b.ctx.Err() != nil {
			return b.fail(0, err)
		}
		b.over, b.last = conn, err
		return nil
	}
	return b.settle(ctx, conn, calls)
}

// next returns what goes out in the next write.
func (b *batch) next() []protocol.Publish {
	var ps []protocol.Publish
	bytes := 0
	for i := range b.queue[:min(b.size, len(b.queue))] {
		q := &b.queue[i]
		if bytes += q.bytes; q.err != nil || i > 0 && bytes > batchBytes {
			break
		}
		ps = append(ps, q.publish)
	}
	return ps
}

// settle waits for the replies, and keeps in the queue what has to be sent
// again.
func (b *batch) settle(ctx context.Context, conn *Conn, calls []*call) error {
	var kept []queued
	var failed error
	var after time.Duration
	refusals := 0
	for i, k := range calls {
		s, err := k.wait(b.ctx)
		k.forget()
		var refused *protocol.Error
		switch {
		case err == nil:
			b.stream.Done(b.queue[i].Outgoing, s.Published)
			b.renew(ctx)
			b.wait.reset()
			continue
		case errors.As(err, &refused) && passing(refused):
			refusals++
			after = max(after, refused.RetryAfter)
		case failed == nil && (refused != nil || b.ctx.Err() != nil):
			failed = b.fail(i, err)
		case refused == nil:
			b.over = conn
		}
		b.last = err
		kept = append(kept, b.queue[i])
	}
	b.queue = append(kept, b.queue[len(calls):]...)
	if failed != nil {
		return failed
	}
	if refusals == 0 {
		b.size = min(2*b.size, batchMessages)
		return nil
	}
	b.size = 1
	if after == 0 {
		after = b.wait.next()
	}
	if err := sleep(b.ctx, after); err != nil {
		return b.fail(0, err)
	}
	return nil
}

// fail is the error that the queue's message i ends the stream with.
func (b *batch) fail(i int, err error) error {
	failed := &UnpublishedError{Message: b.queue[i].Outgoing, Err: err}
	if b.ctx.Err() != nil {
		failed.Last = b.last
	}
	return failed
}

// beginPublish sends publishes in one write: all, or those before one that is
// too big. After an error some may have gone out, unless it is ErrTooBig.
func (c *Conn) beginPublish(ctx context.Context, ps []protocol.Publish) ([]*call, error) {
	calls := make([]*call, 0, len(ps))
	requests := make([][]byte, 0, len(ps))
	for _, p := range ps {
		k := c.register()
		request := protocol.AppendPublish(nil, k.id, p)
		if err := c.fits(request); err != nil {
			k.forget()
			if len(calls) == 0 {
				return nil, err
			}
			break
		}
		calls, requests = append(calls, k), append(requests, request)
	}
	if err := c.write(ctx, frame.OpText, requests...); err != nil {
		for _, k := range calls {
			k.forget()
		}
		return nil, err
	}
	return calls, nil
}

// ended returns why Run returned.
func (c *Client) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.final
}
