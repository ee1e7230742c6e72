package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Conn is one connection to a gateway. Its methods may be called from any
// goroutine but the one that runs OnEvent.
type Conn struct {
	// Immutable.
	cfg    *Config
	log    *slog.Logger
	nc     connection
	ledger *ledger
	who    *identity
	emit   func(Event)

	// Owned by the reader.
	frames  frame.ClientReader
	limits  frame.ReaderConfig
	filling map[string]string // the room whose gap a history fills, by its request_id

	// Set once by the reader, before welcomed is closed.
	welcome  protocol.Welcome
	welcomed chan struct{}

	// Held by who writes; a channel, so that waiting for it can end.
	writing chan struct{}
	out     []byte // scratch of the writer
	sealed  bool   // a close frame, or only part of a frame, went out: nothing may follow

	mu      sync.Mutex
	pending map[string]chan<- protocol.Server // requests that wait for their reply
	asked   uint64                            // requests so far: the next request_id
	closing bool                              // no task may start any more
	cause   error                             // why the connection ends; the first to say so is right

	reconnect atomic.Int64 // nanoseconds of the gateway's reconnect hint; 0: none

	ctx   context.Context // of the tasks; ends with the connection
	end   context.CancelFunc
	tasks sync.WaitGroup
	done  chan struct{} // closed when the reader has ended
}

// scratchKept bounds the memory that a connection keeps between writes.
const scratchKept = 16 << 10

// Dial makes one connection, waits for the gateway's welcome and begins to
// join the rooms. ctx bounds the dialing only. The connection must be closed,
// also one that has ended.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	cfg, target, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := newDialer(cfg, target)
	return d.dial(ctx)
}

// dialer makes connections, one at a time, that go on where the one before was.
type dialer struct {
	cfg    Config
	target *url.URL
	ledger *ledger
	who    *identity
	emit   func(Event)
}

func newDialer(cfg Config, target *url.URL) dialer {
	return dialer{cfg: cfg, target: target, ledger: newLedger(cfg.Rooms), who: newIdentity(&cfg), emit: serial(cfg.OnEvent)}
}

// serial makes calls of f one at a time.
func serial(f func(Event)) func(Event) {
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		f(e)
	}
}

func (d *dialer) dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.DialTimeout)
	defer cancel()
	token, err := d.who.next(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := handshake(ctx, &d.cfg, d.target, token)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		cfg: &d.cfg, log: d.cfg.Logger, nc: nc, ledger: d.ledger, who: d.who, emit: d.emit,
		limits:   frame.ReaderConfig{MessageBytes: d.cfg.MessageBytes, Deflate: nc.deflate},
		filling:  make(map[string]string),
		welcomed: make(chan struct{}),
		writing:  make(chan struct{}, 1),
		pending:  make(map[string]chan<- protocol.Server),
		done:     make(chan struct{}),
	}
	d.ledger.begin()
	c.ctx, c.end = context.WithCancel(context.Background())
	c.tasks.Go(c.read)
	if err := c.greeted(ctx); err != nil {
		c.tasks.Wait()
		return nil, fmt.Errorf("welcome from %s: %w", d.target.Host, err)
	}
	joins := d.ledger.joins() // now: rooms that Join adds are its own
	c.start(func() { c.introduce(); c.join(joins) })
	if token != "" {
		c.start(c.renew)
	}
	return c, nil
}

// start starts a task that ends with the connection, unless that has ended.
func (c *Conn) start(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.tasks.Go(task)
	}
}

// joinMore joins the rooms that this connection was not asked for yet.
func (c *Conn) joinMore() {
	if joins := c.ledger.joins(); len(joins) > 0 {
		c.start(func() { c.join(joins) })
	}
}

// greeted waits for the welcome. A connection that had it and is over already is
// one all the same: the gateway may have said when to come back.
func (c *Conn) greeted(ctx context.Context) error {
	select {
	case <-c.welcomed:
		return nil
	case <-c.done:
	case <-ctx.Done():
		c.abort(ctx.Err())
		return ctx.Err()
	}
	select {
	case <-c.welcomed:
		return nil
	default:
		return c.Err()
	}
}

// Welcome returns what the gateway said of itself and its limits.
func (c *Conn) Welcome() protocol.Welcome { return c.welcome }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: a *CloseError, ErrSilent, ErrClosed or
// the network's error. While the connection lives it is nil.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cause
	default:
		return nil
	}
}

// ReconnectAfter returns how long the gateway asked to wait before connecting
// again, and whether it did.
func (c *Conn) ReconnectAfter() (time.Duration, bool) {
	d := time.Duration(c.reconnect.Load())
	return max(d, 0), d != 0
}

// Close says goodbye with code 1000, waits two seconds at most for the
// gateway's answer, ends the connection and waits for its goroutines. OnEvent
// is not called after it has returned.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	ctx, cancel := context.WithTimeout(c.ctx, closeTimeout)
	defer cancel()
	if err := c.sendClose(ctx, protocol.CloseNormal, ""); err == nil {
		<-ctx.Done() // which the reader's end ends as well
	}
	c.abort(ErrClosed)
	c.tasks.Wait()
	return nil
}

// fail remembers why the connection ends, unless that is known.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
}

// abort ends the socket; the reader then ends the rest.
func (c *Conn) abort(err error) {
	c.fail(err)
	c.nc.Close()
}

// write sends data frames, in one write, or one control frame. Waiting for other
// writers ends with ctx; the write itself is bounded by writeTimeout, as a frame
// that has begun must go out whole.
func (c *Conn) write(ctx context.Context, op frame.Opcode, payloads ...[]byte) error {
	select {
	case c.writing <- struct{}{}:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.writing }()
	if err := c.Err(); err != nil {
		return err
	}
	if c.sealed {
		return ErrClosed
	}
	return c.send(writeTimeout, op, payloads...)
}

// send writes frames; the caller holds writing.
func (c *Conn) send(timeout time.Duration, op frame.Opcode, payloads ...[]byte) error {
	c.out = c.out[:0]
	for _, payload := range payloads {
		// RFC 6455 section 10.3: the mask must not be predictable; the generator
		// behind the package's functions is seeded by the system and is ChaCha8.
		var mask [4]byte
		binary.NativeEndian.PutUint32(mask[:], rand.Uint32())
		c.out = frame.AppendMasked(c.out, op, payload, mask)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(timeout)) // Write tells if it failed
	_, err := c.nc.Write(c.out)
	if cap(c.out) > scratchKept {
		c.out = nil
	}
	if err == nil {
		return nil
	}
	c.sealed = true
	err = fmt.Errorf("write: %w", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.abort(err)
	}
	// Otherwise the socket has ended, and the reader ends the connection when it
	// has read what came before: a close frame there says why.
	return err
}

// sendClose sends a close frame, once; an error says that none will be
// answered.
func (c *Conn) sendClose(ctx context.Context, code uint16, reason string) error {
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.writing }()
	if c.sealed {
		return nil
	}
	c.sealed = true
	return c.send(closeTimeout, frame.OpClose, frame.AppendCloseBody(nil, code, reason))
}
