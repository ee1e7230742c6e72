package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/loadtest/internal/server"
)

// subjects are the gateways' processes: which to watch, and which to start.
type subjects struct {
	pids    []int
	metrics []string
	binary  string
	count   int
	args    []string
	pin     bool

	started []*server.Gateway
}

func (s *subjects) flags(fs *pflag.FlagSet) {
	fs.IntSliceVar(&s.pids, "pid", nil, "gateways' processes on this machine: their processor time, memory and descriptors are watched")
	fs.StringSliceVar(&s.metrics, "metrics", nil, "gateways' /metrics, as http://host:9090/metrics: the same where they run elsewhere, and their counters; with --pid in the same order")
	fs.StringVar(&s.binary, "start", "", "start gateways for the run with this binary, without limits on one address, and watch them (instead of --url)")
	fs.IntVar(&s.count, "start-count", 1, "how many to start; several need --gateway-arg=--redis-url=…")
	fs.StringArrayVar(&s.args, "gateway-arg", nil, "an argument of the started gateways; may stand several times")
	fs.BoolVar(&s.pin, "pin", false, "keep each started gateway on a processor of its own, and the generator off those")
}

// start starts gateways and returns their URLs.
func (s *subjects) start(ctx context.Context) ([]string, error) {
	if s.count < 1 {
		return nil, usageError(errors.New("--start-count: want at least 1"))
	}
	if s.pin && s.count >= runtime.NumCPU() {
		return nil, usageError(fmt.Errorf("--pin: %d gateways and the generator need %d processors, and there are %d", s.count, s.count+1, runtime.NumCPU()))
	}
	var urls []string
	for i := range s.count {
		l := server.Launch{Name: fmt.Sprintf("gateway %d", i), Binary: s.binary, Args: s.args, Processor: -1, Loud: os.Stderr}
		if s.pin {
			l.Processor = i
		}
		g, err := server.Start(ctx, l)
		if err != nil {
			return nil, err
		}
		s.started = append(s.started, g)
		urls = append(urls, g.URL)
	}
	if s.pin {
		if err := server.KeepOff(s.count); err != nil {
			return nil, err
		}
	}
	return urls, nil
}

// watch begins to watch all that are known.
func (s *subjects) watch(ctx context.Context) (*server.Watch, error) {
	var all []server.Subject
	for _, g := range s.started {
		all = append(all, g.Subject)
	}
	for i := range max(len(s.pids), len(s.metrics)) {
		one := server.Subject{Name: fmt.Sprintf("gateway %d", len(all))}
		if i < len(s.pids) {
			one.PID = s.pids[i]
		}
		if i < len(s.metrics) {
			one.Metrics = s.metrics[i]
			one.Name = server.Host(one.Metrics)
		}
		all = append(all, one)
	}
	return server.NewWatch(ctx, all)
}

// stop ends what was started.
func (s *subjects) stop() {
	for _, g := range s.started {
		g.Stop()
	}
	s.started = nil
}
