package main

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	root := &cobra.Command{Use: "breaker", Short: "Reset the breaker that holds a runaway policy"}
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
			cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			cluster, err := stream.Connect(cfg.Kafka, nil)
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
	root.AddCommand(reset)
	return root
}
