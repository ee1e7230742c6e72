package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

var errMoved = errors.New("redis ended a subscription by itself")

// link is one connection of a subscriber.
type link struct {
	s      *shard
	number uint64
	pubsub *goredis.PubSub
	ctx    context.Context // one connection can be made in it
	cancel context.CancelFunc
	made   time.Time
	open   chan struct{} // closed when the probe channel is confirmed
	ended  chan struct{} // closed when the reader has ended

	// Set by the reader before ended is closed.
	why metrics.ReconnectReason
	err error
}

// dial makes a connection, subscribes the fixed channels and begins to read.
func (s *shard) dial() (*link, error) {
	l := &link{
		s: s, number: s.link.Add(1), made: time.Now(),
		open: make(chan struct{}), ended: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(once(s.b.ctx))
	// Without channels these connect to nothing yet.
	if s.b.sharded {
		l.pubsub = s.b.client.SSubscribe(l.ctx)
	} else {
		l.pubsub = s.b.client.Subscribe(l.ctx)
	}
	ctx, cancel := context.WithTimeout(l.ctx, dialTimeout+socketTimeout)
	defer cancel()
	if err := l.subscribe(ctx, s.fixed); err != nil {
		l.cancel()
		l.pubsub.Close()
		return nil, err
	}
	go l.read(l.open)
	return l, nil
}

// close ends the connection and waits for its reader.
func (l *link) close() {
	l.cancel()
	l.pubsub.Close()
	<-l.ended
}

func (l *link) subscribe(ctx context.Context, channels []string) error {
	if l.s.b.sharded {
		return l.pubsub.SSubscribe(ctx, channels...)
	}
	return l.pubsub.Subscribe(ctx, channels...)
}

func (l *link) join(channels []string) error {
	if len(channels) == 0 {
		return nil
	}
	return l.subscribe(l.ctx, channels)
}

func (l *link) leave(channels []string) error {
	if len(channels) == 0 {
		return nil
	}
	if l.s.b.sharded {
		return l.pubsub.SUnsubscribe(l.ctx, channels...)
	}
	return l.pubsub.Unsubscribe(l.ctx, channels...)
}

// read is the goroutine that reads the connection, and waits for nothing else.
func (l *link) read(open chan struct{}) {
	defer close(l.ended)
	for {
		got, err := l.pubsub.Receive(l.ctx)
		if err != nil {
			l.why, l.err = metrics.ReconnectRead, fmt.Errorf("receive: %w", err)
			if goredis.HasErrorPrefix(err, "MOVED") {
				l.why = metrics.ReconnectMoved
			}
			return
		}
		switch got := got.(type) {
		case *goredis.Message:
			l.message(got)
		case *goredis.Subscription:
			if got.Channel == l.s.probing && open != nil {
				close(open)
				open = nil
			}
			if !l.subscription(got) {
				l.why, l.err = metrics.ReconnectMoved, errMoved
				return
			}
		}
	}
}

func (l *link) message(m *goredis.Message) {
	s := l.s
	if room, ok := s.names.room(m.Channel); ok {
		s.inbox.put(item{kind: itemMessage, room: room, payload: m.Payload})
		return
	}
	if m.Channel == s.names.control() {
		s.inbox.put(item{kind: itemControl, payload: m.Payload})
		return
	}
	sent, ok := l.probed(m.Payload)
	if m.Channel != s.probing || !ok {
		s.b.cfg.Metrics.Junk.Inc()
		return
	}
	now := time.Since(s.started)
	s.proof.Store(int64(now))
	s.b.cfg.Metrics.Lag.Observe(uint64(max(0, now-sent)))
	if s.b.advised.CompareAndSwap(false, true) {
		s.b.done.Go(s.b.advise)
	}
}

// subscription returns false if Redis ended one by itself: a slot has moved.
func (l *link) subscription(sub *goredis.Subscription) bool {
	room, ok := l.s.names.room(sub.Channel)
	switch sub.Kind {
	case "subscribe", "ssubscribe":
		if ok {
			l.s.subscribed(room)
		}
		return true
	case "unsubscribe", "sunsubscribe":
		return ok && l.s.unsubscribed(room)
	}
	return true
}

// probe publishes to the connection's own channel through the commands'
// connections, beside the caller.
func (s *shard) probe(number uint64) {
	if s.probes.Swap(true) {
		return
	}
	s.b.done.Go(func() {
		defer s.probes.Store(false)
		ctx, cancel := context.WithTimeout(s.b.ctx, s.b.cfg.ProbeTimeout)
		defer cancel()
		payload := fmt.Sprintf("%d %d", number, int64(time.Since(s.started)))
		_, err := s.b.run(ctx, scriptProbe, []string{s.names.probeKey("probe")}, s.probing, payload, s.b.publish)
		if err != nil && s.b.ctx.Err() == nil {
			s.mu.Lock()
			s.last = "publish a probe: " + err.Error()
			s.mu.Unlock()
		}
	})
}

// probed reads a probe of this connection: when it was sent, since the shard
// started.
func (l *link) probed(payload string) (time.Duration, bool) {
	number, sent, ok := strings.Cut(payload, " ")
	if n, err := strconv.ParseUint(number, 10, 64); !ok || err != nil || n != l.number {
		return 0, false
	}
	at, err := strconv.ParseInt(sent, 10, 64)
	return time.Duration(at), err == nil
}
