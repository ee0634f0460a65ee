package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

func breakerCommand() *cobra.Command {
	var configFile, tenant, reason string
	root := &cobra.Command{Use: "breaker", Short: "Show and reset the breaker that holds a runaway policy"}
	reset := &cobra.Command{
		Use: "reset", Short: "Let policies require things of a tenant's users again", Args: cobra.NoArgs,
		Long: "Write the reset of a tenant's breakers to every partition of the events, so that it takes place at the same point of\n" +
			"the log in every replay. What was held meanwhile is not made up for: the findings say what it was.",
		RunE: func(c *cobra.Command, _ []string) error {
			if !events.ValidTenant(tenant) {
				return fmt.Errorf("--tenant: is %.80q, which is no tenant", tenant)
			}
			if reason == "" || len(reason) > events.MaxText {
				return errors.New("--reason: say in a sentence why the policies may go on, and who says so; it is kept on the log")
			}
			cluster, err := connect(configFile)
			if err != nil {
				return err
			}
			defer cluster.Close()
			ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
			defer cancel()
			partitions, err := cluster.Partitions(ctx, events.TopicEvents)
			if err != nil {
				return err
			}
			var records []stream.Record
			for _, e := range detector.ResetBreaker(tenant, reason, partitions, events.MillisOf(time.Now())) {
				e.Clean()
				records = append(records, stream.Record{Key: []byte(e.Key()), Value: events.Encode(e)})
			}
			if err := cluster.Publisher(stream.PublisherConfig{}).Publish(ctx, events.TopicEvents, records); err != nil {
				return fmt.Errorf("writing the reset; repeat it, it does no harm twice: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "the breakers of %s are reset in %d partitions\n", tenant, partitions)
			return nil
		},
	}
	reset.Flags().StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	reset.Flags().StringVar(&tenant, "tenant", "", "whose breakers")
	reset.Flags().StringVar(&reason, "reason", "", "why, and who says so")
	root.AddCommand(reset, breakerStatusCommand())
	return root
}

func breakerStatusCommand() *cobra.Command {
	var configFile, tenant string
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show whose breakers have tripped, since when and why", Args: cobra.NoArgs,
		Long: "List the tenants and how their breakers stand, one in each partition of the events that has seen the tenant. It reads the\n" +
			"whole state of the detectors, which has a record for every user.",
		RunE: func(c *cobra.Command, _ []string) error {
			if tenant != "" && !events.ValidTenant(tenant) {
				return fmt.Errorf("--tenant: is %.80q, which is no tenant", tenant)
			}
			cluster, err := connect(configFile)
			if err != nil {
				return err
			}
			defer cluster.Close()
			if err := ping(c.Context(), cluster); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Minute)
			defer cancel()
			trouble := func(partition int, err error) {
				fmt.Fprintf(c.ErrOrStderr(), "partition %d, trying again: %v\n", partition, err)
			}
			states, err := detector.ReadBreakers(ctx, cluster.Table(trouble))
			if err != nil {
				return err
			}
			if tenant != "" {
				states = slices.DeleteFunc(states, func(s detector.BreakerState) bool { return s.Tenant != tenant })
			}
			return printBreakers(c.OutOrStdout(), states, asJSON)
		},
	}
	c.Flags().StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	c.Flags().StringVar(&tenant, "tenant", "", "only this tenant's")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object a line")
	return c
}

func printBreakers(w io.Writer, states []detector.BreakerState, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, s := range states {
			if err := enc.Encode(s); err != nil {
				return fmt.Errorf("writing breakers: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENANT\tBREAKER\tSINCE\tWHY")
	for _, s := range states {
		state, since, why := "closed", "-", "-"
		if s.Tripped > 0 {
			state, since, why = fmt.Sprintf("tripped in %d of %d", s.Tripped, s.Partitions), s.Since.String(), s.Reason
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Tenant, state, since, why)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing breakers: %w", err)
	}
	return nil
}

// connect opens the cluster that a configuration names.
func connect(configFile string) (*stream.Cluster, error) {
	cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka")
	if err != nil {
		return nil, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	return stream.Connect(cfg.Kafka, nil)
}

func ping(ctx context.Context, cluster *stream.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := cluster.Ping(ctx); err != nil {
		return fmt.Errorf("asking Kafka: %w", err)
	}
	return nil
}
