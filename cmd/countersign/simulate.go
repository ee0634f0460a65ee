package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
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

func simulateCommand() *cobra.Command {
	conf := company.DefaultConfig()
	var start, to, tokenFile, configFile, labels string
	var speed float64
	c := &cobra.Command{
		Use: "simulate", Short: "Play a simulated company: people who sign in, travel and are attacked", Args: cobra.NoArgs,
		Long: "Play a simulated company to standard output (NDJSON), to an ingest (--to http://...) or straight to Kafka (--to kafka).\n" +
			"The same seed, size and start give the same events, byte for byte.",
		RunE: func(c *cobra.Command, _ []string) error {
			if start != "" {
				t, err := time.Parse(time.RFC3339, start)
				if err != nil {
					return fmt.Errorf("--start: %w", err)
				}
				conf.Start = events.MillisOf(t)
			}
			conf.Ingested = to == "kafka"
			if err := conf.Validate(); err != nil {
				return err
			}
			sink, done, err := sinkFor(c, to, tokenFile, configFile)
			if err != nil {
				return err
			}
			p := simulate.Player{Company: company.New(conf), Sink: sink, Pace: simulate.Pace{Speed: speed}}
			if labels != "" {
				file, err := os.Create(labels)
				if err != nil {
					return fmt.Errorf("--labels: %w", err)
				}
				defer file.Close()
				enc := json.NewEncoder(file)
				p.Labels = func(e *events.Event, l company.Label) {
					if l != (company.Label{}) {
						_ = enc.Encode(map[string]any{"event_id": e.ID, "attack": l.Attack, "confounder": l.Confounder})
					}
				}
			}
			return errors.Join(p.Run(c.Context()), done())
		},
	}
	flags := c.Flags()
	flags.Uint64Var(&conf.Seed, "seed", conf.Seed, "seed of the company")
	flags.IntVar(&conf.Users, "users", conf.Users, "how many people")
	flags.IntVar(&conf.Days, "days", 30, "how many days, 0 for no end")
	flags.StringVar(&start, "start", "", "first moment, RFC 3339 (default: "+conf.Start.String()+")")
	flags.StringSliceVar(&conf.Tenants, "tenants", conf.Tenants, "tenants the people belong to")
	flags.Float64Var(&conf.AttacksPerDay, "attacks-per-day", conf.AttacksPerDay, "attacks a day, on average")
	flags.IntVar(&conf.QuietDays, "quiet-days", conf.QuietDays, "first days without attacks")
	flags.Float64Var(&conf.Faults.Late, "late", 0, "share of events that come late")
	flags.Float64Var(&conf.Faults.Duplicate, "duplicate", 0, "share of events that come twice")
	flags.Float64Var(&conf.Faults.MissingPlace, "no-place", 0, "share of events without a place")
	flags.Float64Var(&speed, "speed", 0, "simulated seconds a second, 0 for as fast as it goes")
	flags.StringVar(&to, "to", "-", "- for standard output, an ingest's URL (http://host:port/v1/events), or kafka")
	flags.StringVar(&tokenFile, "token-file", "", "with a URL: file with the bearer token (a token with trusted_places keeps the places)")
	flags.StringVar(&configFile, "config", "", "with kafka: configuration file, for the section kafka")
	flags.StringVar(&labels, "labels", "", "write the labels of attacks and confounders to this file, NDJSON")
	return c
}

func sinkFor(c *cobra.Command, to, tokenFile, configFile string) (sink simulate.Sink, done func() error, err error) {
	switch {
	case to == "-":
		out := bufio.NewWriter(c.OutOrStdout())
		return simulate.Lines(out), out.Flush, nil
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
