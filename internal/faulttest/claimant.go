package faulttest

import (
	"context"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// Between two requests for a name that another has.
	askLeast, askMost = 300 * time.Millisecond, 600 * time.Millisecond
	registerID        = "name"
)

// claimant wants a name. Its first one had it at first; the others ask for it all
// the time, each at a gateway of its own, and whoever has it keeps it.
type claimant struct {
	// Immutable.
	id       int
	name     string
	room     string
	people   *people
	gateways []string
	fixed    bool // it always connects to the first of them
	byURL    bool // asks with the URL when it comes, not with a frame

	random *rand.Rand
	gone   atomic.Bool // it does not come back once its connection ends

	mu sync.Mutex
	// Guarded by mu.
	gateway string // of its connection; empty: none
	user    string // who it is
	joined  bool
	key     string // of the name, once it had it
	holds   bool
	asked   bool // and not answered
	tenures []tenure
	taken   []time.Duration // answers that another has the name, to who asked with a key
}

// tenure is a time in which a claimant had its name, as far as it was told.
type tenure struct {
	claimant int
	gateway  string
	from, to time.Duration // to 0: it still has it
	told     bool          // it ended by the gateway's saying so, on a connection that went on
}

// run is the claimant's life.
func (c *claimant) run(ctx context.Context) {
	pause := backoff{random: c.random}
	for first := true; ctx.Err() == nil && !c.gone.Load(); first = false {
		began, addr := time.Now(), c.gateways[0]
		if !c.fixed && !first {
			addr = c.gateways[c.random.IntN(len(c.gateways))]
		}
		_ = c.session(ctx, addr)
		if !wait(ctx, pause.next(time.Since(began), protocol.ComeBack, 0)) {
			return
		}
	}
}

// session is one connection.
func (c *claimant) session(ctx context.Context, addr string) error {
	query := url.Values{"room": {c.room}}
	if c.byURL {
		query.Set("username", c.name)
		if c.key != "" {
			query.Set("username_key", c.key)
		}
	}
	s, err := connect(ctx, addr, query.Encode(), 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { s.Close() })
	var asking sync.WaitGroup
	c.mu.Lock()
	c.gateway, c.asked = addr, c.byURL
	c.mu.Unlock()
	asking.Go(func() { c.askAgain(ctx, s) })
	for err == nil {
		var msg []byte
		if msg, err = s.next(); err == nil {
			err = c.take(s, msg)
		}
	}
	c.end(false)
	stop()
	cancel()
	s.Close()
	asking.Wait()
	return err
}

// askAgain asks for the name while another has it.
func (c *claimant) askAgain(ctx context.Context, s *socket) {
	random := rand.New(rand.NewPCG(c.people.seed, uint64(c.id)|1<<35))
	for wait(ctx, askLeast+time.Duration(random.Int64N(int64(askMost-askLeast)))) {
		c.mu.Lock()
		ask, key := !c.asked && !c.holds && c.user != "", c.key
		c.asked = c.asked || ask
		c.mu.Unlock()
		if ask && s.send(frame.OpText, protocol.AppendRegister(nil, registerID, c.name, key)) != nil {
			s.Close()
			return
		}
	}
}

// take is one message of the gateway.
func (c *claimant) take(s *socket, msg []byte) error {
	m, err := protocol.DecodeServer(msg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Type {
	case protocol.ServerWelcome:
		s.silence = m.Welcome.HeartbeatTimeout
		c.user = m.Welcome.User
		if c.user == c.name {
			c.begin(m.Welcome.UsernameKey)
		}
	case protocol.ServerRegistered:
		c.user = c.name
		c.begin(m.Registered.Key)
	case protocol.ServerJoined:
		c.joined = true
	case protocol.ServerError:
		return c.refused(&m)
	}
	return nil
}

// begin begins a tenure. With mu.
func (c *claimant) begin(key string) {
	c.key, c.holds, c.asked = key, true, false
	c.tenures = append(c.tenures, tenure{claimant: c.id, gateway: c.gateway, from: c.people.clock()})
}

// end ends the connection's tenure, if it has one, and all that is known of it.
func (c *claimant) end(told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose(told)
	c.gateway, c.user, c.joined, c.asked = "", "", false, false
}

// lose ends the tenure. With mu.
func (c *claimant) lose(told bool) {
	if c.holds {
		last := &c.tenures[len(c.tenures)-1]
		last.to, last.told = c.people.clock(), told
	}
	c.holds = false
}

// refused takes an error in. One that answers nothing says that the name is lost:
// the claimant comes anew then, as whom it is not told. With mu.
func (c *claimant) refused(m *protocol.Server) error {
	if m.Err.Code == protocol.UsernameTaken {
		if c.holds {
			c.lose(true)
			return m.Err
		}
		if c.key != "" {
			c.taken = append(c.taken, c.people.clock())
		}
	}
	if m.ID == registerID || !c.holds {
		c.asked = false
	}
	return nil
}

// whois is who the claimant is in its room; "" while it is not joined.
func (c *claimant) whois() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.joined {
		return ""
	}
	return c.user
}

// has says whether the claimant has its name, by which gateway.
func (c *claimant) has() (gateway string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gateway, c.holds
}
