package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

// scenarioCommands are the scenarios, each with its own flags before the common
// ones.
func scenarioCommands() []*cobra.Command {
	return []*cobra.Command{
		fanoutCommand(), roomsCommand(), idleCommand(), churnCommand(), stormCommand(), slowCommand(), mixedCommand(), fleetCommand(),
	}
}

// scenario makes a command of one: common is where the common flags go, make
// returns the plan once all flags are read and the gateways are known.
func scenario(cmd *cobra.Command, common *plan.Common, make func() (*plan.Plan, error)) *cobra.Command {
	r := &runner{}
	cmd.GroupID = "scenarios"
	if cmd.Args == nil {
		cmd.Args = usage(cobra.NoArgs)
	}
	r.flags(cmd.Flags(), common)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r.stdout = cmd.OutOrStdout()
		return r.run(cmd.Context(), make)
	}
	cmd.Flags().SortFlags = false
	return cmd
}

func fanoutCommand() *cobra.Command {
	f := &plan.Fanout{Common: plan.Defaults(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "One room with many members",
		Long: `One room with --members, in which --publishers publish --rate messages a second. Each message is to reach
everyone; its latency is told from when it was to be sent to when each member has read it.

With --under-way N there is no rate: N messages are always under way, and the next is sent when everyone has one
of them. That is how fast the gateway can be; its latencies are those of a loop that waits.`,
		Example: `  loadtest fanout --members 5000 --rate 20
  loadtest fanout --members 5000 --under-way 16 --spin --acks=false`,
	}
	fs := cmd.Flags()
	fs.IntVar(&f.Members, "members", 1000, "connections in the room")
	fs.IntVar(&f.Publishers, "publishers", 1, "connections that publish, and do nothing else")
	rateFlags(fs, &f.Rate, 20, &f.UnderWay)
	return scenario(cmd, &f.Common, func() (*plan.Plan, error) { return f.Plan(), nil })
}

func rateFlags(fs *pflag.FlagSet, rate *float64, standard float64, underWay *int) {
	fs.Float64Var(rate, "rate", standard, "messages a second, over all publishers and rooms")
	fs.IntVar(underWay, "under-way", 0, "instead of a rate: messages that not everyone has yet")
}

func roomsCommand() *cobra.Command {
	r := &plan.ManyRooms{Common: plan.Defaults(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "rooms",
		Short: "Many rooms with few members each",
		Long: `--rooms rooms with --members each; --publishers publish --rate messages a second, to one room after another. Here
every delivery is a write of its own, so this is where a gateway is dearest.`,
		Example: "  loadtest rooms --rooms 1000 --members 5 --rate 8000",
	}
	fs := cmd.Flags()
	fs.IntVar(&r.Rooms, "rooms", 200, "rooms")
	fs.IntVar(&r.Members, "members", 5, "connections in each room")
	fs.IntVar(&r.Publishers, "publishers", 1, "connections that publish, and do nothing else")
	rateFlags(fs, &r.Rate, 400, &r.UnderWay)
	return scenario(cmd, &r.Common, func() (*plan.Plan, error) { return r.Plan(), nil })
}

func idleCommand() *cobra.Command {
	i := &plan.Idle{Common: plan.Defaults(time.Minute)}
	cmd := &cobra.Command{
		Use:   "idle",
		Short: "Connections that do nothing: their memory and heartbeats",
		Long: `--connections that join a room and then do nothing but answer pings. With --pid or --start it tells what one
costs the gateway in memory and in processor time. The gateway pings after 25 s of silence unless it is configured
otherwise: --duration should be some times that.`,
		Example: "  loadtest idle --connections 10000 --duration 2m --pid $(pgrep fanfare)",
	}
	fs := cmd.Flags()
	fs.IntVar(&i.Connections, "connections", 1000, "connections")
	fs.IntVar(&i.Rooms, "rooms", 1, "rooms that they are spread over")
	return scenario(cmd, &i.Common, func() (*plan.Plan, error) { return i.Plan(), nil })
}

func churnCommand() *cobra.Command {
	c := &plan.Churn{Common: plan.Defaults(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "churn",
		Short: "Clients that come, stay a while and go",
		Long: `--connects clients a second come, each at its time whether or not those before it are in; they join a room, stay
and leave. How long connecting takes is told from when a client was to come. Messages go on meanwhile, and a few
regulars see to it that each is accounted for.`,
		Example: "  loadtest churn --connects 2000 --stay 2s",
	}
	fs := cmd.Flags()
	fs.Float64Var(&c.Connects, "connects", 100, "clients that come in a second")
	fs.DurationVar(&c.Stay, "stay", time.Second, "how long each stays")
	fs.IntVar(&c.Rooms, "rooms", 20, "rooms that they are spread over")
	fs.IntVar(&c.Regulars, "regulars", 40, "members that stay")
	fs.Float64Var(&c.Rate, "rate", 20, "messages a second, over all rooms; 0: none")
	return scenario(cmd, &c.Common, func() (*plan.Plan, error) { return c.Plan(), nil })
}

func stormCommand() *cobra.Command {
	s := &plan.Storm{Common: plan.Defaults(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "storm",
		Short: "All connections cut at once, until all are back",
		Long: `All connections are reset at the same moment, --after measuring has begun, as when a network fails. The clients
come back as real ones do, with back-off and full jitter from half a second, and resume where they stood; messages
go on meanwhile. Told is how long it takes until each is back in its room, and until it has all it missed.`,
		Example: "  loadtest storm --connections 10000 --rooms 100 --max-caught-up 10s",
	}
	fs := cmd.Flags()
	fs.IntVar(&s.Connections, "connections", 1000, "connections")
	fs.IntVar(&s.Rooms, "rooms", 50, "rooms that they are spread over")
	fs.Float64Var(&s.Rate, "rate", 50, "messages a second, over all rooms; 0: none")
	fs.DurationVar(&s.After, "after", 5*time.Second, "when they are cut, from when measuring begins")
	return scenario(cmd, &s.Common, func() (*plan.Plan, error) { return s.Plan(), nil })
}

func slowCommand() *cobra.Command {
	s := &plan.Slow{Common: plan.Defaults(30 * time.Second)}
	s.Payload = 4096 // so that it is more than the kernel keeps for a socket
	cmd := &cobra.Command{
		Use:   "slow",
		Short: "A share of the readers stops reading",
		Long: `One room, a --share of whose members stop reading while it is measured and then read all that is there. Latencies
are those of the others, who should not notice. What the slow ones did not get must be named by gaps, each message.`,
		Example: "  loadtest slow --members 1000 --share 0.1 --rate 100 --max-p99 50ms",
	}
	fs := cmd.Flags()
	fs.IntVar(&s.Members, "members", 200, "connections in the room")
	fs.Float64Var(&s.Share, "share", 0.05, "of them, those that stop reading, from 0 to 1")
	fs.Float64Var(&s.Rate, "rate", 100, "messages a second")
	return scenario(cmd, &s.Common, func() (*plan.Plan, error) { return s.Plan(), nil })
}

func fleetCommand() *cobra.Command {
	f := &plan.Fleet{Common: plan.Defaults(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Publish on one gateway, receive on all",
		Long: `One room with --members on each of the --gateways. All messages are published on the first of them; latencies are
told for each gateway, so that the far ones can be held against the near one.`,
		Example: "  loadtest fleet --gateways ws://gw1:8080,ws://gw2:8080 --members 2500 --rate 4",
	}
	fs := cmd.Flags()
	fs.IntVar(&f.Members, "members", 500, "connections on each gateway")
	fs.IntVar(&f.Publishers, "publishers", 1, "connections that publish, on the first gateway")
	fs.Float64Var(&f.Rate, "rate", 20, "messages a second")
	return scenario(cmd, &f.Common, func() (*plan.Plan, error) { return f.Plan(), nil })
}
