package floor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/server"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// Options say what is compared.
type Options struct {
	Gateway server.Launch // without its processor
	Floor   []string      // the command that runs Serve
	Redis   string        // the binary of a redis-server, for the fleet; empty: no fleet
	Payload int

	Members     int     // of the one room
	Rooms, Each int     // of the many, and members in each
	Fleet       int     // of the fleet's room, on each of two gateways
	FleetRate   float64 // deliveries a second in it
	Rounds      int     // of each measurement; their medians are told
	Lasts       time.Duration
	Rate        float64 // deliveries a second, where there is a rate
	UnderWay    int     // of the measurement with several broadcasts under way

	// Tell is told what is done, a line each.
	Tell func(line string)
}

// serverProcessor is where each server runs; the clients have the others.
const serverProcessor = 0

// subject is a server with its clients.
type subject struct {
	pids  []int
	swarm *swarm.Swarm
	stop  func() // ends all of it
}

// topology is members in rooms, and the ways to load them.
type topology struct {
	plan     *plan.Plan
	floor    *plan.Plan // as many members, all on the one server
	each     int        // members of a room
	redis    bool
	measures []measure
}

// measure is one way to load a topology.
type measure struct {
	kind     Kind
	name     string
	rate     float64 // deliveries a second
	underWay int
	floor    bool // the floor is measured too; else the gateway is held against the first measure's floor
}

// roomsUnderWay is how many messages are under way where there are many rooms.
const roomsUnderWay = 64

// Compare measures the floor and a gateway in turn.
func Compare(ctx context.Context, o Options) (*Table, error) {
	if err := server.KeepOff(serverProcessor + 1); err != nil {
		return nil, err
	}
	t := &Table{Rounds: o.Rounds}
	for _, topology := range o.topologies() {
		rows, err := compare(ctx, &o, &topology)
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, rows...)
	}
	return t, nil
}

// topologies are those that were not left out.
func (o *Options) topologies() (all []topology) {
	common := plan.Defaults(o.Lasts)
	common.Payload, common.Acks, common.IDs = o.Payload, false, false
	one := func(members int) *plan.Plan {
		return (&plan.Fanout{Common: common, Members: members, Publishers: 1, UnderWay: 1}).Plan()
	}
	if o.Members > 0 {
		all = append(all, topology{plan: one(o.Members), floor: one(o.Members), each: o.Members, measures: []measure{
			{kind: OneAtATime, name: fmt.Sprintf("fanout 1 × %d, one at a time", o.Members), underWay: 1, floor: true},
			{kind: UnderWay, name: fmt.Sprintf("fanout 1 × %d, %d under way", o.Members, o.UnderWay), underWay: o.UnderWay},
			{kind: OpenLoop, name: fmt.Sprintf("fanout 1 × %d, %g/s", o.Members, o.Rate), rate: o.Rate, floor: true},
		}})
	}
	if o.Rooms > 0 {
		p := (&plan.ManyRooms{Common: common, Rooms: o.Rooms, Members: o.Each, Publishers: 1, UnderWay: 1}).Plan()
		all = append(all, topology{plan: p, floor: p, each: o.Each, measures: []measure{
			{kind: Rooms, name: fmt.Sprintf("rooms %d × %d, %d under way", o.Rooms, o.Each, roomsUnderWay), underWay: roomsUnderWay, floor: true},
			{kind: RoomsOpenLoop, name: fmt.Sprintf("rooms %d × %d, %g/s", o.Rooms, o.Each, o.Rate), rate: o.Rate, floor: true},
		}})
	}
	if o.Redis != "" {
		common.Targets = make([]string, 2) // theirs are known once they run
		p := (&plan.Fleet{Common: common, Members: o.Fleet, Publishers: 1}).Plan()
		all = append(all, topology{plan: p, floor: one(2 * o.Fleet), each: 2 * o.Fleet, redis: true, measures: []measure{
			{kind: Fleet, name: fmt.Sprintf("fleet 2 × %d and Redis, %g/s", o.Fleet, o.FleetRate), rate: o.FleetRate, floor: true},
		}})
	}
	return all
}

