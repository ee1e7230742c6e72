// Command fanfare is the gateway and its tools. It wires the packages under
// internal together, reads the environment for them, and decides the exit
// code: 2 for a command line or a configuration that cannot be, 1 for what
// failed, 0 otherwise. Each command is in a file of its name.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/internal/config"
)

func main() {
	err := newRoot().Execute()
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		note("%s", line)
	}
	os.Exit(exitCode(err))
}

// newRoot returns the command fanfare, which by itself is fanfare serve.
func newRoot() *cobra.Command {
	serve := serveCommand()
	root := &cobra.Command{
		Use:           "fanfare",
		Short:         "A WebSocket broadcast gateway",
		Long:          "Fanfare takes a message once and delivers it to everyone in a room, over WebSockets.\nWithout a command it serves.",
		Version:       readBuild().String(),
		Args:          knownCommand,
		RunE:          serve.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	config.Flags(root.Flags())
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	const serving, using = "serving", "using"
	root.AddGroup(&cobra.Group{ID: serving, Title: "Serving:"}, &cobra.Group{ID: using, Title: "Using a gateway:"})
	for group, commands := range map[string][]*cobra.Command{
		serving: {serve, configCommand(), healthcheckCommand(), tokenCommand()},
		using:   {publishCommand(), tailCommand(), eventsCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(versionCommand())
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
	var problems config.Error
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &problems):
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

// knownCommand refuses what stands where a command should.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	hint := "; see " + cmd.CommandPath() + " --help"
	if near := config.Nearest(args[0], names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return usageError(fmt.Errorf("unknown command %q%s", args[0], hint))
}

// flagError adds the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError(err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return usageError(fmt.Errorf("%w; did you mean --%s?", err, near))
	}
	return usageError(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
}
