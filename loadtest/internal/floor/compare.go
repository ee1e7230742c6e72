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
	"github.com/fanfare-ws/fanfare/loadtest/internal/server"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// Options say what is compared.
type Options struct {
	Gateway server.Launch // without its processor
	Floor   []string      // the command that runs Serve
	Payload int

	Members     int // of the one room
	Rooms, Each int // of the many, and members in each
	Rounds      int // of each measurement; their medians are told
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
	name  string
	pid   int
	swarm *swarm.Swarm
	stop  func()
}

func (s *subject) close() {
	s.swarm.Close()
	s.stop()
}

// measure is one way to load a topology.
type measure struct {
	name     string
	rate     float64 // deliveries a second
	underWay int
	floor    bool // the floor is measured too; else the gateway is held against the first measure's floor
}

// Compare measures the floor and a gateway in turn.
func Compare(ctx context.Context, o Options) (*Table, error) {
	if err := server.KeepOff(serverProcessor + 1); err != nil {
		return nil, err
	}
	common := plan.Defaults(o.Lasts)
	common.Payload, common.Acks, common.IDs = o.Payload, false, false
	t := &Table{Rounds: o.Rounds}
	topologies := []struct {
		plan     *plan.Plan
		measures []measure
	}{
		{(&plan.Fanout{Common: common, Members: o.Members, Publishers: 1, UnderWay: 1}).Plan(), []measure{
			{name: fmt.Sprintf("fanout 1 × %d, one at a time", o.Members), underWay: 1, floor: true},
			{name: fmt.Sprintf("fanout 1 × %d, %d under way", o.Members, o.UnderWay), underWay: o.UnderWay},
			{name: fmt.Sprintf("fanout 1 × %d, %g/s", o.Members, o.Rate), rate: o.Rate, floor: true},
		}},
		{(&plan.ManyRooms{Common: common, Rooms: o.Rooms, Members: o.Each, Publishers: 1, UnderWay: 1}).Plan(), []measure{
			{name: fmt.Sprintf("rooms %d × %d, 64 under way", o.Rooms, o.Each), underWay: 64, floor: true},
			{name: fmt.Sprintf("rooms %d × %d, %g/s", o.Rooms, o.Each, o.Rate), rate: o.Rate, floor: true},
		}},
	}
	for _, topology := range topologies {
		if len(topology.plan.Groups) == 0 || topology.plan.Connections() < 2 {
			continue
		}
		rows, err := compare(ctx, &o, topology.plan, topology.measures)
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, rows...)
	}
	return t, nil
}

// compare measures one topology, round by round.
func compare(ctx context.Context, o *Options, p *plan.Plan, measures []measure) ([]Row, error) {
	o.Tell(fmt.Sprintf("%s: connecting %d members to the gateway, and as many to the floor", p.Description, p.Connections()-1))
	gateway, err := startGateway(ctx, o, p)
	if err != nil {
		return nil, err
	}
	defer gateway.close()
	plain, err := startFloor(o, p, gateway)
	if err != nil {
		return nil, err
	}
	defer plain.close()
	rows := make([]Row, len(measures))
	for i, m := range measures {
		rows[i].Name = m.name
	}
	for round := range o.Rounds {
		o.Tell(fmt.Sprintf("round %d of %d", round+1, o.Rounds))
		for i, m := range measures {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if m.floor {
				score, err := plain.measure(m, o, p)
				if err != nil {
					return nil, fmt.Errorf("%s: floor: %w", m.name, err)
				}
				rows[i].Floor = append(rows[i].Floor, score)
			}
			score, err := gateway.measure(m, o, p)
			if err != nil {
				return nil, fmt.Errorf("%s: gateway: %w", m.name, err)
			}
			rows[i].Gateway = append(rows[i].Gateway, score)
		}
	}
	for i, m := range measures {
		if !m.floor {
			rows[i].Floor = rows[0].Floor
		}
	}
	if n := gateway.swarm.Broken() + plain.swarm.Broken(); n > 0 {
		return nil, fmt.Errorf("%d promises were broken meanwhile: see what loadtest fanout says", n)
	}
	return rows, nil
}

// measure plays one round and returns what it cost the server.
func (s *subject) measure(m measure, o *Options, p *plan.Plan) (Score, error) {
	each := float64(p.Groups[0].Connections / p.Groups[0].Rooms.Count)
	before, err := server.Process(s.pid)
	if err != nil {
		return Score{}, err
	}
	got, err := s.swarm.Play(swarm.Round{Rate: m.rate / each, UnderWay: m.underWay, Lasts: o.Lasts})
	if err != nil {
		return Score{}, err
	}
	after, err := server.Process(s.pid)
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
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func startGateway(ctx context.Context, o *Options, p *plan.Plan) (*subject, error) {
	launch := o.Gateway
	launch.Processor = serverProcessor
	g, err := server.Start(ctx, launch)
	if err != nil {
		return nil, err
	}
	s, err := connect(p, g.URL, swarm.Config{})
	if err != nil {
		g.Stop()
		return nil, fmt.Errorf("gateway: %w", err)
	}
	made := &subject{name: "gateway", pid: g.PID, swarm: s, stop: g.Stop}
	// What a message looks like is learned from one.
	if _, err := s.Play(swarm.Round{UnderWay: 1, Lasts: 10 * time.Millisecond}); err != nil {
		made.close()
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return made, nil
}

// connect makes the clients of a server.
func connect(p *plan.Plan, url string, c swarm.Config) (*swarm.Swarm, error) {
	mine := *p
	mine.Targets = []string{url}
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
	s, err := connect(p, swarm.PlainScheme+"://"+strings.TrimSpace(line), c)
	if err != nil {
		stop()
		return nil, fmt.Errorf("floor: %w", err)
	}
	return &subject{name: "floor", pid: cmd.Process.Pid, swarm: s, stop: stop}, nil
}
