package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/loadtest/internal/report"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Hold two results against each other",
		Long: `Prints the figures of two results that --out wrote, and their ratios. What differs by less than 5 % is left
without a judgement: two runs of the same gateway do that.`,
		Example: "  loadtest compare before.json after.json",
		GroupID: "tools",
		Args:    usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := readResult(args[0])
			if err != nil {
				return err
			}
			b, err := readResult(args[1])
			if err != nil {
				return err
			}
			return report.Compare(cmd.OutOrStdout(), a, b)
		},
	}
}

func reportCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:     "report RESULT.json",
		Short:   "Draw a result as an HTML page",
		Long:    `Writes the page that --report writes, from the result that --out wrote. It needs no network and no other file.`,
		Example: "  loadtest report fanout.json --out fanout.html",
		GroupID: "tools",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := readResult(args[0])
			if err != nil {
				return err
			}
			if out == "" {
				return report.Page(cmd.OutOrStdout(), found)
			}
			return writeFile(out, func(w io.Writer) error { return report.Page(w, found) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to this file instead of stdout")
	return cmd
}

func readResult(name string) (*result.Result, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usageError(err)
	}
	found, err := result.Read(text)
	if err != nil {
		return nil, usageError(fmt.Errorf("%s: %w", name, err))
	}
	return found, nil
}
