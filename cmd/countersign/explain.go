package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/terminal/progress"
	"github.com/countersign-io/countersign/internal/wiring"
)

// explainFlags are what the command line of explain says.
type explainFlags struct {
	id                               explain.ID
	configFile, events, data, policy string
	all, asJSON                      bool
}

func explainCommand() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use: "explain [EVENT_ID]", Short: "Show one decision in full: what was seen, why it counts, what followed", Args: cobra.MaximumNArgs(1),
		Long: "Show one decision in full: the event, every finding with its evidence, what was considered against it, the policies and\n" +
			"the one that decided, the requirement and what became of it, and how long it took. It is read from the ClickHouse of the\n" +
			"configuration, or from the --data of a `countersign up` that does not run. With --events it is decided anew from a file\n" +
			"of events, one a line.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.id.Event = args[0]
			}
			return f.run(c)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.id.Finding, "finding", "", "explain the decision on the event of this finding")
	flags.StringVar(&f.id.Requirement, "requirement", "", "explain the decision that opened this requirement")
	flags.StringVar(&f.events, "events", "", "file of events to decide on anew, instead of the history")
	flags.StringVar(&f.policy, "policy", "", "policy file to show or decide by (default: the one in force)")
	flags.StringVar(&f.data, "data", "", "data directory of an instance that does not run (countersign up), to read its history")
	flags.BoolVar(&f.all, "all", false, "show the policies that do not match, too")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	flags.StringVar(&f.configFile, "config", "", "configuration file (YAML); the environment overrides it")
	return c
}

func (f *explainFlags) run(c *cobra.Command) error {
	if err := f.id.Check(); err != nil {
		return err
	}
	if f.events != "" && f.data != "" {
		return errors.New("--events and --data: name one of them")
	}
	cfg, err := config.Load(wiring.DefaultConfig(), f.configFile, os.Environ(), "detector", "clickhouse")
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	if f.policy != "" {
		cfg.Detector.PolicyFile = f.policy
	}
	rules, err := detector.LoadRules(cfg.Detector)
	if err != nil {
		return err
	}
	x, err := f.explain(c, cfg, rules)
	if err != nil {
		return err
	}
	if f.asJSON {
		return writeJSON(x)(c.OutOrStdout())
	}
	return x.WriteText(c.OutOrStdout(), f.all)
}

func (f *explainFlags) explain(c *cobra.Command, cfg wiring.Config, rules detector.Rules) (x *explain.Explanation, err error) {
	if f.events != "" {
		bar := progress.New(c.ErrOrStderr(), "reading events")
		defer bar.End()
		return explain.FromEvents(c.Context(), backtest.File{Path: f.events}, f.id, rules, bar.Set)
	}
	store, closeStore, err := openHistory(c.Context(), cfg.ClickHouse, f.data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	return explain.FromHistory(c.Context(), store, report.Scope{All: true}, f.id, rules.Policies, events.MillisOf(time.Now()))
}
