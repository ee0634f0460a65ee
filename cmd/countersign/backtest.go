package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/terminal/progress"
	"github.com/countersign-io/countersign/internal/wiring"
)

// backtestFlags are what the command line of a backtest says.
type backtestFlags struct {
	configFile, policy, baseline, anomaly string
	since, until, warmUp                  string
	tenant, events, data, out             string
	asJSON                                bool
}

func backtestCommand() *cobra.Command {
	var f backtestFlags
	c := &cobra.Command{
		Use: "backtest", Short: "Try a policy on what has happened, before it bites", Args: cobra.NoArgs,
		Long: "Replay real events through the code that decides live, with other rules, and compare what would have been decided with\n" +
			"what was decided. Events and decisions come from the ClickHouse of the configuration, or from the --data of a\n" +
			"`countersign up` that does not run.\n\n" +
			"With --events the events come from a file: one a line, as `countersign simulate` and\n" +
			"`countersign ingest file --dry-run` print them, plain or gzip. Then --baseline says what to compare with.",
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	flags := c.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy file to try (default: the one in force)")
	flags.StringVar(&f.anomaly, "anomaly", "", "parameters of the detections to try, YAML as under detector.anomaly (default: those in force)")
	flags.StringVar(&f.baseline, "baseline", "", "policy file to compare with (default: what was decided, with --events the policy in force)")
	flags.StringVar(&f.since, "since", "", "where to begin: a time (RFC 3339), a day (2026-03-04), or how long ago (720h, 30d)")
	flags.StringVar(&f.until, "until", "", "where to end, in the same forms")
	flags.StringVar(&f.warmUp, "warm-up", "30d", "how long before --since to replay without reporting, so that users are known")
	flags.StringVar(&f.tenant, "tenant", "", "only this tenant")
	flags.StringVar(&f.events, "events", "", "file of events to replay instead of the history")
	flags.StringVar(&f.data, "data", "", "data directory of an instance that does not run (countersign up), to read its history")
	flags.StringVar(&f.out, "out", "", "directory to write report.json and report.html to")
	flags.BoolVar(&f.asJSON, "json", false, "print the report as one JSON object")
	flags.StringVar(&f.configFile, "config", "", "configuration file (YAML); the environment overrides it")
	return c
}

func (f *backtestFlags) run(c *cobra.Command) (err error) {
	cfg, err := config.Load(wiring.DefaultConfig(), f.configFile, os.Environ(), "detector", "clickhouse")
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	options, err := f.options(cfg.Detector, time.Now())
	if err != nil {
		return err
	}
	if f.out != "" {
		// Before the work: it may take long.
		if err := os.MkdirAll(f.out, 0o755); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	var source backtest.Source = backtest.File{Path: f.events}
	if f.events == "" {
		store, closeStore, openErr := openHistory(c.Context(), cfg.ClickHouse, f.data)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, closeStore()) }()
		source = backtest.History{Store: store, Scope: report.Scope{All: true}}
	}
	r, err := f.replay(c, source, options)
	if err != nil {
		return err
	}
	return f.print(c.OutOrStdout(), r)
}

// replay shows a progress bar while it works.
func (f *backtestFlags) replay(c *cobra.Command, source backtest.Source, options backtest.Options) (*backtest.Report, error) {
	bar := progress.New(c.ErrOrStderr(), "backtest")
	defer bar.End()
	return backtest.Run(c.Context(), source, options, bar.Set)
}

// print writes the report's files, if any are wanted, and the report.
func (f *backtestFlags) print(w io.Writer, r *backtest.Report) error {
	if f.out != "" {
		for name, write := range map[string]func(io.Writer) error{"report.json": writeJSON(r), "report.html": r.WriteHTML} {
			if err := writeFile(filepath.Join(f.out, name), write); err != nil {
				return err
			}
		}
	}
	if f.asJSON {
		return writeJSON(r)(w)
	}
	return r.WriteText(w)
}

// options loads the rules and reads the span. cfg is what is in force.
func (f *backtestFlags) options(cfg detector.Config, now time.Time) (o backtest.Options, err error) {
	if f.policy == "" && f.anomaly == "" {
		return o, errors.New("name what to try: --policy FILE, --anomaly FILE, or both")
	}
	if f.events != "" && f.data != "" {
		return o, errors.New("--events and --data: name one of them")
	}
	if o.New, err = side(cfg, f.policy, f.anomaly); err != nil {
		return o, err
	}
	if f.baseline != "" || f.events != "" {
		baseline, err := side(cfg, f.baseline, "")
		if err != nil {
			return o, err
		}
		o.Baseline = &baseline
	}
	if f.since == "" && f.until != "" || f.since == "" && f.events == "" {
		return o, errors.New("--since is missing, such as 30d")
	}
	if f.since != "" {
		span, err := wiring.ParseSpan(f.since, f.until, now)
		if err != nil {
			return o, err
		}
		o.From, o.To = events.MillisOf(span.Since), events.MillisOf(span.Until)
	}
	if o.To == 0 && f.events == "" {
		o.To = events.MillisOf(now)
	}
	if o.WarmUp, err = parseDays(f.warmUp); err != nil {
		return o, fmt.Errorf("--warm-up: %w", err)
	}
	o.Tenant = f.tenant
	return o, nil
}

// side is the rules in force, with another policy and other parameters where files are named.
func side(cfg detector.Config, policyFile, anomalyFile string) (s backtest.Side, err error) {
	s.Name = "shipped policy"
	if policyFile != "" {
		cfg.PolicyFile = policyFile
	}
	if cfg.PolicyFile != "" {
		s.Name = filepath.Base(cfg.PolicyFile)
	}
	if anomalyFile != "" {
		if cfg.Anomaly, err = config.Load(cfg.Anomaly, anomalyFile, nil); err != nil {
			return s, fmt.Errorf("%s has problems:\n%w", anomalyFile, err)
		}
		s.Name += " with " + filepath.Base(anomalyFile)
	}
	s.Rules, err = detector.LoadRules(cfg)
	return s, err
}

// parseDays reads a length of time: 30d, 720h or 0.
func parseDays(text string) (events.Millis, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 3650 {
			return events.Millis(n) * events.Day, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return events.Millis(d.Milliseconds()), nil
	}
	return 0, fmt.Errorf("%.40q is no length of time: write 30d, 720h or 0", text)
}

func writeJSON(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
}

// writeFile writes a file or leaves what was there.
func writeFile(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(file.Name()))
		}
	}()
	if err := errors.Join(write(file), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
