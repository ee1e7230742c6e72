package redis

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// watchEvery is between two questions to the sentinels.
	watchEvery = 500 * time.Millisecond
	watchWait  = time.Second
	// fresh is for how long after the master has changed subscribers try it often.
	fresh = 2 * watchEvery
	// lookLife is for how long it is believed who the master is, by who is about to
	// acknowledge: a gateway that was stopped asks first. It is less than what is left
	// of the lease of a gateway that runs.
	lookLife = 4 * time.Second
)

var errDemoted = errors.New("the server is not the master that is followed")

// master is which server the sentinels name, by the newest of their configurations.
// An old master that could not be reached answers again before it is told of its
// demotion; what it acknowledges is thrown away. And a new one must not be written
// before its term has begun there. So connections are made to no other server than
// the one that was entered, and every read and write asks. Any goroutine may use it.
type master struct {
	sentinels []*goredis.SentinelClient
	ask       func(context.Context) []opinion // what the sentinels say, one of each
	entrance  func(addr string) *goredis.Client
	wake      chan struct{} // capacity 1: there is something to follow

	mu     sync.RWMutex
	named  opinion // nobody: not known yet
	term   term    // of who is named
	conns  map[*fenced]struct{}
	since  time.Time // when another was named
	looked time.Time // when the sentinels were asked last that answered
}