// compare measures one topology, round by round.
func compare(ctx context.Context, o *Options, t *topology) ([]Row, error) {
	o.Tell(fmt.Sprintf("%s: connecting %d members to the gateway, and as many to the floor", t.plan.Description, t.plan.Connections()-1))
	gateway, err := startGateways(ctx, o, t)
	if err != nil {
		return nil, err
	}
	defer gateway.stop()
	plain, err := startFloor(o, t.floor, gateway)
	if err != nil {
		return nil, err
	}
	defer plain.stop()
	rows := make([]Row, len(t.measures))
	for i, m := range t.measures {
		rows[i].Kind, rows[i].Name = m.kind, m.name
	}
	for round := range o.Rounds {
		o.Tell(fmt.Sprintf("round %d of %d", round+1, o.Rounds))
		for i, m := range t.measures {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if m.floor {
				score, err := plain.measure(m, o.Lasts, t.each)
				if err != nil {
					return nil, fmt.Errorf("%s: floor: %w", m.name, err)
				}
				rows[i].Floor = append(rows[i].Floor, score)
			}
			score, err := gateway.measure(m, o.Lasts, t.each)
			if err != nil {
				return nil, fmt.Errorf("%s: gateway: %w", m.name, err)
			}
			rows[i].Gateway = append(rows[i].Gateway, score)
		}
	}
	for i, m := range t.measures {
		if !m.floor {
			rows[i].Floor = rows[0].Floor
		}
	}
	if n := gateway.swarm.Broken() + plain.swarm.Broken(); n > 0 {
		return nil, fmt.Errorf("%d promises were broken meanwhile: see what loadtest fanout says", n)
	}
	return rows, nil
}

// measure plays one round and returns what it cost the server. A message is each
// deliveries.
func (s *subject) measure(m measure, lasts time.Duration, each int) (Score, error) {
	before, err := used(s.pids)
	if err != nil {
		return Score{}, err
	}
	got, err := s.swarm.Play(swarm.Round{Rate: m.rate / float64(each), UnderWay: m.underWay, Lasts: lasts})
	if err != nil {
		return Score{}, err
	}
	after, err := used(s.pids)
	if err != nil {
		return Score{}, err
	}
	if got.Deliveries == 0 {
		return Score{}, errors.New("nothing was delivered")
	}
	n := float64(got.Deliveries)
	return Score{
		Deliveries: n / got.Elapsed.Seconds(),
		User:       (after.User - before.User) / n * 1e6,
		System:     (after.System - before.System) / n * 1e6,
		P50:        milliseconds(got.Latency.At(0.5)), P99: milliseconds(got.Latency.At(0.99)),
		NearP99: milliseconds(got.Near.At(0.99)), FarP99: milliseconds(got.Far.At(0.99)),
	}, nil
}

// used is what processes have used together.
func used(pids []int) (all result.Usage, err error) {
	for _, pid := range pids {
		u, err := server.Process(pid)
		if err != nil {
			return all, err
		}
		all.User += u.User
		all.System += u.System
	}
	return all, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// startGateways starts as many gateways as the plan has targets, with a Redis
// between them where that is said, all on the one processor.
func startGateways(ctx context.Context, o *Options, t *topology) (made *subject, err error) {
	made = &subject{stop: func() {}}
	stop := func(more func()) {
		before := made.stop
		made.stop = func() { more(); before() }
	}
	defer func() {
		if err != nil {
			made.stop()
		}
	}()
	launch := o.Gateway
	launch.Processor = serverProcessor
	if t.redis {
		r, err := server.StartRedis(ctx, o.Redis, serverProcessor)
		if err != nil {
			return nil, err
		}
		stop(r.Stop)
		made.pids = append(made.pids, r.PID)
		launch.Args = append(launch.Args[:len(launch.Args):len(launch.Args)], "--redis-url", r.URL, "--log-level", "error") // it need not be told that nothing is kept
	}
	var urls []string
	for range max(len(t.plan.Targets), 1) {
		g, err := server.Start(ctx, launch)
		if err != nil {
			return nil, err
		}
		stop(g.Stop)
		made.pids, urls = append(made.pids, g.PID), append(urls, g.URL)
	}
	if made.swarm, err = connect(t.plan, urls, swarm.Config{}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	stop(made.swarm.Close)
	// What a message looks like is learned from one.
	if _, err := made.swarm.Play(swarm.Round{UnderWay: 1, Lasts: 10 * time.Millisecond}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return made, nil
}

// connect makes the clients of servers.
func connect(p *plan.Plan, urls []string, c swarm.Config) (*swarm.Swarm, error) {
	mine := *p
	mine.Targets = urls
	c.Plan, c.Run, c.Agents = mine.Part(0, 1), "floor", 1
	s, err := swarm.New(c)
	if err != nil {
		return nil, err
	}
	if err := s.Connect(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// startFloor starts the floor's server, whose messages are as the gateway's.
func startFloor(o *Options, p *plan.Plan, gateway *subject) (*subject, error) {
	cmd := exec.Command("taskset", append([]string{"-c", fmt.Sprint(serverProcessor)}, o.Floor...)...)
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = server.EndWithParent()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	var c swarm.Config
	c.Epoch, c.Author = gateway.swarm.Seen()
	s, err := connect(p, []string{swarm.PlainScheme + "://" + strings.TrimSpace(line)}, c)
	if err != nil {
		stop()
		return nil, fmt.Errorf("floor: %w", err)
	}
	return &subject{pids: []int{cmd.Process.Pid}, swarm: s, stop: func() { s.Close(); stop() }}, nil
}
