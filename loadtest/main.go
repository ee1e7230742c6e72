// Command loadtest loads gateways with very many clients and accounts for every
// message: what was published was delivered to each member, or named by a gap, or
// the run fails. See loadtest/README.md.
//
// Exit codes: 0 all is well; 1 the run could not be made; 2 the command line or a
// file cannot be; 3 a promise of the protocol was broken; 4 a limit such as
// --max-p99 was missed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

func main() {
	// What a client holds lives long, and counting makes no garbage.
	debug.SetGCPercent(400)
	told, forget := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(told, forget) // a second one ends the process at once
	defer forget()
	err := newRoot().ExecuteContext(told)
	if err == nil {
		return
	}
	if text := err.Error(); text != "" {
		for line := range strings.SplitSeq(text, "\n") {
			fmt.Fprintln(os.Stderr, "loadtest:", line)
		}
	}
	os.Exit(exitCode(err))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "loadtest",
		Short: "Load gateways, and account for every message",
		Long: `Loads gateways with very many clients that behave as real ones, and accounts for every message: each that was
acknowledged was delivered to each member of its room, once and in order, or a gap names it.

Messages follow a schedule that does not wait for answers, and bear the time at which they were to be sent: a
gateway that stands still for a second shows as a second of latency, not as a second without measurements.

Exit codes: 0 all is well; 1 the run could not be made; 2 the command line or a file cannot be; 3 a promise of
the protocol was broken; 4 a limit such as --max-p99 was missed.`,
		Example: `  loadtest fanout --url ws://localhost:8080 --members 5000 --rate 20 --max-p99 50ms --report fanout.html
  loadtest mixed chat --url ws://localhost:8080 --pid $(pgrep fanfare)
  loadtest fleet --gateways ws://gw1:8080,ws://gw2:8080 --metrics http://gw1:9090/metrics,http://gw2:9090/metrics
  loadtest compare before.json after.json`,
		Args:          usage(cobra.NoArgs),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	root.AddGroup(&cobra.Group{ID: "scenarios", Title: "Scenarios:"}, &cobra.Group{ID: "tools", Title: "Around them:"})
	root.AddCommand(scenarioCommands()...)
	root.AddCommand(agentCommand(), barCommand(), floorCommand(), compareCommand(), reportCommand())
	return root
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError makes err one that ends with exit code 2.
func usageError(err error) error { return &exitError{2, err} }

func exitCode(err error) int {
	var exit *exitError
	var problem *plan.Problem
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &problem):
		return 2
	}
	return 1
}

// usage makes what a check of the arguments finds end with exit code 2.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
		}
		return nil
	}
}
