package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/simulate"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

// simulateFlags are what the command line says of a simulation.
type simulateFlags struct {
	conf                            company.Config
	start, attacks, out, to, format string
	tokenFile, configFile, labels   string
	speed                           float64
	eval                            bool
}

func simulateCommand() *cobra.Command {
	f := simulateFlags{conf: company.DefaultConfig()}
	c := &cobra.Command{
		Use: "simulate", Short: "Play a simulated company: people who sign in, travel and are attacked", Args: cobra.NoArgs,
		Long: "Play a simulated company to standard output (NDJSON), to a file (--out), to an ingest (--to http://...) or straight to Kafka (--to kafka).\n" +
			"The same seed, size and start give the same events, byte for byte. --labels writes the truth about every event.",
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	flags, conf := c.Flags(), &f.conf
	flags.Uint64Var(&conf.Seed, "seed", conf.Seed, "seed of the company")
	flags.IntVar(&conf.Users, "users", conf.Users, "how many people")
	flags.IntVar(&conf.Days, "days", conf.Days, "how many days, 0 for no end")
	flags.StringVar(&f.start, "start", "", "first moment, RFC 3339 (default: "+conf.Start.String()+")")
	flags.StringSliceVar(&conf.Tenants, "tenants", conf.Tenants, "tenants the people belong to")
	flags.Float64Var(&conf.Volume, "volume", conf.Volume, "how much people do in their sessions; 1 makes about six events a user and day")
	flags.StringVar(&f.attacks, "attacks", "visible", "which attacks: visible, all, or names with weights such as aitm=2,spray")
	flags.Float64Var(&conf.AttacksPerDay, "attacks-per-day", conf.AttacksPerDay, "attacks a day, on average")
	flags.IntVar(&conf.QuietDays, "quiet-days", conf.QuietDays, "first days without attacks")
	flags.Float64Var(&conf.Faults.Late, "late", 0, "share of events that come late")
	flags.Float64Var(&conf.Faults.Duplicate, "duplicate", 0, "share of events that come twice")
	flags.Float64Var(&conf.Faults.MissingPlace, "no-place", 0, "share of events without a place")
	flags.Float64Var(&conf.Faults.Skewed, "skewed", 0, "share of applications' servers with a wrong clock")
	flags.BoolVar(&f.eval, "eval", false, "the company of the evaluation: 60 days, all attacks, the faults of a real stream; other flags change it")
	flags.Float64Var(&f.speed, "speed", 0, "simulated seconds a second, 0 for as fast as it goes")
	flags.StringVar(&f.out, "out", "", "write the events to this file")
	flags.StringVar(&f.to, "to", "-", "- for standard output, an ingest's URL (http://host:port/v1/events), or kafka")
	flags.StringVar(&f.format, "format", "event", "for a file or standard output: event, or entra for records as Entra sends them to an event hub")
	flags.StringVar(&f.tokenFile, "token-file", "", "with a URL: file with the bearer token (a token with trusted_places keeps the places)")
	flags.StringVar(&f.configFile, "config", "", "with kafka: configuration file, for the section kafka")
	flags.StringVar(&f.labels, "labels", "", "write the truth about every event to this file, NDJSON")
	c.MarkFlagsMutuallyExclusive("out", "to")
	return c
}

// settle fills in what the flags leave to the mode.
func (f *simulateFlags) settle(given func(name string) bool) error {
	conf := &f.conf
	if f.eval {
		eval := company.EvalConfig(conf.Users)
		for name, set := range map[string]func(){
			"days":            func() { conf.Days = eval.Days },
			"attacks-per-day": func() { conf.AttacksPerDay = eval.AttacksPerDay },
			"attacks":         func() { conf.Mix = eval.Mix },
			"late":            func() { conf.Faults.Late = eval.Faults.Late },
			"duplicate":       func() { conf.Faults.Duplicate = eval.Faults.Duplicate },
			"no-place":        func() { conf.Faults.MissingPlace = eval.Faults.MissingPlace },
			"skewed":          func() { conf.Faults.Skewed = eval.Faults.Skewed },
		} {
			if !given(name) {
				set()
			}
		}
	}
	if !f.eval || given("attacks") {
		mix, err := company.ParseMix(f.attacks)
		if err != nil {
			return fmt.Errorf("--attacks: %w", err)
		}
		conf.Mix = mix
	}
	if f.start != "" {
		t, err := time.Parse(time.RFC3339, f.start)
		if err != nil {
			return fmt.Errorf("--start: %w", err)
		}
		conf.Start = events.MillisOf(t)
	}
	if f.labels != "" && f.out != "" && filepath.Clean(f.labels) == filepath.Clean(f.out) {
		return errors.New("--labels: is the file of --out, name another")
	}
	conf.Ingested = f.to == "kafka"
	return conf.Validate()
}

func (f *simulateFlags) run(c *cobra.Command) (err error) {
	if err := f.settle(c.Flags().Changed); err != nil {
		return err
	}
	sink, done, err := f.sink(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p := simulate.Player{Company: company.New(f.conf), Sink: sink, Pace: simulate.Pace{Speed: f.speed}}
	if f.labels != "" {
		file, err := os.Create(f.labels)
		if err != nil {
			return fmt.Errorf("--labels: %w", err)
		}
		defer file.Close()
		labels := simulate.NewLabels(file)
		defer func() { err = errors.Join(err, labels.Close()) }()
		p.Labels = labels.Write
		if f.format == "entra" {
			p.Labels = labels.WriteEntra
		}
	}
	return p.Run(c.Context())
}

// sink is where the events go, and what there is to do at the end.
func (f *simulateFlags) sink(c *cobra.Command) (sink simulate.Sink, done func() error, err error) {
	write := simulate.Lines
	switch f.format {
	case "event":
	case "entra":
		if write = simulate.Entra; f.to != "-" {
			return nil, nil, fmt.Errorf("--format entra: goes to a file or standard output, not to %s", f.to)
		}
	default:
		return nil, nil, fmt.Errorf("--format: is %q, must be event or entra", f.format)
	}
	switch {
	case f.out != "":
		file, err := os.Create(f.out)
		if err != nil {
			return nil, nil, fmt.Errorf("--out: %w", err)
		}
		buffered := bufio.NewWriterSize(file, 1<<20)
		return write(buffered), func() error { return errors.Join(buffered.Flush(), file.Close()) }, nil
	case f.to == "-":
		buffered := bufio.NewWriter(c.OutOrStdout())
		return write(buffered), buffered.Flush, nil
	}
	return sinkFor(f.to, f.tokenFile, f.configFile)
}

// sinkFor is a sink on another machine, or another process.
func sinkFor(to, tokenFile, configFile string) (sink simulate.Sink, done func() error, err error) {
	switch {
	case to == "kafka":
		cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka")
		if err != nil {
			return nil, nil, fmt.Errorf("the configuration has problems:\n%w", err)
		}
		cluster, err := stream.Connect(cfg.Kafka, nil)
		if err != nil {
			return nil, nil, err
		}
		return simulate.Kafka(cluster.Publisher(stream.PublisherConfig{})), cluster.Close, nil
	case strings.HasPrefix(to, "http://"), strings.HasPrefix(to, "https://"):
		secret, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--token-file: %w", err)
		}
		return simulate.HTTP(&http.Client{Timeout: time.Minute}, to, strings.TrimSpace(string(secret))), func() error { return nil }, nil
	default:
		return nil, nil, fmt.Errorf("--to: is %q, must be -, kafka, or an ingest's http URL", to)
	}
}
