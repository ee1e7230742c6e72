package deploytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// room is where everyone is.
const room = "lobby"

// publishEvery is so long that a room keeps (256 messages) what is published while a
// client is away.
const publishEvery = 100 * time.Millisecond

// secret stands in every handshake's query, where a token would.
const secret = "a-secret-that-no-log-may-have"

// crowd is members of one room, each from an address of its own, and one who
// publishes to it all the time.
type crowd struct {
	t       *testing.T
	members []*member
	end     context.CancelFunc
	over    sync.WaitGroup

	mu    sync.Mutex
	acked map[uint64]string // what was acknowledged, by seq
}

// member is one of them, and what it was told.
type member struct {
	mu       sync.Mutex
	open     bool
	returned int               // connections after the first
	got      map[uint64]string // by seq
	problems []string
}

func (m *member) event(e client.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case client.Joined:
		m.open = true
		if e.Since != nil {
			m.returned++
		}
	case client.State:
		m.open = m.open && e.Status == client.Connected
	case client.Message:
		if was, twice := m.got[e.Seq]; twice {
			m.problems = append(m.problems, fmt.Sprintf("%d is %s and %s", e.Seq, was, e.Data))
		}
		m.got[e.Seq] = string(e.Data)
	case client.Gap, client.Reset, client.Fault, client.Refused:
		m.problems = append(m.problems, fmt.Sprintf("%T %+v", e, e))
	}
}

// newCrowd has n members and the publisher connect through a balancer, and waits
// until all have joined.
func newCrowd(t *testing.T, addr string, n int) *crowd {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	c := &crowd{t: t, end: end, acked: make(map[uint64]string)}
	t.Cleanup(func() {
		end()
		c.over.Wait()
	})
	for i := range n {
		m := &member{got: make(map[uint64]string)}
		c.members = append(c.members, m)
		c.run(ctx, addr, i, client.Config{Rooms: []client.Subscription{{Room: room}}, OnEvent: m.event})
	}
	eventually(t, "all have joined", func() error {
		if joined := c.joined(); joined < n {
			return fmt.Errorf("%d of %d", joined, n)
		}
		return nil
	})
	publisher := c.run(ctx, addr, n, client.Config{})
	c.over.Go(func() { c.publish(ctx, publisher) })
	return c
}

// run connects a client, the i-th from the i-th address.
func (c *crowd) run(ctx context.Context, addr string, i int, cfg client.Config) *client.Client {
	c.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i))}}
	cfg.URL, cfg.NetDial = "ws://"+addr+"/ws?secret="+secret, dialer.DialContext
	x, err := client.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.over.Go(func() {
		if err := x.Run(ctx); !errors.Is(err, context.Canceled) {
			c.t.Errorf("client %d: %v", i, err)
		}
	})
	return x
}

// publish publishes until ctx ends, each again until it is acknowledged.
func (c *crowd) publish(ctx context.Context, x *client.Client) {
	ticks := time.NewTicker(publishEvery)
	defer ticks.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		data := strconv.Itoa(i)
		p, err := x.Publish(ctx, room, []byte(data), client.PublishOptions{ID: "m" + data})
		for errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil { // as when a gateway stands still
			p, err = x.Publish(ctx, room, []byte(data), client.PublishOptions{ID: "m" + data})
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		if was, twice := c.acked[p.Seq]; err != nil || twice {
			c.t.Errorf("message %s, acknowledged as %d: %v, %q before", data, p.Seq, err, was)
		}
		c.acked[p.Seq] = data
		c.mu.Unlock()
	}
}

func (c *crowd) joined() (n int) {
	for _, m := range c.members {
		m.mu.Lock()
		if m.open {
			n++
		}
		m.mu.Unlock()
	}
	return n
}

// returned is how many connections were made anew.
func (c *crowd) returned() (n int) {
	for _, m := range c.members {
		m.mu.Lock()
		n += m.returned
		m.mu.Unlock()
	}
	return n
}

// published is how many messages were acknowledged.
func (c *crowd) published() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// more waits until so many more were acknowledged.
func (c *crowd) more(n int) {
	c.t.Helper()
	from := c.published()
	eventually(c.t, fmt.Sprintf("%d more messages", n), func() error {
		if got := c.published() - from; got < n {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
}

// hasAll waits until every member has every message that was acknowledged, and fails
// where one has anything else.
func (c *crowd) hasAll() {
	c.t.Helper()
	c.mu.Lock()
	acked := make(map[uint64]string, len(c.acked))
	for seq, data := range c.acked {
		acked[seq] = data
	}
	c.mu.Unlock()
	if len(acked) == 0 {
		c.t.Fatal("nothing was acknowledged")
	}
	eventually(c.t, "everyone has all", func() error {
		for i, m := range c.members {
			if problem := m.problem(); problem != "" {
				c.t.Fatalf("member %d: %s", i, problem)
			}
			if err := m.lacks(acked); err != nil {
				return fmt.Errorf("member %d: %w", i, err)
			}
		}
		return nil
	})
}

// problem is something else than messages, each once.
func (m *member) problem() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.problems, "; ")
}

func (m *member) lacks(acked map[uint64]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, data := range acked {
		if m.got[seq] != data {
			return fmt.Errorf("%d is %q, want %q, of %d", seq, m.got[seq], data, len(acked))
		}
	}
	return nil
}
