package swarm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

// Config is what a swarm is made of.
type Config struct {
	Plan          *plan.Plan // this process's part
	Run           string     // names the run in every message
	Agent, Agents int        // which process this is, of how many
	Offset        time.Duration
	Tokens        []string // taken in turn; none: anonymous
	CA            []byte   // certificates to trust, in PEM; nil: the system's

	// Epoch and Author stand in the messages that the floor's server is given, so
	// that they are as long as a gateway's.
	Epoch, Author string
}

// Swarm is the clients of one process.
type Swarm struct {
	plan    *plan.Plan
	config  Config
	base    time.Time // what the clock counts from
	book    *account.Book
	targets []target
	sources []netip.Addr
	limits  frame.ReaderConfig

	poller *poll.Poller
	events []poll.Event
	buffer []byte // of reads
	text   []byte // of requests
	data   []byte // of publications
	sealed []byte // of TLS, for the socket

	clients []client
	groups  []*group
	streams []*stream
	alarms  alarms
	// Of each kind those that are as far ahead as the others, in order.
	deadlines [len(deadline)][]alarm

	// Connecting.
	queue     []uint32 // clients whose first connection is to be made
	underWay  int      // handshakes
	dialCount int      // picks sources and tokens
	nextDial  int64
	sweepAt   int64
	shaking   handshakes

	// The course of the run, Unix nanoseconds; 0: not known yet.
	begin, from, until, cutAt int64
	started, over             bool

	open          int    // connections now
	epoch, author string // of the newest message that was decoded
	plain         plain
	tally
	err error
}

// group is a plan.Group with its clients.
type group struct {
	*plan.Group
	rooms []int // the indices of those that this process's members join
	zipf  *rand.Zipf
	slots []uint32

	// Of arriving groups.
	free    []uint32
	waiting []int64 // arrivals for which there was no place
	next    int64
}

// atOnce bounds the handshakes under way while the first connections are made;
// a gateway's own bound of them is some times that.
const atOnce = 200

// New makes a swarm that has no connection yet. Close frees it.
func New(c Config) (*Swarm, error) {
	if limit := descriptors() - 100; c.Plan.Connections() > limit {
		return nil, fmt.Errorf("%d connections in one process with a limit of %d descriptors: use --processes or --agents, or raise ulimit -n", c.Plan.Connections(), limit+100)
	}
	s := &Swarm{
		plan: c.Plan, config: c, base: time.Now().Add(c.Offset),
		book:   account.NewBook(c.Run),
		limits: frame.ReaderConfig{MessageBytes: 64 << 20},
		events: make([]poll.Event, 1024),
		buffer: make([]byte, 256<<10),
	}
	s.shaking.turns = make(chan struct{}, handshakesAtOnce)
	s.tally.init()
	if err := s.resolve(); err != nil {
		return nil, err
	}
	s.populate()
	var err error
	if s.poller, err = poll.New(); err != nil {
		return nil, err
	}
	return s, nil
}

// populate makes the clients and the streams.
func (s *Swarm) populate() {
	total := s.plan.Connections()
	s.clients = make([]client, 0, total)
	for i := range s.plan.Groups {
		g := &group{Group: &s.plan.Groups[i]}
		g.rooms = s.indices(g.Rooms, true)
		g.zipf = zipf(g.Rooms.Skew, len(g.rooms))
		s.groups = append(s.groups, g)
		for k := range g.Connections {
			c := s.newClient()
			c.group, c.stalled = g, float64(k) < g.Stalled*float64(g.Connections)
			c.target = s.pickTarget(g.Target, k)
			g.slots = append(g.slots, c.slot)
			if g.Arrive > 0 {
				g.free = append(g.free, c.slot)
				continue
			}
			s.giveRooms(c, k)
			s.queue = append(s.queue, c.slot)
		}
	}
	for i := range s.plan.Streams {
		st := s.newStream(&s.plan.Streams[i])
		s.streams = append(s.streams, st)
		for k := range st.Publishers {
			c := s.newClient()
			c.target = s.pickTarget(st.Target, k)
			c.publisher = s.newPublisher(c.slot)
			st.slots = append(st.slots, c.slot)
			s.queue = append(s.queue, c.slot)
		}
	}
}

func (s *Swarm) newClient() *client {
	slot := uint32(len(s.clients))
	s.clients = append(s.clients, client{slot: slot, fd: -1})
	return &s.clients[slot]
}

// pickTarget returns the gateway of a group's client k; all in turn, over all
// processes, where the group names none.
func (s *Swarm) pickTarget(fixed, k int) int {
	if fixed >= 0 {
		return fixed
	}
	return (k*s.config.Agents + s.config.Agent) % len(s.targets)
}

// indices are the rooms of a family that this process deals with. Where there are
// at least as many as processes each has its own, so that a member finds the
// frames that others of its room got first.
func (s *Swarm) indices(r plan.Rooms, divide bool) []int {
	step, from := 1, 0
	if divide && r.Count >= s.config.Agents {
		step, from = s.config.Agents, s.config.Agent
	}
	var all []int
	for i := from; i < r.Count; i += step {
		all = append(all, i)
	}
	return all
}

// zipf picks indices below n with the exponent; nil: all alike.
func zipf(exponent float64, n int) *rand.Zipf {
	if exponent <= 1 || n < 2 {
		return nil
	}
	return rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), exponent, 1, uint64(n-1))
}

