package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or print the configuration",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Tell whether the configuration is right, and start nothing",
		Long: "Reads the configuration as serve does, from flags, FANFARE_* and the file, and prints ok, or one line\n" +
			"for each problem with exit code 2.",
		Args: usage(cobra.NoArgs),
		RunE: checkConfig,
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in force as YAML, and where each value was set",
		Args:  usage(cobra.NoArgs),
		RunE:  showConfig,
	}
	defaults := &cobra.Command{
		Use:   "defaults",
		Short: "Print a file with every key, its default and the reason for it",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Defaults())
			return err
		},
	}
	config.Flags(check.Flags())
	config.Flags(show.Flags())
	cmd.AddCommand(check, show, defaults)
	return cmd
}

func checkConfig(cmd *cobra.Command, _ []string) error {
	c, err := config.Load(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	// Made and not started: it knows best which of its keys do not go together.
	if _, err := newBroker(c, parts{set: new(metrics.Set), relay: metrics.NewRelay()}); err != nil {
		return usageError(err)
	}
	if _, err := newVerifier(c, nil, nil, nil); err != nil { // nor has it fetched keys
		return usageError(err)
	}
	if _, err := newKeys(c); err != nil {
		return usageError(err)
	}
	what := "ok"
	if c.File != "" {
		what += ": " + c.File
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), what)
	return err
}

func showConfig(cmd *cobra.Command, _ []string) error {
	c, err := config.Load(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), c.YAML())
	return err
}
