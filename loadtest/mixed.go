package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

// scenarioFiles are the scenarios of mixed that come with it.
//
//go:embed scenarios/*.yaml
var scenarioFiles embed.FS

func mixedCommand() *cobra.Command {
	c := plan.Defaults(time.Minute)
	scale := 1.0
	show := false
	cmd := &cobra.Command{
		Use:   "mixed [NAME|FILE.yaml]",
		Short: "A blend of groups and streams from a YAML file",
		Long: `Plays a scenario file: groups of connections that stay, come and go or stop reading, and streams of messages, each
with its own rooms, rate and sizes. Those that come with it: ` + strings.Join(scenarioNames(), ", ") + ` (chat where none is named).
--show prints one, as a file to start from; what each key means stands in its comments and in loadtest/README.md.`,
		Example: `  loadtest mixed chat --scale 10 --duration 5m
  loadtest mixed --show scores > ours.yaml
  loadtest mixed ./ours.yaml --max-p99 100ms`,
		Args: usage(cobra.MaximumNArgs(1)),
	}
	cmd.Flags().Float64Var(&scale, "scale", 1, "so many times the connections and rates of the file")
	cmd.Flags().BoolVar(&show, "show", false, "print the file instead of playing it")
	made := scenario(cmd, &c, func() (*plan.Plan, error) {
		name, text, err := scenarioFile(cmd.Flags().Args())
		if err != nil {
			return nil, err
		}
		if scale <= 0 {
			return nil, usageError(errors.New("--scale: want more than 0"))
		}
		p, err := plan.Parse(name, text, c, scale)
		if err != nil {
			return nil, err
		}
		for flag, set := range map[string]func(){
			"duration": func() { p.Duration = c.Duration },
			"warmup":   func() { p.Warmup = c.Warmup },
		} {
			if cmd.Flags().Changed(flag) {
				set()
			}
		}
		return p, nil
	})
	play := made.RunE
	made.RunE = func(cmd *cobra.Command, args []string) error {
		if !show {
			return play(cmd, args)
		}
		_, text, err := scenarioFile(args)
		if err == nil {
			_, err = cmd.OutOrStdout().Write(text)
		}
		return err
	}
	return made
}

// scenarioFile is the text of the file that is meant, and its name.
func scenarioFile(args []string) (string, []byte, error) {
	name := "chat"
	if len(args) > 0 {
		name = args[0]
	}
	if !strings.ContainsAny(name, "./") {
		text, err := scenarioFiles.ReadFile("scenarios/" + name + ".yaml")
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, usageError(fmt.Errorf("there is no scenario %q: want %s or a file, as ./%s.yaml", name, strings.Join(scenarioNames(), ", "), name))
		}
		return name + ".yaml", text, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", nil, usageError(err)
	}
	return name, text, nil
}

func scenarioNames() []string {
	entries, err := scenarioFiles.ReadDir("scenarios")
	if err != nil {
		panic(err) // embedded: it is there
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}