// newMaster makes one for the configuration, and has o's connections ask it.
func newMaster(c *Config, o *goredis.UniversalOptions) *master {
	m := &master{wake: make(chan struct{}, 1), conns: make(map[*fenced]struct{})}
	dial := o.Dialer
	for _, addr := range o.Addrs {
		m.sentinels = append(m.sentinels, goredis.NewSentinelClient(&goredis.Options{
			Addr: addr, Username: c.SentinelUsername, Password: c.SentinelPassword, Dialer: dial,
			Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			PoolSize: 2, DialTimeout: watchWait, ReadTimeout: watchWait, WriteTimeout: watchWait,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}))
	}
	m.ask = func(ctx context.Context) []opinion { return askAll(ctx, m.sentinels, c.SentinelMaster) }
	m.entrance = func(addr string) *goredis.Client {
		return goredis.NewClient(&goredis.Options{
			Addr: addr, ClientName: o.ClientName, DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig,
			Dialer: dial, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			PoolSize: 1, DialTimeout: dialTimeout, ReadTimeout: socketTimeout, WriteTimeout: socketTimeout,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	}
	o.Dialer = m.dialer(dial)
	return m
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer connects to the master, whoever the client takes for it.
func (m *master) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		addr := m.entered()
		if addr == "" {
			return nil, errDemoted // there is none yet
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		f := &fenced{Conn: conn, addr: addr, master: m}
		m.mu.Lock()
		m.conns[f] = struct{}{}
		m.mu.Unlock()
		if raw, ok := conn.(syscall.Conn); ok {
			return &fencedRaw{f, raw}, nil
		}
		return f, nil
	}
}

func (m *master) close() {
	if m == nil {
		return
	}
	for _, s := range m.sentinels {
		s.Close()
	}
}

// entered is the server that may be written and read; none before its term is known.
func (m *master) entered() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.term.token == "" {
		return ""
	}
	return m.named.addr
}

// after says whether the master has changed since a time; nil has not.
func (m *master) after(t time.Time) bool {
	if m == nil {
		return false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.since.After(t)
}

// opinion is what a sentinel says.
type opinion struct {
	addr  string
	epoch int64
}

// askAll asks each of the sentinels; who does not answer names nobody.
func askAll(ctx context.Context, sentinels []*goredis.SentinelClient, name string) []opinion {
	ctx, cancel := context.WithTimeout(ctx, watchWait)
	defer cancel()
	var done sync.WaitGroup
	opinions := make([]opinion, len(sentinels))
	for i, s := range sentinels {
		done.Go(func() {
			if o, ok := ask(ctx, s, name); ok {
				opinions[i] = o
			}
		})
	}
	done.Wait()
	return opinions
}

func ask(ctx context.Context, s *goredis.SentinelClient, name string) (o opinion, ok bool) {
	// In this order: an address with an epoch that is too old is asked for again.
	state, err := s.Master(ctx, name).Result()
	if err != nil {
		return o, false
	}
	addr, err := s.GetMasterAddrByName(ctx, name).Result()
	if err != nil || len(addr) != 2 {
		return o, false
	}
	o.addr = net.JoinHostPort(addr[0], addr[1])
	o.epoch, err = strconv.ParseInt(state["config-epoch"], 10, 64)
	return o, err == nil
}

// look asks all sentinels, and returns true if the master has changed since the last
// time. Where none answers it has not.
func (m *master) look(ctx context.Context) (moved bool) {
	begun := time.Now()
	opinions := m.ask(ctx)
	moved = m.judge(opinions)
	if slices.ContainsFunc(opinions, func(o opinion) bool { return o.addr != "" }) {
		m.mu.Lock()
		m.looked = begun
		m.mu.Unlock()
	}
	return moved
}

// isStale says whether the sentinels have not been asked for too long.
func (m *master) isStale() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return time.Since(m.looked) > lookLife
}

// judge takes the newest opinion; an older one than is known only where most hold it
// and nobody another: the sentinels were set up anew.
func (m *master) judge(opinions []opinion) (moved bool) {
	var newest opinion
	answered, agreed := 0, true
	for _, o := range opinions {
		if o.addr == "" {
			continue
		}
		answered++
		agreed = agreed && (newest.addr == "" || o == newest)
		if newest.addr == "" || o.epoch > newest.epoch {
			newest = o
		}
	}
	if newest.addr == "" {
		return false
	}
	left, moved := m.take(newest, agreed && answered > len(opinions)/2)
	for _, c := range left {
		_ = c.Conn.Close() // who waits for an answer is not to wait for an old master's
	}
	return moved
}

// take has another server followed, if the opinion is newer than what is known or
// anew, and returns the connections to the one before it.
func (m *master) take(o opinion, anew bool) (left []*fenced, moved bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.named
	if was.addr != "" && (o.epoch == was.epoch || o.epoch < was.epoch && !anew) {
		return nil, false
	}
	m.named, m.term = o, term{}
	signal(m.wake)
	if was.addr == "" || was.addr == o.addr {
		return nil, false
	}
	m.since = time.Now()
	return slices.Collect(maps.Keys(m.conns)), true
}

// lookForMaster has the subscribers follow where the master has changed.
func (b *Broker) lookForMaster() (moved bool) {
	if moved = b.master.look(b.ctx); moved {
		b.cfg.Log.Warn("the sentinels name another master")
		b.signalMoved()
	}
	return moved
}

func (b *Broker) signalMoved() {
	for _, s := range b.shards {
		signal(s.moved)
	}
}

func (b *Broker) watchMaster() {
	for b.ctx.Err() == nil {
		b.lookForMaster()
		every := watchEvery
		if !b.follow() {
			every = followEvery
		}
		b.pauseUntil(every, b.master.wake)
	}
}

// fenced is a connection to a server that must be the master.
type fenced struct {
	net.Conn
	addr   string
	master *master
}

// refused ends the connection if its server is not the one that is followed.
func (c *fenced) refused() bool {
	if c.master.entered() == c.addr {
		return false
	}
	c.Close()
	return true
}

func (c *fenced) Write(p []byte) (int, error) {
	if c.refused() {
		return 0, errDemoted
	}
	return c.Conn.Write(p)
}

// Read refuses also what the server answered before its demotion was known.
func (c *fenced) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.refused() {
		return 0, errDemoted
	}
	return n, err
}

func (c *fenced) Close() error {
	c.master.mu.Lock()
	delete(c.master.conns, c)
	c.master.mu.Unlock()
	return c.Conn.Close()
}

// fencedRaw lets the client see whether an idle connection has ended.
type fencedRaw struct {
	*fenced
	raw syscall.Conn
}

func (c *fencedRaw) SyscallConn() (syscall.RawConn, error) {
	if c.refused() {
		return nil, errDemoted
	}
	return c.raw.SyscallConn()
}
