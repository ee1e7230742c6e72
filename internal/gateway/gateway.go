package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Gateway is one running gateway.
type Gateway struct {
	// Immutable.
	cfg      Config // but for Live, which is live's
	hub      *hub
	shards   []*shard
	listener *loop.Listener
	acceptor *loop.Acceptor
	tls      *loop.Terminator // nil: connections come as they are
	gate     *loop.Gate
	plain    *handoff
	server   *http.Server
	streams  streams

	settings     atomic.Pointer[inForce]
	draining     atomic.Bool
	backlogBytes atomic.Int64 // of backlogs that are not yet sent
	memory       atomic.Int64 // in use, when it was last looked at
	inUse        func() int64 // memoryInUse, but for tests
	nameWait     time.Duration
	users        *budgets[string]
	addresses    *budgets[netip.Addr]
	unjoined     *budgets[string] // rooms without members here that are published to
	health       health
	load         load
	surveys      surveys
	looked       atomic.Int64 // Unix nanoseconds, when somebody of the fleet did; 0: never
	accepts      sharedBucket
	fleet        *fleet  // nil: the broker is not shared
	people       *people // nil: the broker keeps none
	revocations  auth.Revocations

	done sync.WaitGroup
	errs chan error // what ended a goroutine that should have gone on
}

// New makes a gateway that listens, but does not accept yet.
func New(cfg Config) (*Gateway, error) {
	if n := len(cfg.Metrics.Loops()); cfg.Loops < 1 || n != cfg.Loops {
		return nil, fmt.Errorf("gateway: %d loops, and metrics for %d", cfg.Loops, n)
	}
	if cfg.Relay == nil {
		cfg.Relay = metrics.NewRelay()
	}
	g := &Gateway{cfg: cfg, errs: make(chan error, cfg.Loops+2), inUse: memoryInUse, nameWait: nameWait, streams: streams{open: &cfg.Metrics.EventStreams},
		users: newBudgets[string](), addresses: newBudgets[netip.Addr](), unjoined: newBudgets[string]()}
	g.settings.Store(newInForce(cfg.Live))
	g.show(&cfg.Live)
	g.people = newPeople(g)
	ln, err := loop.Listen(cfg.Listen, cfg.HeartbeatTimeout)
	if err != nil {
		return nil, err
	}
	g.listener = ln
	g.plain = newHandoff(ln.Addr())
	g.server = newPlainServer(cfg.Public, cfg.Log)
	g.server.ConnContext = g.withDoor
	if err := g.makeLoops(); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	g.hub = newHub(g)
	for _, s := range g.shards {
		s.hub = g.hub
	}
	g.tls = g.newTerminator()
	g.acceptor = loop.NewAcceptor(ln, g.loops(), g.tls, cfg.Metrics.AcceptError)
	return g, nil
}

func (g *Gateway) makeLoops() error {
	limits := &g.live().Limits
	g.gate = loop.NewGate(limits.Handshakes, limits.HandshakesPerAddress)
	shared := loop.Config{
		Limits:            limits.ofLoops(),
		Gate:              g.gate,
		Trusted:           func(a netip.Addr) bool { return g.live().Edge.trusts(a) },
		ProxyProtocol:     g.cfg.ProxyProtocol,
		HeartbeatInterval: g.cfg.HeartbeatInterval,
		HeartbeatTimeout:  g.cfg.HeartbeatTimeout,
		Deflate:           g.cfg.Deflate,
		Plain:             g.plain.take,
		Log:               g.cfg.Log,
	}
	for i, m := range g.cfg.Metrics.Loops() {
		s := newShard(g, i, m)
		l, err := loop.New(shared, s, s.m)
		if err != nil {
			return err
		}
		s.loop = l
		g.shards = append(g.shards, s)
	}
	return nil
}

func (g *Gateway) loops() []*loop.Loop {
	loops := make([]*loop.Loop, len(g.shards))
	for i, s := range g.shards {
		loops[i] = s.loop
	}
	return loops
}

// live is what is in force now. Any goroutine may ask; what belongs together is
// taken from one answer.
func (g *Gateway) live() *Live { return &g.settings.Load().Live }

// Addr is where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Start begins to serve.
func (g *Gateway) Start() {
	if shared, ok := g.cfg.Broker.(broker.Fleet); ok {
		shared.Listen(g.heard)
	}
	if g.people != nil {
		g.people.WatchPresence(g.people.heard)
	}
	g.hub.start()
	g.hub.done.Go(func() { g.tend(g.hub.ctx) })
	g.people.start()
	g.startFleet()
	for _, s := range g.shards {
		g.done.Go(func() { g.report(s.loop.Run()) })
	}
	g.done.Go(func() {
		if err := g.server.Serve(g.plain); !errors.Is(err, http.ErrServerClosed) {
			g.report(err)
		}
	})
	g.done.Go(func() { g.report(g.acceptor.Run()) })
}

func (g *Gateway) report(err error) {
	if err != nil {
		g.errs <- err
	}
}

// Failed yields what ended a part of the gateway that should have gone on.
func (g *Gateway) Failed() <-chan error { return g.errs }

// Stop drains the gateway, unless ctx is over, and ends it: when it returns, no
// connection, room or goroutine is left.
func (g *Gateway) Stop(ctx context.Context) {
	g.drain(ctx)
	for _, s := range g.shards {
		s.loop.Stop()
	}
	_ = g.server.Close()
	g.done.Wait()
	g.streams.close()
	g.people.stop()
	g.fleet.stop()
	g.hub.close()
	if v := g.live().Auth.Verifier; v != nil {
		v.Close()
	}
}

// Connections is how many WebSockets are open.
func (g *Gateway) Connections() int {
	n := int64(0)
	for _, m := range g.cfg.Metrics.Loops() {
		n += m.Connections.Value()
	}
	return int(n)
}

// queuedBytes is what connections hold that waits to be sent to them alone. The
// rooms' logs are not of it: they are bounded by their classes, and full ones are
// no reason to refuse anyone.
func (g *Gateway) queuedBytes() int64 {
	n := g.backlogBytes.Load()
	for _, m := range g.cfg.Metrics.Loops() {
		n += m.QueuedReplies.Value()
	}
	return n
}

// guestPrefix begins the name of who has none. Nobody can register one that begins
// so.
const guestPrefix = "guest-"

// name is what the gateway calls the connection, behind a prefix.
func (ses *session) name(prefix string) string {
	var b [64]byte // on the stack: a name costs one allocation
	name := append(append(append(b[:0], prefix...), ses.shard.gw.cfg.ID...), '-')
	return string(strconv.AppendUint(name, ses.conn.ID(), 36))
}

// guest is the connection of a guest of this gateway.
func (g *Gateway) guest(user string) (connection uint64, ok bool) {
	id, ok := strings.CutPrefix(user, guestPrefix+g.cfg.ID+"-")
	if !ok {
		return 0, false
	}
	connection, err := strconv.ParseUint(id, 36, 64)
	return connection, err == nil
}
