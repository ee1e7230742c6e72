package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/loadtest/internal/floor"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// floorResult is what loadtest floor --out writes.
type floorResult struct {
	Started time.Time      `json:"started"`
	Machine result.Machine `json:"machine"`
	floor.Table
}

func floorCommand() *cobra.Command {
	o := floor.Options{}
	out := ""
	cmd := &cobra.Command{
		Use:   "floor",
		Short: "Hold a gateway against the limit of the machine",
		Long: `Runs a gateway and the floor in turn, each on the same processor while the clients have the others. The floor is
the plainest possible server: it accepts sockets and writes the same bytes to each of a room's, one write each, and
knows no protocol. What a gateway adds to it is a ratio, which says more than any number of a machine that nobody
else has.

It wants a quiet machine of at least two processors. The clients never sleep while it is measured: a receiver that
does makes the sender dearer by its wake-ups, by up to a half.`,
		Example: `  go build -o bin/fanfare ./cmd/fanfare && go run ./loadtest floor --start bin/fanfare
  loadtest floor --start bin/fanfare --members 500 --rooms 0 --rounds 3 --round 1s`,
		GroupID: "tools",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFloor(&o); err != nil {
				return usageError(err)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Floor = []string{self, "floor", "serve"}
			o.Gateway.Name, o.Gateway.Loud = "gateway", os.Stderr
			o.Tell = func(line string) { fmt.Fprintln(os.Stderr, line) }
			found := floorResult{Started: time.Now(), Machine: machine()}
			table, err := floor.Compare(cmd.Context(), o)
			if err != nil {
				return err
			}
			found.Table = *table
			if err := table.Write(cmd.OutOrStdout()); err != nil || out == "" {
				return err
			}
			return writeFile(out, func(w io.Writer) error {
				e := json.NewEncoder(w)
				e.SetIndent("", " ")
				return e.Encode(found)
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.Gateway.Binary, "start", "", "the gateway's binary (required)")
	fs.StringArrayVar(&o.Gateway.Args, "gateway-arg", nil, "an argument of the gateway; may stand several times")
	fs.IntVar(&o.Members, "members", 5000, "members of the one room; 0 leaves it out")
	fs.IntVar(&o.Rooms, "rooms", 1000, "rooms, where there are many; 0 leaves them out")
	fs.IntVar(&o.Each, "room-members", 5, "members in each of them")
	fs.StringVar(&o.Redis, "redis-server", "", "a redis-server's binary, to measure two gateways and a Redis too")
	fs.IntVar(&o.Fleet, "fleet-members", 2500, "members on each of those gateways")
	fs.Float64Var(&o.FleetRate, "fleet-rate", 20_000, "deliveries a second to all of them")
	fs.IntVar(&o.Payload, "payload", 128, "bytes of data in a message")
	fs.IntVar(&o.UnderWay, "under-way", 16, "broadcasts under way, where there are several")
	fs.Float64Var(&o.Rate, "rate", 40_000, "deliveries a second, where there is a rate")
	fs.IntVar(&o.Rounds, "rounds", 5, "rounds of each measurement, whose medians are told")
	fs.DurationVar(&o.Lasts, "round", 2*time.Second, "how long a round lasts")
	fs.StringVar(&out, "out", "", "write all rounds to this file, as JSON")
	cmd.AddCommand(&cobra.Command{
		Use: "serve", Short: "Run the floor's server", Hidden: true, Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return floor.Serve(cmd.OutOrStdout()) },
	})
	return cmd
}

func checkFloor(o *floor.Options) error {
	switch {
	case o.Gateway.Binary == "":
		return errors.New("--start: want the gateway's binary: go build -o bin/fanfare ./cmd/fanfare")
	case runtime.NumCPU() < 2:
		return errors.New("it needs two processors: one for the server, one for the clients")
	case o.Members < 0 || o.Rooms < 0 || o.Each < 1 || o.Members == 0 && o.Rooms == 0 && o.Redis == "":
		return errors.New("--members, --rooms: want some")
	case o.Fleet < 1 || o.FleetRate <= 0:
		return errors.New("--fleet-members, --fleet-rate: want more than 0")
	case o.Rounds < 1 || o.Lasts <= 0 || o.Rate <= 0 || o.UnderWay < 1:
		return errors.New("--rounds, --round, --rate, --under-way: want more than 0")
	case o.Payload < 100:
		return errors.New("--payload: want at least 100 bytes")
	}
	return nil
}
