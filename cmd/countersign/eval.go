package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/eval"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/terminal/progress"
)

func evalCommand() *cobra.Command {
	options := eval.DefaultOptions()
	data := eval.RBAOptions{Share: 0.2}
	var asJSON bool
	var out string
	c := &cobra.Command{
		Use: "eval", Short: "Measure the detections on a simulated company, beside the published rules of others", Args: cobra.NoArgs,
		Long: "Measure the detections on a simulated company: what is caught, how soon, at how many false alarms and\n" +
			"re-authentications, beside restatements of the published rules of other systems on the same events.\n" +
			"Seeds 1 to 5 are for tuning; report figures of other seeds.",
		RunE: func(c *cobra.Command, _ []string) error {
			options.CodeVersion = version
			debug.SetGCPercent(200) // all of a company's users are in memory, and most events leave little behind
			step, done := phases()
			options.Progress = step
			var r *report.Report
			var err error
			if data.File != "" {
				data.Seed, data.Rounds, data.CodeVersion, data.Progress = options.Seed, options.Rounds, version, step
				r, err = eval.RunRBA(c.Context(), data)
			} else {
				r, err = eval.Run(c.Context(), options)
			}
			done()
			if err != nil {
				return err
			}
			for _, w := range r.Warnings() {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
			}
			if out != "" {
				if err := writeReport(out, r); err != nil {
					return err
				}
			}
			if asJSON {
				return r.JSONLines(c.OutOrStdout())
			}
			return r.Text(c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "seed of the company; 1 to 5 are for tuning")
	flags.IntVar(&options.Users, "users", options.Users, "how many people")
	flags.IntVar(&options.Days, "days", options.Days, "how many days, the first 14 without attacks")
	flags.Float64Var(&options.AttacksPerDay, "attacks-per-day", 0, "incidents a day, on average (default one for every 1,000 users, 2 at least)")
	flags.IntVar(&options.Rounds, "rounds", options.Rounds, "rounds of the bootstrap behind confidence intervals")
	flags.StringVar(&data.File, "rba", "", "measure the score on the public RBA data set instead: its CSV file, plain, gzipped or zipped")
	flags.Float64Var(&data.Share, "rba-share", data.Share, "with --rba: share of the users, since all of them need much memory")
	flags.BoolVar(&asJSON, "json", false, "print figures as JSON, one object a line")
	flags.StringVar(&out, "out", "", "directory for report.json, report.txt and curves.svg")
	return c
}

// phases is a progress bar on standard error for one phase after the other.
func phases() (step func(phase string, done float64), end func()) {
	var mu sync.Mutex
	var bar *progress.Bar
	current := ""
	end = func() {
		mu.Lock()
		defer mu.Unlock()
		bar.End()
	}
	return func(phase string, done float64) {
		mu.Lock()
		defer mu.Unlock()
		if phase != current {
			bar.Set(1)
			bar.End()
			current, bar = phase, progress.New(os.Stderr, phase)
		}
		bar.Set(done)
	}, end
}

// writeReport writes the files of a report.
func writeReport(dir string, r *report.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the report's directory: %w", err)
	}
	for name, write := range map[string]func(io.Writer) error{
		"report.json": r.JSON, "report.txt": r.Text, "curves.svg": r.SVG,
	} {
		if err := writeFile(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}
