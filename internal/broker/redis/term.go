package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// followEvery is between two looks at a term that has not begun.
	followEvery = 50 * time.Millisecond
	// rollCall is for how long a gateway that does not answer is waited for: as long
	// as its lease lasts.
	rollCall = 10 * time.Second
)

// term is the time of one master, as its data tell: what this gateway knows of it.
type term struct {
	token    string // drawn by who entered first; empty: not entered
	asked    time.Time
	compared bool // this gateway's rooms were held against the logs
	open     bool // publications are taken
	unheard  bool // not all gateways have said what they know
}

// follows is what scriptFollow says.
type follows struct {
	token string
	by    string // what it is open by; empty: it is not
}

// publishing returns the token that publications are sent with, and whether they
// may be sent; nil takes all, with none.
func (m *master) publishing() (token string, ok bool) {
	if m == nil {
		return "", true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.term.token, m.term.open
}

// isOf says whether a term is still the one of a token.
func (m *master) isOf(token string) bool {
	if m == nil {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.term.token == token
}

// doubt has a term looked at again by which a publication was not taken.
func (m *master) doubt(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.term.token == token {
		m.term.open = false
		signal(m.wake)
	}
}

// prefix begins the names of epochs that begin now: in a term that was opened
// without all gateways they are told by it from those of before.
func (m *master) prefix() string {
	if m == nil {
		return ""
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.term.unheard {
		return ""
	}
	return m.term.token + "_"
}

// current returns who is named, and what is known of his term.
func (m *master) current() (opinion, term) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.named, m.term
}

// update sets what is known of the term of who was named then. It returns false if
// it is another meanwhile.
func (m *master) update(named opinion, t term) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.named != named {
		return false
	}
	m.term = t
	return true
}

// follow enters the server that the sentinels name, holds against its logs what
// this gateway knows, and says so. It returns whether publications are taken.
func (b *Broker) follow() bool {
	m := b.master
	named, t := m.current()
	if named.addr == "" || t.open {
		return t.open
	}
	if t.token == "" {
		if t = b.enter(named); !m.update(named, t) {
			return false
		}
		b.signalMoved() // now it can be subscribed
	}
	if !t.compared && b.compareAll() {
		t.compared = true
	}
	t = b.answer(b.client, named, t)
	if !m.update(named, t) {
		return false
	}
	if t.open && t.unheard {
		b.done.Go(func() { b.renewAll(t.token) })
	}
	return t.open
}

// enter begins or learns the term of a server, to which the broker's own client
// cannot connect before.
func (b *Broker) enter(named opinion) term {
	c := b.master.entrance(named.addr)
	defer c.Close()
	return b.answer(c, named, term{})
}

// answer says how far this gateway is, and learns how far the fleet is.
func (b *Broker) answer(c goredis.UniversalClient, named opinion, t term) term {
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.ReadTimeout)
	defer cancel()
	over := t.token != "" && time.Since(t.asked) > b.rollCall
	f, err := b.askToFollow(ctx, c, named, t.compared, over)
	if err != nil {
		b.cfg.Log.Debug("master not followed", "error", err)
		return t
	}
	if f.token != t.token {
		t = term{token: f.token, asked: time.Now()}
	}
	t.open, t.unheard = f.by != "", f.by == t.token+"!"
	return t
}

func (b *Broker) askToFollow(ctx context.Context, c goredis.UniversalClient, named opinion, compared, over bool) (f follows, err error) {
	n := b.shards[0].names
	args := []any{strconv.FormatInt(named.epoch, 10) + "@" + named.addr, newStamp(), flag(compared), flag(over)}
	b.standingMu.Lock()
	for gateway := range b.standing {
		args = append(args, gateway)
	}
	b.standingMu.Unlock()
	cmd := scriptFollow.call(ctx, true, []string{n.leases(), n.term(), n.open()}, args...)
	if err := c.Process(ctx, cmd); err != nil {
		return f, err
	}
	fields, _ := cmd.Val().([]any)
	if len(fields) != 2 {
		return f, errJunk
	}
	f.token, _ = fields[0].(string)
	f.by, _ = fields[1].(string)
	if len(f.token) != len(newStamp()) || !validEpoch(f.token) {
		return f, errJunk
	}
	return f, nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// compareAll holds all that this gateway knows of rooms against their logs, and
// renews those that are behind it. It returns false if some is left to do.
func (b *Broker) compareAll() (done bool) {
	for _, l := range b.lanes {
		// The fence knows of all that the old master had answered.
		l.sending.Lock()
		//lint:ignore SA2001 it only waits
		l.sending.Unlock()
	}
	for _, s := range b.shards {
		s.fence.suspect(time.Now(), fenceLife)
	}
	return b.fencing.work()
}

// renewAll renews the rooms that are subscribed and were not renewed in a term: what
// their logs lack nobody knows. The others are with their next publication.
func (b *Broker) renewAll(token string) {
	b.cfg.Log.Warn("a new master is followed without gateways that do not answer: rooms begin a new epoch")
	for _, s := range b.shards {
		for err := b.renewShard(s, token+"_"); err != nil; err = b.renewShard(s, token+"_") {
			b.cfg.Log.Debug("rooms not renewed", "shard", s.index, "error", err)
			if !b.master.isOf(token) || !b.pause(compareRetry) {
				return
			}
		}
	}
}

// renewShard renews a shard's rooms, but those whose epochs begin with a prefix.
func (b *Broker) renewShard(s *shard, prefix string) error {
	for rooms := range slices.Chunk(s.wanted(), tailRooms) {
		tails, err := b.Tails(b.ctx, rooms)
		if err != nil {
			return err
		}
		for i := range tails {
			if strings.HasPrefix(tails[i].Epoch, prefix) {
				continue
			}
			if err := b.renew(b.ctx, rooms[i], tails[i].Epoch); err != nil {
				return err
			}
		}
	}
	return nil
}
