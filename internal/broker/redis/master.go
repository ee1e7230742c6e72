package redis

import (
	"context"
	"errors"
	"maps"
	"net"
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
	// settle is for how long a new master gets no publications: a gateway that has
	// acknowledged what it does not have renews those logs first, before their numbers
	// are given again by who does not know. All have noticed within watchEvery.
	settle = 2 * watchEvery
)

var errDemoted = errors.New("the server is no longer the master")

// master is which server the sentinels name, by the newest of their configurations.
// An old master that could not be reached answers again before it is told of its
// demotion; what it acknowledges is thrown away. The client drops its connections to
// one, but only those that it has when it hears of the change, and not one that is
// just being made. Here every read and write asks. Any goroutine may use it.
type master struct {
	name      string
	sentinels []*goredis.SentinelClient

	mu    sync.RWMutex
	addr  string // empty: not known yet
	epoch int64  // of the configuration
	past  map[string]struct{}
	since time.Time // when it changed
}

// newMaster makes one for the configuration, and has o's connections ask it.
func newMaster(c *Config, o *goredis.UniversalOptions) *master {
	m := &master{name: c.SentinelMaster, past: make(map[string]struct{})}
	dial := o.Dialer
	for _, addr := range o.Addrs {
		m.sentinels = append(m.sentinels, goredis.NewSentinelClient(&goredis.Options{
			Addr: addr, Username: c.SentinelUsername, Password: c.SentinelPassword, Dialer: dial,
			Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			PoolSize: 2, DialTimeout: watchWait, ReadTimeout: watchWait, WriteTimeout: watchWait,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}))
	}
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if m.left(addr) {
			return nil, errDemoted // by a sentinel that was not told yet
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		f := fenced{Conn: conn, addr: addr, master: m}
		if raw, ok := conn.(syscall.Conn); ok {
			return &fencedRaw{f, raw}, nil
		}
		return &f, nil
	}
	return m
}

func (m *master) close() {
	if m == nil {
		return
	}
	for _, s := range m.sentinels {
		s.Close()
	}
}

// left says whether a server was the master once and is no longer.
func (m *master) left(addr string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, left := m.past[addr]
	return left
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

// settled says whether the master has been the master for long enough.
func (m *master) settled() bool { return !m.after(time.Now().Add(-settle)) }

// opinion is what a sentinel says.
type opinion struct {
	addr  string
	epoch int64
}

func (m *master) ask(ctx context.Context, s *goredis.SentinelClient) (o opinion, ok bool) {
	// In this order: an address with an epoch that is too old is asked for again.
	state, err := s.Master(ctx, m.name).Result()
	if err != nil {
		return o, false
	}
	addr, err := s.GetMasterAddrByName(ctx, m.name).Result()
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
	ctx, cancel := context.WithTimeout(ctx, watchWait)
	defer cancel()
	var done sync.WaitGroup
	opinions := make([]opinion, len(m.sentinels))
	for i, s := range m.sentinels {
		done.Go(func() {
			if o, ok := m.ask(ctx, s); ok {
				opinions[i] = o
			}
		})
	}
	done.Wait()
	return m.judge(opinions)
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
	m.mu.Lock()
	defer m.mu.Unlock()
	anew := newest.epoch < m.epoch && agreed && answered > len(opinions)/2
	if newest.addr == "" || m.addr != "" && newest.epoch <= m.epoch && !anew {
		return false
	}
	was := m.addr
	m.addr, m.epoch = newest.addr, newest.epoch
	if was == "" || was == m.addr {
		return false
	}
	m.past[was] = struct{}{}
	maps.DeleteFunc(m.past, func(addr string, _ struct{}) bool { return addr == m.addr })
	m.since = time.Now()
	return true
}

// lookForMaster has the subscribers follow where the master has changed.
func (b *Broker) lookForMaster() (moved bool) {
	if moved = b.master.look(b.ctx); moved {
		b.cfg.Log.Warn("the sentinels name another master")
		for _, s := range b.shards {
			signal(s.moved)
		}
	}
	return moved
}

func (b *Broker) watchMaster() {
	for b.ctx.Err() == nil {
		b.lookForMaster()
		b.pause(watchEvery)
	}
}

// fenced is a connection to a server that must be the master.
type fenced struct {
	net.Conn
	addr   string
	master *master
}

func (c *fenced) Write(p []byte) (int, error) {
	if c.master.left(c.addr) {
		c.Close()
		return 0, errDemoted
	}
	return c.Conn.Write(p)
}

// Read refuses also what the server answered before its demotion was known.
func (c *fenced) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.master.left(c.addr) {
		c.Close()
		return 0, errDemoted
	}
	return n, err
}

// fencedRaw lets the client see whether an idle connection has ended.
type fencedRaw struct {
	fenced
	raw syscall.Conn
}

func (c *fencedRaw) SyscallConn() (syscall.RawConn, error) {
	if c.master.left(c.addr) {
		return nil, errDemoted
	}
	return c.raw.SyscallConn()
}