// giveRooms makes the memberships of a client that has had none.
func (s *Swarm) giveRooms(c *client, k int) {
	g := c.group
	each := min(g.Each, len(g.rooms))
	c.members = c.members[:0]
	for j := range each {
		i := (k*each + j) % len(g.rooms)
		for g.zipf != nil {
			if i = int(g.zipf.Uint64()); !c.has(g.Rooms.Name(g.rooms[i])) {
				break
			}
		}
		c.members = append(c.members, account.NewMember(s.book.Room(g.Rooms.Name(g.rooms[i]))))
	}
}

// now is the time in Unix nanoseconds by the clock that all processes share.
func (s *Swarm) now() int64 { return s.base.Add(time.Since(s.base)).UnixNano() }

// Begin sets when publishing starts; what is measured starts after the warm-up.
func (s *Swarm) Begin(at time.Time) {
	s.begin = at.UnixNano()
	s.from = s.begin + int64(s.plan.Warmup)
	s.until = s.from + int64(s.plan.Duration)
	if s.plan.Cut != nil {
		s.cutAt = s.from + int64(s.plan.Cut.After)
	}
	for _, st := range s.streams {
		st.start(s.begin)
	}
	for _, g := range s.groups {
		g.next = s.begin
	}
}

// Turn does what is due, waits for the sockets, at most so long, and serves them.
// An error is the end of the run.
func (s *Swarm) Turn(wait time.Duration) error {
	now := s.now()
	s.course(now)
	s.ring(now)
	s.secured(now)
	s.dialQueued(now)
	s.arrivals(now)
	s.publishDue(now)
	s.conclude(now)
	s.sweep(now)
	if s.err != nil {
		return s.err
	}
	n, err := s.poller.Wait(s.events, s.waitFor(now, wait))
	if err != nil {
		return err
	}
	for _, e := range s.events[:n] {
		c := &s.clients[e.Token.Slot()]
		if c.generation != e.Token.Generation() {
			continue
		}
		if e.Writable {
			s.writable(c)
		}
		if e.Readable && c.generation == e.Token.Generation() {
			s.readable(c)
		}
	}
	return s.err
}

// waitFor is how long the sockets may be waited for.
func (s *Swarm) waitFor(now int64, wait time.Duration) time.Duration {
	if s.plan.Spin && s.started && !s.over {
		return 0
	}
	next := s.nextAlarm(now + int64(wait))
	if len(s.queue) > 0 && s.underWay < atOnce {
		next = min(next, s.nextDial)
	}
	next = min(next, s.nextPublication(next), s.nextArrival(next), s.nextBoundary(next))
	return time.Duration(max(next-now, 0))
}

// course moves through the run's phases.
func (s *Swarm) course(now int64) {
	if s.begin == 0 || now < s.begin {
		return
	}
	if !s.started {
		s.started = true
		s.stall()
	}
	if s.cutAt > 0 && now >= s.cutAt {
		s.cutAt = 0
		s.cut(now)
	}
	s.sample(now)
}

// conclude ends what is measured, once all that was due before is published.
func (s *Swarm) conclude(now int64) {
	if s.started && !s.over && now >= s.until {
		s.over = true
		s.closeWindow(now)
		s.unstall(now)
	}
}

// nextBoundary is when course has something to do.
func (s *Swarm) nextBoundary(next int64) int64 {
	if s.begin == 0 {
		return next
	}
	if !s.started {
		return min(next, s.begin)
	}
	if s.cutAt > 0 {
		next = min(next, s.cutAt)
	}
	if !s.over {
		next = min(next, s.until)
	}
	return min(next, s.nextSample())
}

// Ready reports whether all standing clients are in all their rooms.
func (s *Swarm) Ready() bool {
	if len(s.queue) > 0 || s.underWay > 0 {
		return false
	}
	return s.away() == 0
}

// away counts the standing clients that are not in all their rooms.
func (s *Swarm) away() int {
	n := 0
	for i := range s.clients {
		if c := &s.clients[i]; c.standing() && !c.settled() {
			n++
		}
	}
	return n
}

// Over reports whether what was to be published and measured has been.
func (s *Swarm) Over() bool { return s.over }

// Answered reports whether every publication has its answer.
func (s *Swarm) Answered() bool {
	for i := range s.clients {
		if p := s.clients[i].publisher; p != nil && len(p.pending) > 0 {
			return false
		}
	}
	return true
}

// Tops is how far each room's log goes, as far as this process knows.
func (s *Swarm) Tops() account.Tops { return s.book.Tops() }

// Learn takes what other processes know.
func (s *Swarm) Learn(t account.Tops) { s.book.Learn(t) }

// CaughtUp reports whether everyone is back and has everything, and every
// publication its answer.
func (s *Swarm) CaughtUp() bool {
	for i := range s.clients {
		c := &s.clients[i]
		if c.standing() && !c.settled() {
			return false
		}
		if c.state == leaving {
			return false
		}
		for j := range c.members {
			if c.members[j].Behind() > 0 {
				return false
			}
		}
	}
	return s.Answered()
}

// Close ends all connections at once and frees everything.
func (s *Swarm) Close() {
	for i := range s.clients {
		s.closeSocket(&s.clients[i])
	}
	s.shaking.close()
	_ = s.poller.Close()
}

// Wake ends a wait in Turn. It alone may be called from any goroutine, until
// Close.
func (s *Swarm) Wake() { s.poller.Wake() }
