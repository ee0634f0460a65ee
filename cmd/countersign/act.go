package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/act"
	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/wiring"
)

func actCommand() *cobra.Command {
	var configFile string
	root := &cobra.Command{Use: "act", Short: "Check the actions at the source, and replay those that were given up"}
	root.PersistentFlags().StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	load := func() (wiring.Config, error) {
		cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "act")
		if err != nil {
			return cfg, fmt.Errorf("the configuration has problems:\n%w", err)
		}
		return cfg, nil
	}
	root.AddCommand(actCheckCommand(load), actLettersCommand(&configFile), actReplayCommand(load))
	return root
}

func actCheckCommand(load func() (wiring.Config, error)) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Ask every source for a token and for something that may be read, and say what is missing", Args: cobra.NoArgs,
		Long: "Ask the source of every configured action, those that are off too, for an access token and for something that may be\n" +
			"read. Nothing is changed there, and no receiver of requests is called.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			results, err := act.Check(c.Context(), cfg.Act)
			if err != nil {
				return err
			}
			return printChecks(c.OutOrStdout(), results)
		},
	}
}

func printChecks(w io.Writer, results []act.CheckResult) error {
	if len(results) == 0 {
		return errors.New("no actions are configured (act.actions); --config FILE?")
	}
	failed := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACTION\tKIND\tMODE\tRESULT")
	for _, r := range results {
		said := "ok"
		if r.Note != "" {
			said += ": " + r.Note
		}
		if r.Err != nil {
			failed++
			said = r.Err.Error()
		}
		mode := r.Mode
		if mode == "" {
			mode = act.Off
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Action, r.Kind, mode, said)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d actions cannot be done", failed, len(results))
	}
	return nil
}

func actLettersCommand(configFile *string) *cobra.Command {
	var name string
	var since time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "letters", Short: "List the actions that were given up, with the reasons", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cluster, err := connect(*configFile)
			if err != nil {
				return err
			}
			defer cluster.Close()
			letters, err := act.ReadLetters(c.Context(), cluster.Table(nil), name, time.Now().Add(-since))
			if err != nil {
				return err
			}
			return printLetters(c.OutOrStdout(), letters, asJSON)
		},
	}
	c.Flags().StringVar(&name, "action", "", "of this action only")
	c.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object a line")
	return c
}

func printLetters(w io.Writer, letters []events.DeadLetter, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for i := range letters {
			if err := enc.Encode(&letters[i]); err != nil {
				return fmt.Errorf("writing dead letters: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tTIME\tACTION\tREASON")
	for i := range letters {
		d := &letters[i]
		fmt.Fprintf(t, "%s\t%v\t%s\t%q\n", d.ID, d.Time, d.Source, d.Reason) // what a source answered is quoted
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing dead letters: %w", err)
	}
	return nil
}

func actReplayCommand(load func() (wiring.Config, error)) *cobra.Command {
	var name string
	var ids []string
	var since time.Duration
	c := &cobra.Command{
		Use: "replay", Short: "Do now what was given up", Args: cobra.NoArgs,
		Long: "Act on the dead letters of an action, whatever their age: those with the given ids, or all since a time. Requirements\n" +
			"that have ended are left alone. What a source is asked twice does no harm; receivers of requests see the same id.",
		RunE: func(c *cobra.Command, _ []string) error {
			if name == "" {
				return errors.New("--action: name the action")
			}
			if len(ids) > 0 && !c.Flags().Changed("since") {
				since = 365 * 24 * time.Hour
			}
			cfg, err := load()
			if err != nil {
				return err
			}
			p, err := wiring.Open(cfg, zap.NewNop())
			if err != nil {
				return err
			}
			defer p.Cluster.Close()
			runner, err := p.Actions()
			if err != nil {
				return err
			}
			letters, err := act.ReadLetters(c.Context(), p.Cluster.Table(nil), name, time.Now().Add(-since))
			if err != nil {
				return err
			}
			failed := 0
			for i := range letters {
				d := &letters[i]
				if len(ids) > 0 && !slices.Contains(ids, d.ID) {
					continue
				}
				said := "done"
				if err := runner.Replay(c.Context(), d); err != nil {
					said = fmt.Sprintf("%q", err.Error())
					if !errors.Is(err, act.ErrOver) {
						failed++
					}
				}
				fmt.Fprintln(c.OutOrStdout(), d.ID, said)
				if c.Context().Err() != nil {
					return c.Context().Err()
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d are not done", failed)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "action", "", "whose dead letters")
	c.Flags().StringSliceVar(&ids, "id", nil, "only these, separated by commas")
	c.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back; with --id a year")
	return c
}
