package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/bench"
	"github.com/countersign-io/countersign/internal/standalone"
)

func benchCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "bench", Short: "Measure the figures of docs/benchmarks.md on this machine",
		Long: "Measure the figures of docs/benchmarks.md on this machine, each beside that of the bare thing it stands on.\n" +
			"The data of a run goes to a temporary directory and is deleted afterwards.",
	}
	var asJSON bool
	var opts bench.Options
	root.PersistentFlags().BoolVar(&asJSON, "json", false, "print figures as JSON, one object a line")
	root.PersistentFlags().Uint64Var(&opts.Seed, "seed", 7, "seed of the simulated company")
	root.PersistentFlags().StringVar(&opts.Dir, "dir", "", "directory for the run's data (default: the system's temporary directory)")
	measure := func(use, short string, run func(ctx context.Context, o bench.Options) ([]bench.Figure, error)) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp(opts.Dir, "countersign-bench-")
			if err != nil {
				return fmt.Errorf("making a directory for the run: %w", err)
			}
			defer os.RemoveAll(dir)
			opts := opts
			opts.Dir = dir
			opts.Progress = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
			figures, err := run(c.Context(), opts)
			if err != nil {
				return err
			}
			return bench.Print(c.OutOrStdout(), figures, asJSON)
		}}
		root.AddCommand(c)
		return c
	}
	var events, users, rate, seconds, rows, open int
	c := measure("detector", "events decided on a second, beside a bare consumer", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.Detector(ctx, o, events, users)
	})
	c.Flags().IntVar(&events, "events", 3_000_000, "events on the log")
	c.Flags().IntVar(&users, "users", 200_000, "users of the simulated company")
	c = measure("latency", "from an event's acceptance to the requirement in an app, beside a bare round trip", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.Latency(ctx, o, rate, seconds)
	})
	c.Flags().IntVar(&rate, "rate", 500, "events a second")
	c.Flags().IntVar(&seconds, "seconds", 30, "how long")
	c = measure("archive", "rows archived a second into the embedded engine, beside bare inserts", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.Archive(ctx, o, rows, 50_000)
	})
	c.Flags().IntVar(&rows, "rows", 1_000_000, "events on the log")
	c = measure("sdk", "one look-up in the SDK, beside a bare map", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.SDK(ctx, o, open)
	})
	c.Flags().IntVar(&open, "open", 1_000_000, "open requirements")
	var pushing int
	c = measure("courier", "from a decision to an app by push, and a courier with much that waits, beside bare POSTs and an idle one", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.Courier(ctx, o, pushing)
	})
	c.Flags().IntVar(&pushing, "seconds", 20, "how long to push")
	var records, people int
	c = measure("ingest", "Event Hubs records taken in a second, beside a syntax check and a bare publisher", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.Ingest(ctx, o, records, people, standalone.AssetsDir())
	})
	c.Flags().IntVar(&records, "records", 300_000, "sign-in records")
	c.Flags().IntVar(&people, "people", 20_000, "people who sign in")
	var asking bench.APIOptions
	c = measure("api", "the dashboard's questions over a large history, the memory of many viewers, and bytes on disk an event", func(ctx context.Context, o bench.Options) ([]bench.Figure, error) {
		return bench.API(ctx, o, asking)
	})
	c.Flags().IntVar(&asking.Events, "events", 50_000_000, "events in the history")
	c.Flags().IntVar(&asking.Users, "users", 50_000, "users of the simulated companies")
	c.Flags().StringVar(&asking.Data, "data", "", "directory of the history; one that a run left with --keep is taken as it is")
	c.Flags().BoolVar(&asking.Keep, "keep", false, "leave the directory of --data for another run")
	c.Flags().IntVar(&asking.Rounds, "rounds", 40, "how often each question is asked")
	c.Flags().IntVar(&asking.Viewers, "viewers", 200, "viewers of the live feed")
	c.Flags().IntVar(&asking.LiveSeconds, "seconds", 20, "how long they watch")
	return root
}
