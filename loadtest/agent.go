package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/loadtest/internal/team"
)

func agentCommand() *cobra.Command {
	var listen, keyFile string
	child, once := false, false
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Make load for a run that is led from elsewhere",
		Long: `Waits for runs that loadtest SCENARIO --agents leads, and plays a part in one at a time. An agent connects to
whatever its leader names: on other addresses than this machine's own it listens only with a --key-file, whose
one line the leader must have too.`,
		Example: `  loadtest agent --listen :7700 --key-file /run/secrets/loadtest
  loadtest fanout --agents load1:7700,load2:7700 --key-file key --url ws://gateway:8080 --members 30000`,
		GroupID: "tools",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readKey(keyFile)
			if err != nil {
				return err
			}
			return agent(cmd.Context(), agentOptions{listen, key, child, once})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7700", "address that the leader connects to")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "file with the key that leaders must have")
	cmd.Flags().BoolVar(&once, "once", false, "end when one run is over, as a Kubernetes Job should")
	cmd.Flags().BoolVar(&child, "child", false, "print the address, and end when stdin does")
	_ = cmd.Flags().MarkHidden("child")
	return cmd
}

// agentOptions are what the command line of agent says.
type agentOptions struct {
	listen, key string
	child, once bool
}

// agent serves until ctx ends.
func agent(ctx context.Context, o agentOptions) error {
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return usageError(fmt.Errorf("--listen: %w", err))
	}
	if a, ok := ln.Addr().(*net.TCPAddr); o.key == "" && (!ok || !a.IP.IsLoopback()) {
		ln.Close()
		return usageError(fmt.Errorf("--listen %s: without a --key-file only this machine's own addresses: an agent makes load for whoever may ask", o.listen))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.child {
		fmt.Println(ln.Addr())
		// It ends with stdin, or with the process.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	} else {
		fmt.Fprintf(os.Stderr, "agent: waiting for runs on %s\n", ln.Addr())
	}
	a := team.NewAgent(o.key)
	server := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	var ending sync.WaitGroup
	ending.Go(func() {
		over := a.Played()
		if !o.once {
			over = nil // which never is
		}
		select {
		case <-ctx.Done():
			_ = server.Close()
		case <-over:
			// The leader still gets the answer to what it asked last.
			last, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_ = server.Shutdown(last)
		}
	})
	if err = server.Serve(ln); errors.Is(err, http.ErrServerClosed) {
		err = nil // by the goroutine, which ends with that
	} else {
		cancel()
	}
	ending.Wait()
	a.Close()
	return err
}

func readKey(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", usageError(fmt.Errorf("--key-file: %w", err))
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", usageError(errors.New("--key-file: no key in it"))
	}
	return key, nil
}

// crew is who plays: this process, children of it, or agents elsewhere.
type crew struct {
	agents    []string
	await     int
	keyFile   string
	processes int

	players []team.Player
	offsets []time.Duration
	within  time.Duration // how wrong the offsets may be
}

func (c *crew) flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.agents, "agents", nil, "make the load with these agents, host:port each (see loadtest agent); a name with several addresses is as many agents")
	fs.IntVar(&c.await, "await-agents", 1, "wait until there are so many agents, a minute at most")
	fs.StringVar(&c.keyFile, "key-file", "", "file with the key that the agents ask for")
	fs.IntVar(&c.processes, "processes", 1, "make the load with so many processes of this machine: each uses one processor and up to 19,000 connections")
}

// gather finds or starts the players.
func (c *crew) gather(ctx context.Context) error {
	key, err := readKey(c.keyFile)
	switch {
	case err != nil:
		return err
	case c.processes < 1:
		return usageError(errors.New("--processes: want at least 1"))
	case len(c.agents) > 0 && c.processes > 1:
		return usageError(errors.New("--agents and --processes both say who makes the load: give one"))
	case len(c.agents) > 0:
		return c.join(ctx, key)
	case c.processes == 1:
		c.players = []team.Player{team.NewLocal()}
		return nil
	}
	for range c.processes {
		child, err := team.NewChild("agent", "--listen", "127.0.0.1:0", "--child")
		if err != nil {
			return err
		}
		c.players = append(c.players, child)
	}
	return nil
}

// join finds the agents and compares their clocks with this one.
func (c *crew) join(ctx context.Context, key string) error {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	found, err := team.Await(waiting, c.agents, key, c.await)
	if err != nil {
		return err
	}
	for _, r := range found {
		offset, within, err := r.Offset(ctx)
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		c.players = append(c.players, r)
		c.offsets = append(c.offsets, offset)
		c.within = max(c.within, within)
	}
	return nil
}

// close lets the players go.
func (c *crew) close() {
	for _, p := range c.players {
		_ = p.Close() // one that is gone already has nothing left to end
	}
}
